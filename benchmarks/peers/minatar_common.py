"""What the peers of benchmarks/suite.py share on MinAtar: the environment, and whole greedy episodes."""

import json
import time

import gymnasium
import minatar.gym
import numpy as np

minatar.gym.register_envs()
EPISODES, EPSILON, EVERY_S = 20, 0.001, 60.0  # as apex-ray evaluates


class Planes(gymnasium.ObservationWrapper):
    """Boards as float32 [10, 10, channels]."""

    def __init__(self, env):
        super().__init__(env)
        self.observation_space = gymnasium.spaces.Box(0.0, 1.0, env.observation_space.shape, np.float32)

    def observation(self, observation):
        return observation.astype(np.float32)


def make(game):
    return Planes(gymnasium.make(f"MinAtar/{game}-v1"))


def evaluated(game, seed, act):
    """Mean return of whole episodes; act(observation [10, 10, C]) gives an action."""
    env, rng, returns = make(game), np.random.default_rng(seed), []
    for episode in range(EPISODES):
        observation, _ = env.reset(seed=1_000_000 + 1000 * seed + episode)
        total, over = 0.0, False
        while not over:
            action = int(rng.integers(env.action_space.n) if rng.random() < EPSILON else act(observation))
            observation, reward, terminated, truncated, _ = env.step(action)
            total, over = total + float(reward), terminated or truncated
        returns.append(total)
    return float(np.mean(returns))


class Clock:
    """Seconds of training; evaluations do not count."""

    def __init__(self, limit_s):
        self._began, self._limit_s, self._paused, self._told = time.monotonic(), limit_s, 0.0, 0.0

    @property
    def now_s(self):
        return time.monotonic() - self._began - self._paused

    @property
    def over(self):
        return self.now_s >= self._limit_s

    def tell(self, frames, updates, evaluate):
        """A line of JSON each minute and at the end."""
        if self.now_s - self._told < EVERY_S and not self.over:
            return
        self._told, began = self.now_s, time.monotonic()
        mean = evaluate()
        self._paused += time.monotonic() - began
        print(json.dumps({"hours": self._told / 3600, "frames": frames, "updates": updates, "mean": mean}), flush=True)
