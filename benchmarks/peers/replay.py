"""Transitions a second of other prioritised replays with 84x84x4 uint8 pairs, batch 512, alpha 0.6, one thread."""

import sys

import numpy as np
from measure import measure

BATCH, CAPACITY, CHUNK = 512, int(sys.argv[1]), 512
RNG = np.random.default_rng(0)
STACKS = RNG.integers(0, 255, (CHUNK + 3, 4, 84, 84), dtype=np.uint8)
WHAT = sys.argv[2]  # insert, sample, or sample-and-update


def memcpy():
    source = np.zeros((2_000, 7 * 84 * 84), np.uint8)
    turn = iter(range(10**9))

    def copy():
        start = next(turn) * BATCH % (len(source) - BATCH)
        source[start : start + BATCH].copy()
        return BATCH

    return copy


def cpprb():
    from cpprb import PrioritizedReplayBuffer

    fields = {"obs": {"shape": (84, 84, 4), "dtype": np.uint8}, "act": {"dtype": np.int64}, "rew": {}, "done": {}}
    # Its own way to store each frame once: the last axis is the stack, and next_obs is read from the row after.
    buffer = PrioritizedReplayBuffer(
        CAPACITY, {**fields}, alpha=0.6, next_of="obs", stack_compress="obs", check_for_update=False
    )
    stacks = np.ascontiguousarray(STACKS.transpose(0, 2, 3, 1))
    chunk = {
        "obs": stacks[:CHUNK],
        "next_obs": stacks[1 : CHUNK + 1],
        "act": np.zeros(CHUNK, np.int64),
        "rew": np.zeros(CHUNK, np.float32),
        "done": np.zeros(CHUNK, np.float32),
    }

    def insert():
        buffer.add(**chunk)
        return CHUNK

    def sample():
        drawn = buffer.sample(BATCH, beta=0.4)
        if WHAT == "sample-and-update":
            buffer.update_priorities(drawn["indexes"], RNG.random(BATCH))
        return BATCH

    for _ in range(CAPACITY // CHUNK + 1):
        insert()
    return insert if WHAT == "insert" else sample


def rllib():
    from ray.rllib.env.single_agent_episode import SingleAgentEpisode
    from ray.rllib.utils.replay_buffers.prioritized_episode_buffer import PrioritizedEpisodeReplayBuffer

    # float32 [84, 84, 4]: what its connectors store for Atari is uint8 or float32 by the wrappers; uint8 favours it.
    stacks = list(np.ascontiguousarray(STACKS.transpose(0, 2, 3, 1)))
    buffer = PrioritizedEpisodeReplayBuffer(capacity=min(CAPACITY, 20_000), alpha=0.6)

    def insert():
        episode = SingleAgentEpisode(
            observations=stacks[: CHUNK + 1],
            actions=[0] * CHUNK,
            rewards=[0.0] * CHUNK,
            infos=[{}] * (CHUNK + 1),
            terminated=True,
            len_lookback_buffer=0,
        )
        buffer.add(episode)
        return CHUNK

    def sample():
        buffer.sample(num_items=BATCH, n_step=3, gamma=0.99, beta=0.4)
        if WHAT == "sample-and-update":
            buffer.update_priorities(RNG.random(BATCH) + 0.1)
        return BATCH

    for _ in range(min(CAPACITY, 20_000) // CHUNK + 1):
        insert()
    return insert if WHAT == "insert" else sample


def torchrl():
    import torch
    from tensordict import TensorDict
    from torchrl.data import LazyTensorStorage, TensorDictPrioritizedReplayBuffer

    torch.set_num_threads(1)
    buffer = TensorDictPrioritizedReplayBuffer(
        alpha=0.6, beta=0.4, storage=LazyTensorStorage(min(CAPACITY, 20_000)), batch_size=BATCH
    )
    chunk = TensorDict(
        {
            "observation": torch.from_numpy(STACKS[:CHUNK]),
            "next": {"observation": torch.from_numpy(STACKS[3 : CHUNK + 3]), "reward": torch.zeros(CHUNK, 1)},
            "action": torch.zeros(CHUNK, dtype=torch.int64),
        },
        batch_size=[CHUNK],
    )

    def insert():
        buffer.extend(chunk)
        return CHUNK

    def sample():
        drawn = buffer.sample()
        if WHAT == "sample-and-update":
            drawn.set("td_error", torch.rand(BATCH))
            buffer.update_tensordict_priority(drawn)
        return BATCH

    for _ in range(min(CAPACITY, 20_000) // CHUNK + 1):
        insert()
    return insert if WHAT == "insert" else sample


measure({"memcpy": memcpy, "cpprb": cpprb, "RLlib": rllib, "torchrl": torchrl})
