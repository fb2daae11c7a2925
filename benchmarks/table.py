"""Medians of interleaved rounds, and a table to print."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from statistics import median

from rich.console import Console
from rich.table import Table


def rates(contestants: Mapping[str, Callable[[], int]], seconds: float = 2.0, rounds: int = 3) -> dict[str, float]:
    """Work per second of each contestant, the median of `rounds`, taken in turns so that all see the same machine.

    A contestant does a small piece of work and returns how much it was.
    """
    seen: dict[str, list[float]] = {name: [] for name in contestants}
    for work in contestants.values():
        work()  # compile, allocate, touch
    for _ in range(rounds):
        for name, work in contestants.items():
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                done += work()
            seen[name].append(done / (time.perf_counter() - started))
    return {name: median(values) for name, values in seen.items()}


def show(title: str, unit: str, figures: dict[str, float], against: str) -> None:
    table = Table("what", unit, f"ratio to {against}", title=title)
    for name, value in figures.items():
        table.add_row(name, f"{value:,.1f}", f"{value / figures[against]:.2f}")
    Console().print(table)
