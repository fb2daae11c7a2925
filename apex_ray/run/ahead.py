"""What a run's processes import, begun before the program's own imports: this file needs neither torch nor Ray."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

from apex_ray.config.schema import ApexConfig
from apex_ray.site import IMPORTS


def imported_ahead(config: ApexConfig) -> AbstractContextManager[None]:
    """Where the run is to have a Ray of its own, its fork server is there as soon as it can be."""
    if config.mode == "serial":
        return nullcontext()
    from cluster.connect import cluster_address
    from cluster.forked import ahead

    return ahead(IMPORTS) if cluster_address(config.cluster.address) is None else nullcontext()
