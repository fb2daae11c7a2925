"""The placement group of a Ray Tune trial, where it was asked for with the run's own bundles."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import ray

from cluster.resources import Bundle


def trial_group(needs: Sequence[Bundle]) -> tuple[Any, list[Bundle]] | None:
    """(The group that this process is in, `needs` with its bundles' CPUs); None where there is none, or another's.

    It has a bundle for each process of the run, in the order of `needs`, and may have one before them for the trial's
    own process. One with fewer, such as that of `tune.with_resources(..., {"cpu": 1})`, is not for the run's processes.
    """
    group = ray.util.get_current_placement_group()
    if group is None:
        return None
    wanted = [bundle for bundle in needs for _ in range(bundle.count)]
    own = len(group.bundle_specs) - len(wanted)
    if own not in (0, 1):
        return None
    held: list[tuple[Bundle, dict[str, float]]] = list(zip(wanted, group.bundle_specs[own:], strict=True))
    if any(has.get(kind, 0.0) < amount for need, has in held for kind, amount in _but_cpus(need).items()):
        return None
    cpus = {need.name: min(has.get("CPU", 0.0) for other, has in held if other.name == need.name) for need in needs}
    return group, [replace(need, cpus=cpus[need.name]) for need in needs]


def _but_cpus(need: Bundle) -> dict[str, float]:
    """Of those a trial may have asked for fewer, where the one machine that there is has too few."""
    return {kind: amount for kind, amount in need.scheduled.items() if kind != "CPU"}
