"""Gymnasium's spaces as what replay keeps and a network takes: an observation's leaves, an action's branches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, cast

import numpy as np
from gymnasium import spaces

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.checks import ObservationCheck
from apex_ray.types import FRAMES, MASK, AnyArray, BoolArray, EnvSpec, IntArray, Leaf, Observations
from trainkit.errors import UserError

EXACT = 1 << 24  # the largest whole number below which float32 holds every one


class Choices:
    """The actions of a space, counted from 0: of one branch, or of several where all combinations would be too many."""

    def __init__(self, config: EnvConfig, space: spaces.Space[Any]) -> None:
        """UserError for a space that is not of Discrete, MultiDiscrete or MultiBinary parts."""
        self._env_id, self._space = config.id, space
        self._sizes = tuple(self._parts(space))
        joint = math.prod(self._sizes)
        self._joint = len(self._sizes) > 1 and joint <= config.max_joint_actions
        self.branches: tuple[int, ...] = (joint,) if self._joint else self._sizes

    def _parts(self, space: spaces.Space[Any]) -> Iterator[int]:
        """How many values each part of an action has."""
        if isinstance(space, spaces.Discrete):
            yield int(space.n)
        elif isinstance(space, spaces.MultiDiscrete):
            yield from (int(n) for n in space.nvec.flat)
        elif isinstance(space, spaces.MultiBinary):
            yield from [2] * math.prod(space.shape)
        elif isinstance(space, spaces.Tuple | spaces.Dict):
            for part in _children(space):
                yield from self._parts(part[1])
        else:
            raise UserError(
                f"env.id = {self._env_id!r} has actions {space}; expected Discrete, MultiDiscrete or MultiBinary ones, "
                "or a Tuple or Dict of such: Q-learning chooses among a number of actions, so a wrapper has to turn "
                "continuous ones into steps"
            )

    def action(self, chosen: Any) -> Any:
        """The environment's own action for a number, or for one number a branch [K]."""
        if type(self._space) is spaces.Discrete:
            return int(chosen) + int(self._space.start)
        values = np.unravel_index(int(chosen), self._sizes) if self._joint else np.ravel(chosen)
        return self._built(self._space, iter([int(value) for value in values]))

    def _built(self, space: spaces.Space[Any], values: Iterator[int]) -> Any:
        if isinstance(space, spaces.Discrete):
            return next(values) + int(space.start)
        if isinstance(space, spaces.Tuple):
            return tuple(self._built(part, values) for part in space.spaces)
        if isinstance(space, spaces.Dict):
            return {name: self._built(part, values) for name, part in space.spaces.items()}
        assert space.shape is not None
        flat = [next(values) for _ in range(math.prod(space.shape))]
        numbers = np.asarray(flat, space.dtype).reshape(space.shape)
        return numbers + space.start if isinstance(space, spaces.MultiDiscrete) else numbers

    def mask(self, given: Any, where: str) -> BoolArray:
        """Which actions are legal, bool [A], from an entry for each action, or for each value of each part.

        A tuple or list of as many masks as the action has parts is one for each part; one array that could be either
        has an entry for each action. UserError, with `where`, for another number of entries, and for entries that are
        neither 0 nor 1.
        """
        rows = given if isinstance(given, Sequence) else [given]
        of_parts = len(rows) == len(self._sizes) > 1 and all(
            np.size(r) == n for r, n in zip(rows, self._sizes, strict=True)
        )
        try:
            flat = np.concatenate([np.ravel(np.asarray(row)) for row in rows])
        except ValueError:
            flat = np.zeros(0)
        if flat.size not in (sum(self.branches), sum(self._sizes)) or not np.isin(flat, (0, 1)).all():
            raise UserError(
                f"{where}: the action mask is {given!r}; expected {sum(self.branches)} entries 0 or 1, one for each "
                "action (env.action_mask=false: it is none)"
            )
        legal = flat.astype(bool)
        if not self._joint or (len(legal) == self.branches[0] and not of_parts):
            return legal
        parts = np.split(legal, np.cumsum(self._sizes)[:-1])
        outer: BoolArray = reduce(np.logical_and.outer, parts).ravel()
        return outer


@dataclass(frozen=True)
class _Part:
    """One leaf's way out of an observation."""

    name: str
    path: tuple[Any, ...]
    check: ObservationCheck | None  # None: the mask, which Choices looks at
    frame: Callable[[AnyArray], AnyArray]  # the checked array as a frame [*F]


class Observed:
    """The leaves of an observation space: what becomes of each observation."""

    def __init__(self, config: EnvConfig, space: spaces.Space[Any], choices: Choices) -> None:
        """UserError for a space that holds what a network can't be given."""
        self._env_id, self._choices = config.id, choices
        parts = [(path, part) for path, part in _flat(space) if ".".join(map(str, path)) not in config.ignore]
        found = [(path, part, *_leaf(config, path, part)) for path, part in parts if not _is_mask(config, path)]
        images = any(leaf.kind == "image" for _, _, leaf, _ in found)
        self.leaves: dict[str, Leaf] = {}
        self._parts: list[_Part] = []
        for path, part, leaf, frame in found:
            # A stack is for images; vectors have one where there are no images.
            stack = config.frame_stack if leaf.kind == "image" or not images else 1
            name = ".".join([FRAMES, *map(str, path)])
            self.leaves[name] = Leaf(leaf.kind, leaf.shape, leaf.dtype, stack, leaf.scale, leaf.sizes)
            self._parts.append(
                _Part(
                    name, path, ObservationCheck(config.id, _box(part), exact=not isinstance(part, spaces.Box)), frame
                )
            )
        if not self.leaves:
            raise UserError(f"env.id = {config.id!r} has observations {space}; expected at least one array of numbers")
        for path, _ in parts:
            if _is_mask(config, path):
                self.leaves[MASK] = mask_leaf(choices)
                self._parts.append(_Part(MASK, path, None, lambda mask: mask))

    def frames(self, observation: Any, index: int, step: int) -> list[tuple[str, AnyArray]]:
        """(leaf, frame [*F]) of what environment `index` gave at `step` of its episode, each of them checked."""
        frames = []
        for part in self._parts:
            value = observation
            try:
                for key in part.path:
                    value = value[key]
            except (KeyError, IndexError, TypeError):
                raise UserError(
                    f"env.id = {self._env_id!r}: environment {index}, step {step}: the observation has no "
                    f"{'.'.join(map(str, part.path))!r}, which its space has"
                ) from None
            if part.check is None:
                where = f"env.id = {self._env_id!r}: environment {index}, step {step}"
                frames.append((part.name, self._choices.mask(value, where)))
            else:
                frames.append((part.name, part.frame(part.check.checked(value, index, step))))
        return frames

    @property
    def notes(self) -> list[str]:
        """What is not as the space says and does no harm."""
        return [part.check.note for part in self._parts if part.check is not None and part.check.note]


def mask_leaf(choices: Choices) -> Leaf:
    return Leaf("mask", (sum(choices.branches),), "bool")


def check_actions(spec: EnvSpec, actions: IntArray, counts: BoolArray) -> None:
    """ValueError for actions [E] or [E, K] outside their branches, of the environments that `counts` marks [E]."""
    if ((actions >= 0) & (actions < np.asarray(spec.branches[0] if actions.ndim == 1 else spec.branches)))[
        counts
    ].all():
        return
    largest = " or ".join(str(n - 1) for n in spec.branches)
    raise ValueError(f"actions {actions.tolist()} outside 0..{largest} of {spec.env_id}")


def random_actions(spec: EnvSpec, rng: np.random.Generator, observations: Observations) -> IntArray:
    """Legal actions [E] or [E, K], drawn evenly."""
    legal = observations[MASK][:, -1] if spec.masked else None
    count = len(next(iter(observations.values())))
    chosen = []
    for branch, first in zip(spec.branches, np.cumsum((0, *spec.branches)), strict=False):
        allowed = np.ones((count, branch), bool) if legal is None else legal[:, first : first + branch]
        chosen.append((rng.random((count, branch)) * (allowed | ~allowed.any(axis=1, keepdims=True))).argmax(axis=1))
    return np.stack(chosen, axis=1) if len(chosen) > 1 else chosen[0]


def _is_mask(config: EnvConfig, path: tuple[Any, ...]) -> bool:
    return path == (MASK,) and config.action_mask is not False


def _children(space: Any) -> list[tuple[Any, spaces.Space[Any]]]:
    """Of a Tuple or a Dict."""
    return list(enumerate(space.spaces)) if isinstance(space, spaces.Tuple) else list(space.spaces.items())


def _flat(space: spaces.Space[Any], path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], spaces.Space[Any]]]:
    """The parts of a nested space, each with its keys."""
    if isinstance(space, spaces.Tuple | spaces.Dict):
        for key, part in _children(space):
            yield from _flat(part, (*path, key))
    else:
        yield path, space


def _box(space: spaces.Space[Any]) -> spaces.Box:
    """The arrays that a space holds."""
    if isinstance(space, spaces.Discrete):
        first, count = int(space.start), int(space.n)
        return spaces.Box(first, first + count - 1, (), np.int64)
    if isinstance(space, spaces.MultiDiscrete):
        start, sizes, kind = cast("tuple[Any, Any, Any]", (space.start, space.nvec, space.dtype))
        return spaces.Box(start, start + sizes - 1, dtype=kind)
    if isinstance(space, spaces.MultiBinary):
        return spaces.Box(0, 1, space.shape, np.int8)
    assert isinstance(space, spaces.Box)  # else `_leaf` had refused it
    return space


def _leaf(
    config: EnvConfig, path: tuple[Any, ...], space: spaces.Space[Any]
) -> tuple[Leaf, Callable[[AnyArray], AnyArray]]:
    """What a space that is not nested becomes, and how: a leaf without its stack, and the array's way to a frame."""
    if isinstance(space, spaces.Discrete):
        start = int(space.start)
        return Leaf("choice", (1,), "int32", sizes=(int(space.n),)), lambda a: np.reshape(a - start, (1,))
    if isinstance(space, spaces.MultiDiscrete):
        starts, sizes = space.start.ravel(), tuple(int(n) for n in space.nvec.flat)
        return Leaf("choice", (len(sizes),), "int32", sizes=sizes), lambda a: a.ravel() - starts
    if isinstance(space, spaces.MultiBinary):
        return Leaf("vector", (math.prod(space.shape),), "uint8"), np.ravel
    if isinstance(space, spaces.Box):
        if (found := _image(config, space)) is not None:
            return found
        pixels = space.dtype in (np.uint8, bool) and len(space.shape) > 1
        # Three axes of floats of which the first is the shortest are more likely an image than a table.
        colours_first = len(space.shape) == 3 and space.shape[0] < min(space.shape[1:])
        if not pixels and not colours_first and math.prod(space.shape) > 0:
            kept = space.dtype if space.dtype in (np.uint8, bool) else np.dtype(np.float32)
            scale = 1 / 255 if space.dtype == np.uint8 and space.high.max() > 1 else 1.0
            return Leaf("vector", space.shape or (1,), str(kept), scale=scale), np.atleast_1d
    whole = ".".join(map(str, path))
    name = f" at {whole!r} (env.ignore=[{whole}] leaves it out)" if path else ""
    if not isinstance(space, spaces.Space):
        raise UserError(
            f"env.id = {config.id!r} has observations {type(space).__module__}.{type(space).__name__}{name}; "
            "expected a space of gymnasium.spaces (the old gym has others)"
        )
    raise UserError(
        f"env.id = {config.id!r} has observations {space}{name}; expected a Box of numbers, an image uint8, bool or "
        "float [H, W] or [H, W, C] with C colours (env.channels=first: [C, H, W]; env.frame_stack stacks frames, so "
        "the environment should not), Discrete, MultiDiscrete, MultiBinary, or a Dict or Tuple of these"
    )


def _image(config: EnvConfig, space: spaces.Box) -> tuple[Leaf, Callable[[AnyArray], AnyArray]] | None:
    """A Box as an image with its colours first; None where it is none: 2-D floats are tables of numbers."""
    shape, dtype = space.shape, space.dtype
    if dtype not in (np.uint8, bool) and not (len(shape) == 3 and dtype in (np.float16, np.float32, np.float64)):
        return None
    kept = str(dtype) if dtype in (np.uint8, bool) else "float32"
    scale = 1 / 255 if dtype.kind != "b" and space.high.max() == 255 else 1.0
    if len(shape) == 2:
        return Leaf("image", shape, kept, scale=scale), lambda a: a
    if len(shape) != 3:
        return None
    if config.channels == "first":
        colours, height, width = shape
        form: Callable[[AnyArray], AnyArray] = (lambda a: a[0]) if colours == 1 else (lambda a: a)
    elif config.channels == "last" or shape[2] <= min(shape[:2]):
        # (4, 84, 84) is a stack of frames, or has its colours first: it would be read as 84 colours.
        height, width, colours = shape
        form = (lambda a: a[:, :, 0]) if colours == 1 else (lambda a: np.moveaxis(a, 2, 0))
    else:
        return None
    return Leaf("image", (height, width) if colours == 1 else (colours, height, width), kept, scale=scale), form


def narrowed(config: EnvConfig, space: spaces.Space[Any]) -> list[str]:
    """What is kept with fewer digits than the space has, for the user."""
    notes = []
    for path, part in _flat(space):
        if not isinstance(part, spaces.Box) or part.dtype in (np.uint8, bool, np.float32, np.float16):
            continue
        whole = np.issubdtype(part.dtype, np.integer)
        if whole and max(abs(float(part.low.min())), abs(float(part.high.max()))) <= EXACT:
            continue
        name = f" {'.'.join(map(str, path))!r}" if path else ""
        notes.append(f"env.id = {config.id!r}: its {part.dtype} observations{name} are kept as float32")
    return notes
