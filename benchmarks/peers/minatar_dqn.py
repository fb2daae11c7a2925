"""A DQN in one file on MinAtar, as single-file libraries write it: python minatar_dqn.py GAME SEED SECONDS

One environment, a uniform replay, an update of 32 every 4 steps, a target network, epsilon falling over the first
tenth: the shape and the settings of CleanRL's dqn_atari.py, with MinAtar's network. Written anew.
"""

import os
import sys

import numpy as np
import torch
from minatar_common import Clock, evaluated, make
from torch import nn

GAME, SEED, SECONDS = sys.argv[1], int(sys.argv[2]), float(sys.argv[3])
CAPACITY, BATCH, START, EVERY, TARGET_EVERY = 100_000, 32, 5_000, 4, 1_000
EXPLORES_S, GAMMA = SECONDS / 10, 0.99

torch.manual_seed(SEED)
torch.set_num_threads(len(os.sched_getaffinity(0)))
rng, env = np.random.default_rng(SEED), make(GAME)
actions, shape = int(env.action_space.n), env.observation_space.shape


def network():
    return nn.Sequential(
        nn.Conv2d(shape[2], 16, 3), nn.ReLU(), nn.Flatten(), nn.Linear(16 * 8 * 8, 128), nn.ReLU(),
        nn.Linear(128, actions),
    )  # fmt: skip


def planes(observations):
    return torch.from_numpy(np.ascontiguousarray(observations)).permute(0, 3, 1, 2).float()


def act(observation):
    with torch.no_grad():
        return int(online(planes(observation[None])).argmax())


online, target = network(), network()
target.load_state_dict(online.state_dict())
optimizer = torch.optim.Adam(online.parameters(), 1e-4)
seen, later = (np.zeros((CAPACITY, *shape), bool) for _ in range(2))
taken, rewards, ends = np.zeros(CAPACITY, np.int64), np.zeros(CAPACITY, np.float32), np.zeros(CAPACITY, np.float32)
observation, _ = env.reset(seed=SEED)
clock, steps, updates = Clock(SECONDS), 0, 0
while not clock.over:
    epsilon = max(1.0 - 0.99 * clock.now_s / EXPLORES_S, 0.01)
    action = int(rng.integers(actions)) if rng.random() < epsilon else act(observation)
    after, reward, terminated, truncated, _ = env.step(action)
    at = steps % CAPACITY
    seen[at], later[at], taken[at], rewards[at], ends[at] = observation, after, action, float(reward), terminated
    observation = env.reset()[0] if terminated or truncated else after
    steps += 1
    if steps >= START and steps % EVERY == 0:
        rows = rng.integers(min(steps, CAPACITY), size=BATCH)
        with torch.no_grad():
            best = target(planes(later[rows])).amax(1)
            goal = torch.from_numpy(rewards[rows]) + GAMMA * best * (1 - torch.from_numpy(ends[rows]))
        values = online(planes(seen[rows])).gather(1, torch.from_numpy(taken[rows])[:, None])[:, 0]
        loss = nn.functional.mse_loss(values, goal)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        updates += 1
        if updates % TARGET_EVERY == 0:
            target.load_state_dict(online.state_dict())
    if steps % 200 == 0 or clock.over:
        clock.tell(steps, updates, lambda: evaluated(GAME, SEED, act))
