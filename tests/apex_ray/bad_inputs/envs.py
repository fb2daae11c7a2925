"""Environments with one fault each: good until a step, when it happens."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from tests.fakes import CountingEnv

# What a fault changes of a step's answer, by name; it may also do something by itself.
Changed = dict[str, Any]


class UnspeakableError(Exception):
    def __str__(self) -> str:
        raise RuntimeError("its message can't be had")


def raises(error: BaseException) -> Changed:
    raise error


def no_memory() -> Changed:
    np.empty(2**60, np.uint8)
    return {}


def forks() -> Changed:
    """Both come back; the child's would be a second run in the same folder."""
    if os.fork():
        os.wait()
    return {}


def changes_the_folder() -> Changed:
    os.makedirs("elsewhere", exist_ok=True)
    os.chdir("elsewhere")
    return {}


FAULTS: dict[str, Callable[[], Changed]] = {
    "nan reward": lambda: {"reward": float("nan")},
    "inf reward": lambda: {"reward": -np.inf},
    "huge reward": lambda: {"reward": 1e39},
    "reward of text": lambda: {"reward": "much"},
    "no reward": lambda: {"reward": None},
    "rewards": lambda: {"reward": np.ones(2)},
    "nan observation": lambda: {"observation": np.float32([1, np.nan, 1, 1])},
    "inf observation": lambda: {"observation": np.float32([1, np.inf, 1, 1])},
    "another shape": lambda: {"observation": np.zeros(3, np.float32)},
    "another rank": lambda: {"observation": np.zeros((2, 2), np.float32)},
    "too wide a dtype": lambda: {"observation": np.full(4, 1e300)},
    "complex numbers": lambda: {"observation": np.zeros(4, np.complex64)},
    "ragged lists": lambda: {"observation": [[1, 2], [3]]},
    "a dict": lambda: {"observation": {"position": 1}},
    "no observation": lambda: {"observation": None},
    "no end": lambda: {"terminated": None},
    "an end of text": lambda: {"truncated": "False"},
    "no info": lambda: {"info": None},
    "old form": lambda: {"answer": (np.zeros(4, np.float32), 0.0, False, {})},
    "nothing": lambda: {"answer": None},
    "raises": lambda: raises(RuntimeError("boom")),
    "raises lines": lambda: raises(RuntimeError("boom\nand more\nof it")),
    "raises silently": lambda: raises(RuntimeError()),
    "raises what has no message": lambda: raises(UnspeakableError()),
    "runs out of memory": no_memory,
    "recurses": lambda: FAULTS["recurses"](),
    "exits": lambda: sys.exit(3),
    "exits with words": lambda: sys.exit("no licence"),
    "ends its process": lambda: os._exit(3),
    "forks": forks,
    "hangs": lambda: time.sleep(600) or {},  # type: ignore[func-returns-value]
    "is slow once": lambda: time.sleep(0.5) or {},  # type: ignore[func-returns-value]
    "prints a megabyte": lambda: print("x" * 2**20) or {},  # type: ignore[func-returns-value]
    "changes the folder": changes_the_folder,
}


class Bad(CountingEnv):
    """`fault` happens at step `at` of each process's episodes counted together; 0: at every reset."""

    def __init__(self, fault: str, at: int = 9, length: int = 5) -> None:
        super().__init__(length)
        self._fault, self._at, self._steps = fault, at, 0

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> Any:
        observation, info = super().reset(seed=seed)
        changed = FAULTS[self._fault]() if self._at == 0 else {}
        return changed.get("answer", (changed.get("observation", observation), changed.get("info", info)))

    def step(self, action: Any) -> Any:
        names = ("observation", "reward", "terminated", "truncated", "info")
        good = dict(zip(names, super().step(action), strict=True))
        self._steps += 1
        changed = FAULTS[self._fault]() if self._steps == self._at else {}
        return changed.get("answer", tuple((good | changed)[name] for name in names))


class BadWhenMade(CountingEnv):
    def __init__(self, fault: str) -> None:
        super().__init__()
        FAULTS[fault]()


class BadWhenMadeAgain(CountingEnv):
    """As one that keeps a port or a licence: the probe's is the first."""

    made = 0

    def __init__(self, fault: str) -> None:
        super().__init__()
        BadWhenMadeAgain.made += 1
        if BadWhenMadeAgain.made > 1:
            FAULTS[fault]()


class BadAtItsEnd(CountingEnv):
    def close(self) -> None:
        raise RuntimeError("boom in close()")


class OfSpace(CountingEnv):
    """Any space; its observations are drawn from it."""

    def __init__(self, observation: str = "vector", action: str = "three") -> None:
        super().__init__()
        self.observation_space, self.action_space = SPACES[observation], SPACES[action]
        self.draw = getattr(self.observation_space, "sample", lambda: None)

    def observation(self) -> Any:
        return self.draw()

    def step(self, action: Any) -> Any:
        return self.draw(), 0.0, False, False, {}


SPACES: dict[str, Any] = {
    "vector": spaces.Box(-1, 1, (4,), np.float32),
    "three": spaces.Discrete(3),
    "one": spaces.Discrete(1),
    "continuous": spaces.Box(-1, 1, (2,), np.float32),
    "words": spaces.Text(4),
    "sequence": spaces.Sequence(spaces.Box(-1, 1, (4,))),
    "empty": spaces.Box(-1, 1, (0,), np.float32),
    "none": None,
    "flat picture": spaces.Box(0, 255, (400, 2, 3), np.uint8),
    "large picture": spaces.Box(0, 255, (1000, 1000, 3), np.uint8),
}


class Masked(CountingEnv):
    """Gives a mask of legal actions in its infos, until step 7."""

    def __init__(self, later: Any) -> None:
        super().__init__(10**9)
        self._later = later

    def _info(self) -> dict[str, Any]:
        return {"action_mask": np.ones(3, np.int8) if self.mark.step < 7 else np.asarray(self._later, np.int8)}

    def reset(self, **kwargs: Any) -> Any:
        return super().reset(**kwargs)[0], self._info()

    def step(self, action: Any) -> Any:
        return *super().step(action)[:4], self._info()


class Unseen(CountingEnv):
    """Has no way to draw itself but says that it has."""

    def render(self) -> Any:
        raise RuntimeError("no screen")


def no_environment() -> dict[str, int]:
    return {}


def good(length: int = 5, end: str = "terminated") -> gymnasium.Env[Any, Any]:
    return CountingEnv(length, end)
