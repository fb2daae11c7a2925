"""What a scenario of stable-retro makes of a frame, read from the variables themselves.

stable-retro copies the console's memory after every frame to know what changed, which is a tenth of the cost of an
agent step. Most of its scenarios only pay for changes of a few variables and end at a value of another; those are
looked up here instead.
"""

from __future__ import annotations

import json
import operator
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Self

Lookup = Callable[[str], Any]  # a variable's value now
COMPARE: dict[str, Callable[[int, int], bool]] = {
    "equal": operator.eq,
    "not-equal": operator.ne,
    "less-than": operator.lt,
    "less-or-equal": operator.le,
    "greater-than": operator.gt,
    "greater-or-equal": operator.ge,
}
WITH_ZERO: dict[str, Callable[[int, int], bool]] = {
    "zero": operator.eq,
    "nonzero": operator.ne,
    "negative": operator.lt,
    "positive": operator.gt,
}


class UnsupportedError(Exception):
    """A rule that this file does not know."""


class Rewards:
    """`reward` times each increase of a variable, `penalty` times each decrease, which is negative."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        _only(rules, "variables")
        terms = rules.get("variables", {})
        for term in terms.values():
            _only(term, "reward", "penalty")
        self._terms = [(name, float(t.get("reward", 0)), float(t.get("penalty", 0))) for name, t in terms.items()]
        self._last: list[int] = []

    def begin(self, lookup: Lookup) -> None:
        """Changes count from now on."""
        self._last = [int(lookup(name)) for name, _, _ in self._terms]

    def frame(self, lookup: Lookup) -> float:
        """For what changed since the last call."""
        total = 0.0
        for i, (name, reward, penalty) in enumerate(self._terms):
            value = int(lookup(name))
            if change := value - self._last[i]:
                total += change * (reward if change > 0 else penalty)
                self._last[i] = value
        return total


class Ends:
    """Whether any, or all, of some comparisons of variables hold."""

    def __init__(self, rules: Mapping[str, Any]) -> None:
        _only(rules, "condition", "variables", "nodes")
        self._all: bool = rules.get("condition", "any") == "all"
        self._tests = [(name, *_comparison(test)) for name, test in rules.get("variables", {}).items()]
        self._nodes = [Ends(node) for node in rules.get("nodes", {}).values()]

    def __call__(self, lookup: Lookup) -> bool:
        for name, holds, reference in self._tests:
            if holds(int(lookup(name)), reference) != self._all:
                return not self._all
        for node in self._nodes:
            if node(lookup) != self._all:
                return not self._all
        return self._all


class Scenario:
    """Rewards and ends, frame by frame."""

    def __init__(self, rewards: Rewards, ends: Ends) -> None:
        self._rewards, self._ends = rewards, ends

    @classmethod
    def of(cls, path: Path) -> Self | None:
        """None for a scenario with scripts, or with rules that depend on more than is known here."""
        rules: Mapping[str, Any] = json.loads(path.read_text())
        try:
            _only(rules, "reward", "done", "crop", "actions")
            return cls(Rewards(rules.get("reward", {})), Ends(rules.get("done", {})))
        except UnsupportedError:
            return None

    def begin(self, lookup: Lookup) -> None:
        """An episode starts."""
        self._rewards.begin(lookup)

    def frame(self, lookup: Lookup) -> tuple[float, bool]:
        """(reward, whether the episode is done) after a frame."""
        return self._rewards.frame(lookup), self._ends(lookup)


def _comparison(test: Mapping[str, Any]) -> tuple[Callable[[int, int], bool], int]:
    """(how, with what) a variable is compared."""
    _only(test, "op", "reference")
    op = test.get("op", "")
    if op in WITH_ZERO:
        return WITH_ZERO[op], 0
    if op not in COMPARE or not isinstance(test.get("reference"), int):
        raise UnsupportedError
    return COMPARE[op], int(test["reference"])


def _only(rules: Mapping[str, Any], *known: str) -> None:
    if set(rules) - set(known):
        raise UnsupportedError
