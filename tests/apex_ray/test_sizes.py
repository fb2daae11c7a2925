"""What `auto` comes to, and settings that contradict each other."""

import pytest

from apex_ray.config.load import load
from apex_ray.sizes import resolve_sizes
from apex_ray.types import EnvSpec
from trainkit.errors import UserError

PONG = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)


@pytest.mark.parametrize(
    ("cores", "overrides", "actors", "threads"),
    [
        (1, [], 1, 1),
        (2, [], 1, 1),
        (4, [], 3, 1),
        (16, [], 12, 4),
        (128, [], 65, 8),  # replay of 420,000 has room for two chunks of 3,200 from 65 actors
        (16, ["actors.count=4"], 4, 8),
        (8, ["actors.count=30"], 30, 1),
        (16, ["learner.threads=2"], 14, 2),
        (16, ["actors.threads=2"], 6, 4),
        (16, ["actors.groups=2"], 6, 4),
        (16, ["learner.workers=2"], 12, 2),
        (16, ["learner.workers=4", "actors.count=4"], 4, 3),
        (2, ["learner.workers=2"], 1, 1),
        (16, ["actors.inference=central"], 12, 3),
        (16, ["actors.inference=node"], 12, 3),
    ],
)
def test_the_cores_are_shared_out(cores, overrides, actors, threads):
    sizes = resolve_sizes(load("pong", overrides).config, PONG, cores)
    assert (sizes.actors, sizes.learner_threads) == (actors, threads)


@pytest.mark.parametrize("preset", ["pong", "atari"])
def test_the_preset_fits_any_machine(preset):
    for cores in (1, 2, 3, 8, 64, 512):
        resolve_sizes(load(preset).config, PONG, cores)


def test_bytes_by_hand():
    config = load("pong", ["actors.envs_per_actor=2", "actors.chunk_transitions=10"]).config
    sizes = resolve_sizes(config, PONG, 2)
    # frames of 7,056 bytes: 10 + 3 before + 3 after for each of 2 streams; 14 bytes of other fields a step, and beside
    # them the mark and the first priority
    assert sizes.chunk_bytes == 2 * 16 * 7_056 + 20 * (14 + 9)
    # importance weight, slot, generation and mass beside the fields
    assert sizes.batch_bytes == 64 * (7 * 7_056 + 14 + 28)
    assert sizes.chunk_transitions == 20


def test_shards_share_the_capacity():
    with pytest.raises(UserError, match="holds less than two chunks"):
        resolve_sizes(load("pong", ["replay.capacity_transitions=25000", "actors.count=8"]).config, PONG, 16)
