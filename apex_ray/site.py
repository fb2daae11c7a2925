"""Where a run is: in this process, on a Ray of its own, or on a cluster."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from apex_ray.sizes import Sizes

if TYPE_CHECKING:
    from cluster.resources import Bundle  # it imports Ray, which a serial run does without

# Of a run's processes: all nodes, and what an optimizer and Ray's way of sending objects import at their first use.
IMPORTS = ("apex_ray.nodes.launch", "torch._dynamo", "pyarrow", "starlette.datastructures")


@dataclass(frozen=True)
class Site:
    """A place with room for the run."""

    sizes: Sizes
    here: bool  # all processes are on this machine
    dashboard: str | None = None  # host:port of Ray's
    note: str = ""  # what its user should know
    bundles: Mapping[str, Bundle] = field(default_factory=dict)  # by name, as apex_ray/demand.py gives them
    group: Any = None  # a Tune trial's placement group with room for all of them; None: the run makes its own
    namespace: str | None = None  # of the run's actors, and its placement group's name; None: the process's own Ray job
