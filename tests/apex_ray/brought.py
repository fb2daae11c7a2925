"""Environments as users bring them, and an agent that finds out whether what it learns from was seen so.

`Sealed` puts a checksum of observation, action and next observation into the reward, and the agent computes it again
from what a batch holds: a part of a transition that belongs to another step, or was changed on its way, is found.
"""

from __future__ import annotations

import time
import zlib
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from apex_ray.agent.build import build_agent
from apex_ray.agent.contract import Agent
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.envs import own_code
from apex_ray.envs.spaces import Choices, Observed
from apex_ray.types import MASK, EnvSpec

BITS = 22  # of a checksum: float32 holds them exactly


def checksum(state: Any, action: Any, later: Any) -> float:
    """Of two observations, frames by leaf, and the number(s) of the action between them."""
    crc = 0
    for frames in (state, later):
        for name in sorted(frames):
            crc = zlib.crc32(np.ascontiguousarray(frames[name]).tobytes(), crc)
    return float(zlib.crc32(np.asarray(action, np.int64).tobytes(), crc) % (1 << BITS))


class Sealed(gymnasium.Wrapper[Any, Any, Any, Any]):
    """Rewards are checksums."""

    def __init__(self, env: gymnasium.Env[Any, Any], config: EnvConfig) -> None:
        super().__init__(env)
        self._choices = Choices(config, env.action_space)
        self._observed = Observed(config, env.observation_space, self._choices)
        branches = self._choices.branches
        numbers = range(branches[0]) if len(branches) == 1 else np.ndindex(branches)
        self._numbers = {self._key(self._choices.action(np.asarray(n))): n for n in numbers}

    def _key(self, action: Any) -> bytes:
        return np.asarray(spaces.flatten(self.env.action_space, action)).tobytes()

    def _frames(self, observation: Any) -> Any:
        frames = dict(self._observed.frames(observation, 0, 0))
        return {n: frames[n].astype(leaf.dtype) for n, leaf in self._observed.leaves.items() if n != MASK}

    def reset(self, **kwargs: Any) -> Any:
        observation, info = self.env.reset(**kwargs)
        self._state = self._frames(observation)
        return observation, info

    def step(self, action: Any) -> Any:
        observation, _, terminated, truncated, info = self.env.step(action)
        state, self._state = self._state, self._frames(observation)
        return observation, checksum(state, self._numbers[self._key(action)], self._state), terminated, truncated, info


def sealed(of: str, settings: dict[str, Any] | None = None, **kwargs: Any) -> Sealed:
    """What env.make names: `of` is the name of a class here, or an id of Gymnasium's."""
    config = EnvConfig(id="sealed", frame_stack=1, **(settings or {}))
    own_code.register_installed(of)
    env = globals()[of](**kwargs) if of in globals() else gymnasium.make(of, **kwargs)
    return Sealed(env, config)


class _Checking:
    """Raises AssertionError for a batch in which a checksum does not fit."""

    def loss(self, online: Any, target: Any, batch: Any) -> Any:
        t = self._transitions(batch)  # type: ignore[attr-defined]
        states, later = ({n: v[:, -1].numpy() for n, v in s.items() if n != MASK} for s in (t.states, t.next_states))
        for b, returned in enumerate(t.returns.tolist()):
            here, there = ({n: v[b] for n, v in s.items()} for s in (states, later))
            assert returned == checksum(here, t.actions[b].numpy(), there), f"sample {b} is of several steps"
        if t.legal is not None:
            assert t.legal.any(dim=1).all() or (t.discounts == 0).any()
        return super().loss(online, target, batch)  # type: ignore[misc]


def sealed_agent(spec: EnvSpec, config: ApexConfig) -> Agent:
    """The agent that such an environment gets, but checking."""
    plain = build_agent(config.model_copy(update={"agent": "q_learning"}), spec)
    kind = type("SealedAgent", (_Checking, type(plain)), {})
    return kind(spec, config)  # type: ignore[no-any-return]


class Walk(gymnasium.Env[Any, Any]):
    """Random observations of a space, of episodes of 5 to 12 steps, that are cut or end."""

    def __init__(self, observation: spaces.Space[Any], action: spaces.Space[Any] | None = None, mask: str = "") -> None:
        """`mask`: where it is given, in the "observation" or the "info"; each part of an action has one."""
        self.action_space = action or spaces.Discrete(3)
        self._part, self._mask = observation, mask
        nvec: Any = getattr(self.action_space, "nvec", [getattr(self.action_space, "n", 0)])
        self._sizes = [int(n) for n in nvec] if mask else []
        self.observation_space = observation
        if mask == "observation":
            self.observation_space = spaces.Dict({"seen": observation, MASK: spaces.MultiBinary(sum(self._sizes))})

    def _observation(self) -> tuple[Any, dict[str, Any]]:
        seen = self._part.sample()
        if not self._mask:
            return seen, {}
        self._legal = [self.np_random.permutation(np.arange(n) < max(1, n // 2)) for n in self._sizes]
        given = np.concatenate(self._legal).astype(np.int8)
        return ({"seen": seen, MASK: given}, {}) if self._mask == "observation" else (seen, {MASK: given})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        super().reset(seed=seed)
        if seed is not None:
            self._part.seed(seed)
        self._left = int(self.np_random.integers(5, 13))
        return self._observation()

    def step(self, action: Any) -> Any:
        assert self.action_space.contains(action), f"{action!r} is not in {self.action_space}"
        if self._mask:
            for legal, number in zip(self._legal, np.ravel(action), strict=True):
                assert legal[number], f"action {action!r} is illegal"
        self._left -= 1
        over, cut = self._left == 0, bool(self.np_random.random() < 0.5)
        observation, info = self._observation()
        return observation, 0.0, over and not cut, over and cut, info


def _of(observation: spaces.Space[Any], action: spaces.Space[Any] | None = None, mask: str = "") -> Any:
    return lambda: Walk(observation, action, mask)


GRAY, COLOURS = spaces.Box(0, 255, (36, 36), np.uint8), spaces.Box(0, 255, (40, 36, 3), np.uint8)
FLOATS = spaces.Box(-1, 1, (3,), np.float32)
NESTED = spaces.Dict(
    {"camera": COLOURS, "body": spaces.Tuple((FLOATS, spaces.Dict({"gear": spaces.Discrete(4, start=-1)})))}
)
# Written ones, one for each kind of space.
vector = _of(FLOATS)
doubles = _of(spaces.Box(-np.inf, np.inf, (4,), np.float64))
scalar = _of(spaces.Box(-1, 1, ()))
whole = _of(spaces.Box(-5, 5, (3,), np.int64))
table = _of(spaces.Box(-1, 1, (4, 5)))
cube = _of(spaces.Box(-1, 1, (2, 3, 4, 2)))
number = _of(spaces.Discrete(7, start=3))
numbers = _of(spaces.MultiDiscrete([3, 2, 5]))
bits = _of(spaces.MultiBinary((2, 4)))
ram = _of(spaces.Box(0, 255, (128,), np.uint8))
gray = _of(GRAY)
colours = _of(COLOURS)
channels_first = _of(spaces.Box(0, 255, (3, 36, 40), np.uint8))
float_image = _of(spaces.Box(0, 1, (12, 12, 3), np.float32))
bool_image = _of(spaces.Box(0, 1, (10, 10, 6), bool))
tiny_image = _of(spaces.Box(0, 255, (5, 4), np.uint8))
pair = _of(spaces.Tuple((FLOATS, spaces.Discrete(3))))
nested = _of(NESTED)
from_minus_one = _of(FLOATS, spaces.Discrete(4, start=-1))
joint_actions = _of(FLOATS, spaces.MultiDiscrete([3, 4]))
branched_actions = _of(FLOATS, spaces.MultiDiscrete([7, 3, 11]))
bit_actions = _of(FLOATS, spaces.MultiBinary(3))
dict_actions = _of(FLOATS, spaces.Dict({"turn": spaces.Discrete(3), "fire": spaces.Discrete(2)}))
masked_observation = _of(FLOATS, spaces.Discrete(6), "observation")
masked_info = _of(FLOATS, spaces.Discrete(6), "info")
masked_nested = _of(NESTED, spaces.Discrete(6), "observation")
masked_branches = _of(FLOATS, spaces.MultiDiscrete([7, 3, 11]), "info")
masked_joint = _of(FLOATS, spaces.MultiDiscrete([3, 4]), "observation")
unmasked = _of(spaces.Dict({"seen": FLOATS, MASK: spaces.Box(-1, 1, (2,))}))  # a part by that name which is no mask
continuous = _of(FLOATS, spaces.Box(-1, 1, (2,)))
words = _of(spaces.Text(4))
sequence = _of(spaces.Sequence(FLOATS))
stacked_outside = _of(spaces.Box(0, 255, (4, 84, 84), np.uint8))


class Slow(Walk):
    def __init__(self) -> None:
        super().__init__(FLOATS)

    def step(self, action: Any) -> Any:
        time.sleep(0.001)
        return super().step(action)


def same_step(num_envs: int) -> Any:
    from gymnasium.vector import AutoresetMode, SyncVectorEnv

    return SyncVectorEnv([lambda: sealed("vector")] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)


def asynchronous(num_envs: int) -> Any:
    from gymnasium.vector import AsyncVectorEnv

    return AsyncVectorEnv([lambda: sealed("pair")] * num_envs)
