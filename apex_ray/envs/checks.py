"""What an environment gives, held against what it says of itself: observations, rewards and ends of episodes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from gymnasium import spaces

from apex_ray.types import AnyArray, ByteArray
from trainkit.errors import UserError

RANGE_CHECKED = 200  # an environment's first observations in a process, whose range is looked at too
OLD_GYM = "For the old gym package: env.id=shimmy:GymV26Environment-v0 (docs/environments.md says how)"
LARGEST = float(np.finfo(np.float32).max)  # rewards are kept in float32


def _where(env_id: str, index: int, step: int) -> str:
    """`step` 0 is the reset."""
    when = f"at step {step} of its episode" if step else "from reset()"
    return f"env.id = {env_id!r}: environment {index}, {when}"


class ObservationCheck:
    """Holds observations against a Box. An array of the space's own dtype and shape costs two comparisons."""

    def __init__(self, env_id: str, space: spaces.Box, exact: bool = False) -> None:
        """`exact`: values are choices, of which none may lie outside, at any step."""
        self._env_id, self._space, self._exact = env_id, space, exact
        self._dtype, self._shape = space.dtype, space.shape
        self._left = RANGE_CHECKED
        self.note = ""  # of what is not as the space says and does no harm

    def checked(self, observation: Any, index: int, step: int) -> AnyArray:
        """The observation as an array that the space's dtype holds without loss. UserError for one that is not.

        Wider dtypes of the same values pass: float64 for float32, whole numbers for uint8 within 0 to 255. Bounds of
        numbers, which environments often give too tight, may be passed by once their width.
        """
        if type(observation) is np.ndarray and observation.dtype == self._dtype and observation.shape == self._shape:
            if self._left > 0 or self._exact:
                self._left -= 1
                self._check_range(observation, index, step)
            return observation
        try:
            given = np.asarray(observation)
        except ValueError:  # a ragged list
            given = np.asarray(None)
        problem = misfit(given, self._dtype, self._shape)
        if problem:
            raise self._refused(given, index, step, problem)
        if given.dtype != self._dtype:
            self._note(f"gives {given.dtype} observations of the same values as its space's {self._dtype}")
        self._check_range(given, index, step)
        return given.astype(self._dtype)

    def _check_range(self, given: AnyArray, index: int, step: int) -> None:
        values = given.astype(np.float64)
        if not np.isfinite(values).all():
            raise self._refused(given, index, step, "a value is not finite")
        low, high = self._space.low.astype(np.float64), self._space.high.astype(np.float64)
        beyond = np.maximum(low - values, values - high)
        if (beyond <= 1e-6 * np.maximum(1, np.abs(values))).all():
            return
        if self._exact or (beyond > high - low).any():
            raise self._refused(given, index, step, f"values lie {'' if self._exact else 'far '}outside")
        self._note(f"gives observations from {values.min():g} to {values.max():g}, outside its space {self._space}")

    def _refused(self, given: AnyArray, index: int, step: int, problem: str) -> UserError:
        space = self._space
        return UserError(
            f"{_where(self._env_id, index, step)}: the observation is not in its space {space} ({problem}): "
            f"{described(given)}; expected {space.dtype} {list(space.shape)}, "
            f"{space.low.min():g} to {space.high.max():g}"
        )

    def _note(self, text: str) -> None:
        self.note = self.note or f"env.id = {self._env_id!r} {text}"


def misfit(given: AnyArray, dtype: Any, shape: tuple[int, ...]) -> str:
    """Why values can't stand for an array of that dtype and shape; "" when they can."""
    kind = given.dtype.kind
    if kind not in "buif":
        return "it is no array of numbers"
    if given.shape != shape:
        return "another shape"
    if np.issubdtype(dtype, np.bool_):
        return "" if kind == "b" or np.isin(given, (0, 1)).all() else "values that bool does not hold"
    if np.issubdtype(dtype, np.integer):
        if kind == "f":
            return f"floats where {np.dtype(dtype)} was promised"
        limits = np.iinfo(dtype)
        if given.size and (int(given.min()) < limits.min or int(given.max()) > limits.max):
            return f"values that {np.dtype(dtype)} does not hold"
    elif kind == "f":
        with np.errstate(over="ignore"):
            if not np.isfinite(given.astype(dtype)).all():
                return "a value is not finite"
    return ""


def described(given: AnyArray) -> str:
    """'float32 [84, 84, 3], 0 to 0.5': dtype, shape and range."""
    if given.dtype.kind not in "buif":
        return f"{given.dtype} {list(given.shape)}"
    finite = given[np.isfinite(given)]
    span = f", {finite.min():g} to {finite.max():g}" if finite.size else ""
    if finite.size < given.size:
        span += f", {given.size - finite.size} not finite, the first at {np.argwhere(~np.isfinite(given))[0].tolist()}"
    return f"{given.dtype} {list(given.shape)}{span}"


def not_finite(env_id: str, observations: AnyArray, steps: list[int]) -> UserError:
    """The mistake of observations [E, *F], of which one is not finite; `steps` [E] of their episodes."""
    index = int(np.argwhere(~np.isfinite(observations))[0][0])
    return UserError(
        f"{_where(env_id, index, steps[index])}: the observation is not finite: {described(observations[index])}"
    )


def checked_reward(env_id: str, index: int, step: int, reward: Any) -> float:
    """A reward as a number that float32 holds. UserError for nan, inf and what is no number."""
    try:
        value = float(reward.item() if isinstance(reward, np.ndarray) else reward)
    except (TypeError, ValueError):
        value = math.nan
    if not -LARGEST <= value <= LARGEST:
        raise UserError(
            f"{_where(env_id, index, step)}: the reward is {reward!r}; expected a finite number (within float32). "
            "It was not stored"
        )
    return value


def checked_answer(env_id: str, index: int, call: str, answer: Any) -> Any:
    """What `reset()` or `step()` gave, of Gymnasium's form. UserError for another, such as that of the old gym."""
    if type(answer) is tuple and len(answer) == (5 if call == "step()" else 2) and isinstance(answer[-1], Mapping):
        return answer
    form = "(observation, reward, terminated, truncated, info)" if call == "step()" else "(observation, info)"
    kinds = f"({', '.join(type(part).__name__ for part in answer)})" if isinstance(answer, tuple) else ""
    raise UserError(
        f"env.id = {env_id!r}: environment {index}: {call} gave {kinds or type(answer).__name__}; expected {form}, "
        f"Gymnasium's form. {OLD_GYM}"
    )


def ended_program(who: str, when: str, error: SystemExit) -> UserError:
    """The mistake of an environment that ends the program that it is part of."""
    return UserError(
        f"{who} called sys.exit({error.code!r}) {when}; expected it to raise an error, or to end an episode"
    )


def checked_flag(env_id: str, index: int, step: int, name: str, value: Any) -> bool:
    """`terminated` or `truncated` as a bool. UserError for what is neither a bool nor 0 or 1."""
    if np.ndim(value) == 0 and isinstance(value, (int, np.generic, np.ndarray)):
        for answer in (False, True):
            if value == answer:
                return answer
    raise UserError(f"{_where(env_id, index, step)}: {name} is {value!r}; expected True or False")


SMALLEST_PICTURE = 128  # pixels, of a video's longer side


def picture(env_id: str, given: Any) -> ByteArray:
    """What an environment draws, uint8 [H, W, 3]: floats 0 to 1 become bytes, and a board of few pixels larger.

    UserError for what is no picture, and for none.
    """
    if not isinstance(given, np.ndarray):
        raise UserError(no_pictures(env_id))
    drawn = given
    if drawn.dtype.kind == "f" and drawn.size and drawn.min() >= 0 and drawn.max() <= 1:
        drawn = (drawn * 255).round().astype(np.uint8)
    if drawn.dtype != np.uint8 or drawn.ndim != 3 or drawn.shape[2] != 3:
        raise UserError(
            f"env.id = {env_id!r} draws pictures of {described(given)}; expected uint8 [H, W, 3] (red, green, blue), "
            "so there can be no video of it"
        )
    times = -(-SMALLEST_PICTURE // max(drawn.shape[:2]))
    return drawn.repeat(times, axis=0).repeat(times, axis=1)


def no_pictures(env_id: str, why: str = "render_mode 'rgb_array'") -> str:
    return f"env.id = {env_id!r} draws no pictures ({why}), so there can be no video of it"
