"""What a key of RLlib's may hold: checks that give the value back or one UserError."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from ray.tune.search.sample import Domain

from trainkit.errors import UserError, did_you_mean

Check = Callable[[str, Any], Any]  # (key, value) -> value; UserError for one that is none


def wrong(key: str, value: Any, expected: str) -> UserError:
    return UserError(f"ApexDQNConfig: {key} = {value!r}: {expected}")


def anything(key: str, value: Any) -> Any:
    return value


def settled(key: str, value: Any) -> Any:
    """The value, NumPy's scalars as Python's. UserError for a search space: only Tune can choose from it."""
    if isinstance(value, Domain) or (isinstance(value, Mapping) and "grid_search" in value):
        raise wrong(key, value, "a search space; give the configuration to tune.Tuner, which chooses a value")
    return plain(value)


def plain(value: Any) -> Any:
    """With NumPy's scalars, also inside of lists and mappings, as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    if type(value) in (list, tuple):
        return type(value)(map(plain, value))
    return {key: plain(part) for key, part in value.items()} if type(value) is dict else value


def whole(least: int, most: int | None = None) -> Check:
    """Whole numbers, also as floats such as 1e6."""
    upto = "" if most is None else f" and at most {most}"

    def check(key: str, value: Any) -> int:
        number = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
        if not number or value != value // 1 or value < least or (most is not None and value > most):
            raise wrong(key, value, f"expected a whole number of at least {least}{upto}")
        return int(value)

    return check


def number(
    above: float | None = None, least: float | None = None, below: float | None = None, most: float | None = None
) -> Check:
    bounds = {"more than": above, "at least": least, "less than": below, "at most": most}
    words = " and ".join(f"{word} {bound:g}" for word, bound in bounds.items() if bound is not None)

    def check(key: str, value: Any) -> float:
        if (
            not isinstance(value, int | float)
            or isinstance(value, bool)
            or not math.isfinite(value)
            or (above is not None and not value > above)
            or (least is not None and not value >= least)
            or (below is not None and not value < below)
            or (most is not None and not value <= most)
        ):
            raise wrong(key, value, f"expected a number {words}".rstrip())
        return float(value)

    return check


def flag(key: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise wrong(key, value, "expected True or False")
    return value


def or_none(check: Check) -> Check:
    return lambda key, value: None if value is None else check(key, value)


def either(check: Check, *others: Any) -> Check:
    """These values, or what `check` takes."""
    return lambda key, value: value if any(type(value) is type(o) and value == o for o in others) else check(key, value)


def one_of(*names: Any) -> Check:
    def check(key: str, value: Any) -> Any:
        if not any(type(value) is type(name) and value == name for name in names):
            hint = did_you_mean(str(value), [str(n) for n in names])
            raise wrong(key, value, f"expected {' or '.join(repr(n) for n in names)}.{hint}")
        return value

    return check


def only(allowed: Any, instead: str) -> Check:
    """Nothing but `allowed`; `instead`: what to do, for whoever has something else."""

    def check(key: str, value: Any) -> Any:
        if value != allowed:
            raise wrong(key, value, instead)
        return value

    return check


def mapping(key: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise wrong(key, value, "expected a mapping")
    return dict(value)


def layers(key: str, value: Any) -> list[int]:
    """Widths of layers."""
    if isinstance(value, str) or not isinstance(value, Sequence):
        raise wrong(key, value, "expected a list of widths such as [256, 256]")
    return [whole(1)(key, width) for width in value]


def points(check: Check) -> Check:
    """A schedule, [[step, value], ...] with rising steps."""

    def checked(key: str, value: Any) -> list[tuple[int, float]]:
        pairs = isinstance(value, Sequence) and not isinstance(value, str) and len(value) > 0
        if not pairs or not all(isinstance(p, Sequence) and not isinstance(p, str) and len(p) == 2 for p in value):
            raise wrong(key, value, "expected a schedule, [[step, value], [step, value], ...]")
        found = [(whole(0)(key, step), check(key, at)) for step, at in value]
        if any(later[0] <= earlier[0] for earlier, later in itertools.pairwise(found)):
            raise wrong(key, value, "expected steps that rise")
        return found

    return checked
