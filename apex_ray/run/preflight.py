"""What can be found wrong with a run before any process starts."""

from __future__ import annotations

import psutil

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import from_arrays, new_network
from apex_ray.config.schema import ApexConfig
from apex_ray.learner.checkpoint import Checkpoint, does_not_fit
from apex_ray.learner.hardware import resolve_compile, resolve_device
from apex_ray.replay.build import build_limiter
from apex_ray.sizes import Sizes
from apex_ray.types import EnvSpec
from trainkit.errors import UserError
from trainkit.words import size


def check(config: ApexConfig, spec: EnvSpec, sizes: Sizes, saved: Checkpoint | None, here: bool) -> None:
    """Raise UserError for settings that can't work together, with the checkpoint to go on from, or, when the run's
    processes are all to be `here`, on this machine.
    """
    build_limiter(config, sizes.chunk_transitions, sizes.learned)
    network = new_network(build_agent(config, spec))
    if here:
        resolve_compile(config.learner.compile, resolve_device(config.learner.device))
        check_memory(config, sizes)
    if saved is not None:
        try:
            from_arrays(network, saved.online)
        except RuntimeError as error:
            raise does_not_fit(saved.path, config.env.id, error) from None


def check_memory(config: ApexConfig, sizes: Sizes) -> None:
    """Refuse a replay that this machine (or `replay.max_bytes`) has no room for."""
    limit = config.replay.max_bytes or int(0.8 * psutil.virtual_memory().available)
    if sizes.replay_bytes > limit:
        fits = int(config.replay.capacity_transitions * limit / sizes.replay_bytes) // 1000 * 1000
        raise UserError(
            f"replay.capacity_transitions = {config.replay.capacity_transitions} needs "
            f"{size(sizes.replay_bytes)} and {size(limit)} may be used; at most {fits} fit"
        )
