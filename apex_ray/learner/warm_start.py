"""A run that begins with another's weights (learner.init_from), as far as they fit its network."""

from __future__ import annotations

from dataclasses import dataclass

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import new_network, to_arrays
from apex_ray.config.load import TRAINER
from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import BEST, find, load_policy_weights
from apex_ray.types import AnyArray, EnvSpec
from trainkit.errors import UserError
from trainkit.runs import open_run
from trainkit.storage import join, kept_at, local_path, split, uri_of

KEY = "learner.init_from"
FOLDER = "checkpoints"


@dataclass(frozen=True)
class WarmStart:
    """What a checkpoint gives a network."""

    source: str  # the checkpoint's folder, an absolute path or a URI
    updates: int  # that its weights come from
    params: dict[str, AnyArray]  # those that are taken
    new: list[str]  # the network's others

    @property
    def summary(self) -> str:
        """In a line."""
        count = len(self.params) + len(self.new)
        rest = f"new, since they don't fit: {', '.join(self.new)}" if self.new else "all fit"
        return f"weights of {self.source} (update {self.updates:,}): {len(self.params)} of {count} parameters; {rest}"


def read_warm_start(config: ApexConfig, spec: EnvSpec) -> WarmStart | None:
    """What `learner.init_from` names: RUN, its best checkpoint, or RUN/checkpoints/NAME; None without it.

    A layer's parameters are taken when all of them have the names and shapes of the network's. UserError where it names
    no checkpoint or a damaged one, and where nothing fits of the part that observations come to first, such as
    the torso: what lies behind it would make no sense of another's features.
    """
    if config.learner.init_from is None:
        return None
    try:
        run, which = _split(config.learner.init_from)
        folder = open_run(run, TRAINER)
        found, counters = load_policy_weights(folder, which)
        name, uri = find(folder, which).name, kept_at(folder)
        source = join(uri, FOLDER, name) if uri else str((folder / FOLDER / name).absolute())
    except UserError as error:
        raise UserError(f"{KEY}: {error}") from None
    mine = to_arrays(new_network(build_agent(config, spec)))
    misfits = {name for name, array in mine.items() if name not in found or found[name].shape != array.shape}
    broken = {_layer(name) for name in misfits}
    params = {name: found[name] for name in mine if _layer(name) not in broken}
    first = next(iter(mine))
    part = first.partition(".")[0]
    if not any(name.partition(".")[0] == part for name in params):
        there = f"{list(found[first].shape)} there" if first in found else "not there"
        raise UserError(
            f"{KEY}: no layer of {part} in {source} fits this network ({first} is {there}, {list(mine[first].shape)} "
            f"here); expected a run whose network and observations are like this one's"
        )
    return WarmStart(source, counters.updates, params, [name for name in mine if name not in params])


def _split(given: str) -> tuple[str, str]:
    """The run, and which of its checkpoints."""
    uri = uri_of(given)
    if uri is not None:
        folder, name = split(uri)
        above, middle = split(folder)
        return (above, name) if middle == FOLDER else (uri, BEST)
    path = local_path(given)
    return (str(path.parent.parent), path.name) if path.parent.name == FOLDER else (str(path), BEST)


def _layer(name: str) -> str:
    return name.rpartition(".")[0]
