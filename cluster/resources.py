"""What a job needs, what a cluster has, and how the one fits onto the other: the resource plan.

A job states its needs as bundles, each of which has to be on one node. `fit` places them as Ray would, so that a job
too large for the cluster is refused with numbers instead of waiting for ever.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

import ray

from cluster import ray_private
from trainkit.words import size

KINDS = ("CPU", "GPU", "memory", "object_store_memory")  # Ray's names; the last two in bytes
TOLERANCE = 1e-6  # of fractional resources


@dataclass(frozen=True)
class Bundle:
    """Resources that must come from one node, `count` times; at least `at_least` of them for the job to run at all."""

    name: str
    cpus: float = 0.0
    gpus: float = 0.0
    memory_bytes: int = 0
    object_store_bytes: int = 0
    count: int = 1
    at_least: int | None = None  # None: all
    labels: Mapping[str, str] = field(default_factory=dict)  # Ray's label selectors: "x", "!x", "in(x,y)", "!in(x,y)"
    scaling_bytes: int = 0  # of object_store_bytes, for each of the bundle that scales

    @property
    def needs(self) -> dict[str, float]:
        """By Ray's names, what is not zero."""
        amounts = (self.cpus, self.gpus, float(self.memory_bytes), float(self.object_store_bytes))
        return {kind: amount for kind, amount in zip(KINDS, amounts, strict=True) if amount}

    @property
    def scheduled(self) -> dict[str, float]:
        """What Ray takes from the node for one of them: all but the object store, which it does not hand out.

        Never empty, as Ray refuses that: a byte stands for "anywhere". No CPU does, which would be missing elsewhere.
        """
        amounts = {kind: amount for kind, amount in self.needs.items() if kind != "object_store_memory"}
        return amounts or {"memory": 1.0}

    @property
    def minimum(self) -> int:
        return self.count if self.at_least is None else self.at_least


class Needs(Protocol):
    """The bundles of a trainer's command on so many cores (None: this machine's) and GPUs; the one that scales last.

    With `count`, those of the same command with that many of the last. UserError for a mistake in the words, and for a
    count that can't be.
    """

    def __call__(
        self, words: Sequence[str], cores: int | None, gpus: float, count: int | None = None
    ) -> list[Bundle]: ...


class Expects(Protocol):
    """What a command would do where its bundles are `found` to go, as text.

    `given` are figures, KEY=VALUE, in place of its own. UserError for a mistake in these.
    """

    def __call__(
        self, words: Sequence[str], cores: int | None, gpus: float, found: Fit, given: Sequence[str]
    ) -> str: ...


@dataclass(frozen=True)
class Planner:
    """What `apex-cluster plan` knows of a trainer's command."""

    needs: Needs
    expects: Expects | None = None  # None: nothing was measured that could tell


@dataclass(frozen=True)
class Node:
    """A live node of the cluster."""

    id: str
    name: str
    free: Mapping[str, float]
    total: Mapping[str, float]
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Fit:
    """Where each bundle goes."""

    bundles: Sequence[Bundle]
    nodes: Sequence[Node]
    placed: Mapping[str, Mapping[str, int]]  # bundle's name -> node's id -> how many
    largest: int  # of the one that scales

    @property
    def scaling(self) -> Bundle:
        """The bundle of which there may be more or fewer: the last one."""
        return self.bundles[-1]

    def count(self, bundle: Bundle) -> int:
        return sum(self.placed[bundle.name].values())

    @property
    def enough(self) -> bool:
        """Whether the job can run, if not at full size."""
        return all(self.count(bundle) >= bundle.minimum for bundle in self.bundles)

    @property
    def whole(self) -> bool:
        return all(self.count(bundle) == bundle.count for bundle in self.bundles)

    def missing(self) -> str:
        """In words, the first bundle that does not fit; '' when all do."""
        for bundle in self.bundles:
            count = self.count(bundle)
            if count < bundle.minimum:
                wanted = f"{bundle.minimum} x {bundle.name}" if bundle.minimum > 1 else bundle.name
                on = f" on a node with {in_words(bundle.labels)}" if bundle.labels else ""
                return f"{wanted} ({describe(bundle.needs)} each{on}) but there is room for {count}"
        return ""

    def lacking(self) -> str:
        """In words, what the node that comes nearest lacks for the first bundle that does not fit; '' when all do."""
        bundle = next((b for b in self.bundles if self.count(b) < b.minimum), None)
        if bundle is None:
            return ""
        asked = bundle.needs | bundle.scheduled
        able = [(node, self._left(node, bundle)) for node in self.nodes if matches(node.labels, bundle.labels)]
        if not able:
            return f"no node has {in_words(bundle.labels)}" if self.nodes else "there is no node"

        def met(left: Mapping[str, float]) -> list[float]:
            """What part of each amount is there, the scarcest first."""
            return sorted(min(left[kind] / amount, 1.0) for kind, amount in asked.items())

        node, left = max(able, key=lambda one: met(one[1]))
        short = [
            f"{_name(kind)} ({_amount(kind, amount)} asked, {_amount(kind, left[kind])} left)"
            for kind, amount in asked.items()
            if left[kind] + TOLERANCE < amount
        ]
        return f"the nearest node, {node.name}, lacks {' and '.join(short)}"

    def _left(self, node: Node, last: Bundle) -> dict[str, float]:
        """What is free of each kind beside what was placed there up to `last`: later ones take nothing from it."""
        left = {kind: node.free.get(kind, 0.0) for kind in KINDS}
        for bundle in self.bundles[: self.bundles.index(last) + 1]:
            for kind, amount in (bundle.needs | bundle.scheduled).items():
                left[kind] -= amount * self.placed[bundle.name].get(node.id, 0)
        return left


def snapshot() -> list[Node]:
    """The nodes of the connected cluster that are alive."""
    # Ray Client has no accessor for what is free: the question is answered on the cluster.
    if ray_private.client_address():
        return ray.get(ray.remote(num_cpus=0)(_snapshot).remote())
    return _snapshot()


def _snapshot() -> list[Node]:
    free = ray_private.free_by_node()
    return [
        Node(
            node["NodeID"],
            node["NodeManagerAddress"] + (" (head)" if "node:__internal_head__" in node["Resources"] else ""),
            {kind: free.get(node["NodeID"], {}).get(kind, 0.0) for kind in KINDS},
            {kind: node["Resources"].get(kind, 0.0) for kind in KINDS},
            node.get("Labels") or {},
        )
        for node in ray.nodes()  # type: ignore[no-untyped-call]
        if node["Alive"]
    ]


def fit(bundles: Sequence[Bundle], nodes: Sequence[Node]) -> Fit:
    """Place bundles in their order on what is free, each node's room used up before the next one's.

    The first bundle takes the roomiest node that has what it needs; the others prefer nodes that are in use already, as
    Ray's PACK strategy does. Bundles without a GPU keep away from GPU nodes while others have room.
    """
    free = {node.id: dict(node.free) for node in nodes}
    used: list[str] = []
    placed: dict[str, dict[str, int]] = {bundle.name: {} for bundle in bundles}

    def place(bundle: Bundle) -> str | None:
        taken = bundle.needs | bundle.scheduled
        able = [n for n in nodes if matches(n.labels, bundle.labels) and _holds(free[n.id], taken)]
        if not able:
            return None
        best = min(
            able,
            key=lambda n: (
                n.total.get("GPU", 0) > 0 and not bundle.gpus,
                used.index(n.id) if n.id in used else len(used),
                -free[n.id].get("CPU", 0),
            ),
        )
        for kind, amount in taken.items():
            free[best.id][kind] -= amount
        if best.id not in used:
            used.append(best.id)
        return best.id

    def place_all(bundle: Bundle, limit: int | None) -> dict[str, int]:
        counts: dict[str, int] = {}
        while (limit is None or sum(counts.values()) < limit) and (node := place(bundle)) is not None:
            counts[node] = counts.get(node, 0) + 1
        return counts

    for bundle in bundles:
        placed[bundle.name] = place_all(bundle, bundle.count)
    found = Fit(bundles, nodes, placed, largest=0)
    largest = found.count(found.scaling)
    if largest == found.scaling.count and found.scaling.needs:
        largest += sum(place_all(found.scaling, None).values())
    return replace(found, largest=largest)


def cpus(bundles: Sequence[Bundle]) -> float:
    """CPUs that Ray takes for all of them."""
    return sum(bundle.scheduled.get("CPU", 0.0) * bundle.count for bundle in bundles)


def _holds(free: Mapping[str, float], needs: Mapping[str, float]) -> bool:
    return all(free.get(kind, 0.0) + TOLERANCE >= amount for kind, amount in needs.items())


def matches(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether a node's labels satisfy Ray's label selector."""
    for key, wanted in selector.items():
        negated, value = wanted.startswith("!"), wanted.removeprefix("!")
        listed = re.fullmatch(r"in\((.*)\)", value)
        allowed = [v.strip() for v in listed[1].split(",")] if listed else [value]
        if (labels.get(key) in allowed) == negated:
            return False
    return True


def emptied(nodes: Sequence[Node]) -> list[Node]:
    """The same nodes with nothing running on them."""
    return [replace(node, free=node.total) for node in nodes]


def describe(needs: Mapping[str, float]) -> str:
    """'1 CPU, 13.2 GiB of memory'."""
    words = []
    for kind, amount in needs.items():
        words.append(_amount(kind, amount) + (" of " if "memory" in kind else " ") + _name(kind))
    return ", ".join(words)


def _name(kind: str) -> str:
    return kind.replace("_memory", "").replace("_", " ")


def _amount(kind: str, amount: float) -> str:
    return size(max(amount, 0.0)) if "memory" in kind else f"{max(amount, 0.0):g}"


def in_words(labels: Mapping[str, str]) -> str:
    """'pool=spot, zone=!a'."""
    return ", ".join(f"{key}={value}" for key, value in labels.items())
