"""Fake environments in which every transition can be told from its frame.

`CountingEnvs` is a VectorEnv. Importing this module also registers the Gymnasium ids `apex-tests/...` of `FAKES`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from apex_ray.agent.contract import State
from apex_ray.agent.exploration import epsilon_greedy
from apex_ray.types import FRAMES, AnyArray, ByteArray, EnvSpec, FloatArray, IntArray, Observations, Step

IMAGE_SHAPE = (6, 6)


class Mark(NamedTuple):
    """What a frame says of itself. The counter starts at 1, so that no frame is all zeros."""

    env: int
    episode: int  # since reset()
    step: int  # 0 at the episode's first observation
    counter: int  # observations of this environment since reset(), this one included


def encode(mark: Mark, image: bool) -> AnyArray:
    """The frame: float32 (4,), or uint8 (6, 6) with the env in one byte, episode and step in two, counter in four."""
    if not image:
        return np.array(mark, np.float32)
    env, episode, step, counter = mark
    content = bytes([env]) + episode.to_bytes(2, "big") + step.to_bytes(2, "big") + counter.to_bytes(4, "big")
    return np.frombuffer(content.ljust(36, b"\0"), np.uint8).reshape(IMAGE_SHAPE)


def decode(frame: AnyArray) -> Mark:
    """The mark of a frame of either kind."""
    if frame.dtype != np.uint8:
        return Mark(*(int(x) for x in frame))
    content = frame.tobytes()
    return Mark(content[0], *(int.from_bytes(content[a:b], "big") for a, b in ((1, 3), (3, 5), (5, 9))))


def reward_of(env: int, counter: int) -> float:
    """The reward of the step that led to the frame with this counter: exact in float32, beyond [-1, 1] at times."""
    return counter % 7 - 3 + env / 4


@dataclass(frozen=True)
class Episode:
    length: int  # steps
    end: str = "terminated"  # or "truncated"
    lives_lost_at: tuple[int, ...] = ()  # steps, each before the last


class CountingEnvs:
    """A VectorEnv of scripted episodes: environment e plays `scripts[e]` in turn, over and over.

    Observations [E, S, *F] are one array that `recv` overwrites, so that a caller that should have copied is found
    out. AssertionError for an action out of range or send and recv that do not alternate.
    """

    def __init__(
        self, scripts: Sequence[Sequence[Episode]], stack: int = 1, num_actions: int = 3, image: bool = False
    ) -> None:
        for episode in (ep for script in scripts for ep in script):
            assert episode.length > 0 and episode.end in ("terminated", "truncated")
            assert all(0 < s < episode.length for s in episode.lives_lost_at), "the episode goes on after a lost life"
        shape, dtype = (IMAGE_SHAPE, "uint8") if image else ((4,), "float32")
        self.spec = EnvSpec.of_frames("counting", shape, dtype, stack, num_actions, frame_skip=1)
        self.num_envs = len(scripts)
        self.seeds: list[int] = []  # of each reset
        self.actions: list[list[int]] = []  # of each step since the last reset
        self.closed = False
        self._scripts, self._image = scripts, image
        self._observations = np.zeros((self.num_envs, stack, *shape), dtype)
        self._marks: list[Mark] = []
        self._ended = np.zeros(self.num_envs, bool)
        self._sent = False

    def _begin(self, index: int, episode: int, counter: int) -> None:
        self._marks[index] = Mark(index, episode, 0, counter)
        self._observations[index] = 0
        self._observations[index, -1] = encode(self._marks[index], self._image)

    def reset(self, seed: int) -> Observations:
        assert not self._sent, "reset() between send() and recv()"
        self.seeds.append(seed)
        self.actions = []
        self._marks = [Mark(e, 0, 0, 0) for e in range(self.num_envs)]
        for e in range(self.num_envs):
            self._begin(e, 0, 1)
        self._ended[:] = False
        return {FRAMES: self._observations}

    def send(self, actions: IntArray) -> None:
        assert self._marks, "send() before reset()"
        assert not self._sent, "send() twice without recv()"
        assert actions.shape == (self.num_envs,) and np.issubdtype(actions.dtype, np.integer)
        assert ((actions >= 0) & (actions < self.spec.num_actions)).all(), f"action out of range: {actions}"
        self.actions.append([int(a) for a in actions])
        self._sent = True

    def recv(self) -> Step:
        assert self._sent, "recv() without send()"
        self._sent = False
        first, count = self._ended, self.num_envs
        rewards = np.zeros(count, np.float32)
        terminated, truncated, life_lost = (np.zeros(count, bool) for _ in range(3))
        for e, (_, episode, step, counter) in enumerate(self._marks):
            if first[e]:
                self._begin(e, episode + 1, counter + 1)
                continue
            script = self._scripts[e][episode % len(self._scripts[e])]
            self._marks[e] = Mark(e, episode, step + 1, counter + 1)
            self._observations[e, :-1] = self._observations[e, 1:]
            self._observations[e, -1] = encode(self._marks[e], self._image)
            rewards[e] = reward_of(e, counter + 1)
            life_lost[e] = step + 1 in script.lives_lost_at
            if step + 1 == script.length:
                terminated[e], truncated[e] = script.end == "terminated", script.end == "truncated"
        self._ended = terminated | truncated
        return Step({FRAMES: self._observations}, rewards, terminated, truncated, life_lost, first)

    def render(self, index: int) -> ByteArray:
        """A picture [6, 6, 3] whose first colour is the image frame of now."""
        return np.repeat(encode(self._marks[index], image=True)[:, :, None], 3, axis=2)

    def close(self) -> None:
        self.closed = True


class QPlayer:
    """A player (agent/policy.py) that is epsilon-greedy by a function of frames [E, S, *F] to values [E, A]."""

    def __init__(self, q_function: Callable[[AnyArray], AnyArray]) -> None:
        self._q_function = q_function

    def initial_state(self, num_envs: int) -> State:
        return {}

    def act(
        self, observations: Observations, state: State, epsilons: FloatArray, rng: np.random.Generator
    ) -> tuple[IntArray, State]:
        return epsilon_greedy(self._q_function(observations[FRAMES]), epsilons, rng), {}

    def next_state(self, state: State, actions: IntArray, rewards: AnyArray, first: AnyArray) -> State:
        return state


class CountingEnv(gymnasium.Env[Any, Any]):
    """Vector (0, episode, step, counter); a seeded reset starts the counts anew. Draws an 8 x 8 picture of its step."""

    metadata = {"render_modes": ["rgb_array"], "render_fps": 30}  # noqa: RUF012 - as Gymnasium declares it

    def __init__(
        self, length: int = 5, end: str | None = "terminated", first_action: int = 0, render_mode: str | None = None
    ) -> None:
        self.observation_space: spaces.Space[Any] = spaces.Box(0, 1e6, (4,), np.float32)
        self.action_space: spaces.Space[Any] = spaces.Discrete(3, start=first_action)
        self.render_mode = render_mode
        self.actions: list[int] = []
        self.mark = Mark(0, -1, 0, 0)
        self._length, self._end = length, end

    def observation(self) -> Any:
        return encode(self.mark, image=False)

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        super().reset(seed=seed)
        episode, counter = (0, 1) if seed is not None else (self.mark.episode + 1, self.mark.counter + 1)
        self.mark = Mark(0, episode, 0, counter)
        return self.observation(), {}

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        assert self.action_space.contains(action), f"action out of range: {action}"
        self.actions.append(int(action) if np.ndim(action) == 0 else -1)
        _, episode, step, counter = self.mark
        self.mark = Mark(0, episode, step + 1, counter + 1)
        ended = step + 1 == self._length
        reward = reward_of(0, counter + 1)
        return self.observation(), reward, ended and self._end == "terminated", ended and self._end == "truncated", {}

    def render(self) -> Any:
        return np.full((8, 8, 3), self.mark.step % 256, np.uint8) if self.render_mode == "rgb_array" else None


class RaisingEnv(CountingEnv):
    """Raises RuntimeError at its `at`-th step. Takes no render_mode, as many environments do not."""

    def __init__(self, at: int = 7) -> None:
        super().__init__(length=10**9)
        self._at = at

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        result = super().step(action)
        if self.mark.step == self._at:
            raise RuntimeError(f"boom at step {self._at}")
        return result


class RaisingOnResetEnv(CountingEnv):
    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[Any, dict[str, Any]]:
        raise RuntimeError("boom on reset")


class ContinuousEnv(CountingEnv):
    def __init__(self) -> None:
        super().__init__()
        self.action_space = spaces.Box(-1, 1, (2,), np.float32)


class DictEnv(CountingEnv):
    def __init__(self) -> None:
        super().__init__()
        self.observation_space = spaces.Dict({"position": spaces.Box(0, 1e6, (4,), np.float32)})

    def observation(self) -> Any:
        return {"position": encode(self.mark, image=False)}


class PictureEnv(CountingEnv):
    """An image [H, W] or [H, W, C] whose pixels are 10 + its counter, + 100 for each colour after the first."""

    def __init__(self, shape: Sequence[int] = (6, 6), dtype: str = "uint8", length: int = 5) -> None:
        super().__init__(length)
        self._shape, self._dtype = tuple(shape), dtype
        self.observation_space = spaces.Box(0, 255, self._shape, np.dtype(dtype).type)

    def observation(self) -> Any:
        picture = np.full(self._shape, 10 + self.mark.counter, self._dtype)
        return picture + 100 * np.arange(self._shape[2], dtype=self._dtype) if len(self._shape) == 3 else picture


class SlowCartPole(CartPoleEnv):
    """A game that leaves the cores of a test machine to others."""

    STEP_S = 0.005

    def step(self, action: int) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        time.sleep(self.STEP_S)
        return super().step(action)


FAKES: dict[str, tuple[type[gymnasium.Env[Any, Any]], dict[str, Any]]] = {
    "apex-tests/Counting-v0": (CountingEnv, {}),
    "apex-tests/Raises-v0": (RaisingEnv, {}),
    "apex-tests/RaisesOnReset-v0": (RaisingOnResetEnv, {}),
    "apex-tests/Continuous-v0": (ContinuousEnv, {}),
    "apex-tests/DictObs-v0": (DictEnv, {}),
    "apex-tests/Image-v0": (PictureEnv, {}),
    "apex-tests/Colour-v0": (PictureEnv, {"shape": (6, 8, 3)}),
    "apex-tests/SlowCartPole-v0": (SlowCartPole, {}),
}
for _id, (_class, _kwargs) in FAKES.items():
    if _id not in gymnasium.registry:  # a second import of this file under another name must not warn
        gymnasium.register(_id, entry_point=_class, kwargs=_kwargs)
