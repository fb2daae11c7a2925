"""What a run shows while it trains: a live table in a terminal, plain lines anywhere else."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Mapping
from types import TracebackType
from typing import TextIO

import rich.box
from rich.console import Group
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from apex_ray.agent.exploration import epsilons_of
from apex_ray.config.schema import ApexConfig, StopConfig
from apex_ray.report import terminal
from apex_ray.report.metrics import ReturnsByBand
from apex_ray.report.words import words_for
from trainkit.words import size

UNKNOWN = "-"
# The phases of a run, up to that in which it learns from every batch.
STARTING, FILLING, COMPILING, LEARNING = "starting", "filling replay", "compiling", "learning"
PHASE_LINES = {
    FILLING: "acting; learning starts when replay holds replay.min_transitions",
    COMPILING: "before the first update torch.compile works, where there is a compiler: 10 to 60 s, longer if busy",
    LEARNING: "learning",
}


class Console:
    """A context manager; `update` shows a row of metrics, `event` a line that stays. Leaving restores the terminal.

    In a terminal the table is drawn anew with each row and when the terminal's size changes. Elsewhere (a file, a pipe,
    a notebook, Kubernetes' log) one line is printed every `report.line_every_s` seconds of training. Times are of
    training, whose clock begins with the first row. `is_terminal` overrides what `stream` says of itself.
    """

    def __init__(
        self, title: str, config: ApexConfig, stream: TextIO | None = None, is_terminal: bool | None = None
    ) -> None:
        self._title, self._config, self._words = title, config, words_for(config.env.id)
        self._stream = stream or sys.stdout
        if is_terminal is None:
            is_terminal = self._stream.isatty() and os.environ.get("TERM") != "dumb"
        self._bands = _band_ranges(config)
        self._row: Mapping[str, float] = {}
        self._phase = STARTING
        self._row_s = self._shown_s = 0.0  # training times: of the last row, and the latest told
        self._row_came_at: float | None = None
        self._line_at = -math.inf
        self._table = terminal.Table(self._stream, self._render) if is_terminal else None

    def __enter__(self) -> Console:
        if self._table is not None:
            self._table.start()
        else:
            self._print(f"{STARTING} {self._title}")
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if self._table is not None:
            self._table.stop()

    def update(self, row: Mapping[str, float], last: bool = False) -> None:
        """Show a row of metrics, named as in METRICS; what it lacks shows as '-'. The last one is always printed."""
        self._row, before_s = dict(row), self._row_s
        self._row_s = row.get("time_s", before_s)
        if self._row_came_at is None or self._row_s != before_s:  # not the same row with more in it
            self._row_came_at, self._shown_s = time.monotonic(), max(self._shown_s, self._row_s)
        before, self._phase = self._phase, phase(row, self._config)
        if self._phase != before and not last:
            self.event(PHASE_LINES[self._phase])
        if self._table is not None:
            self._table.draw()
        elif self._row_s - self._line_at >= (0.001 if last else self._config.report.line_every_s):
            self._line_at = self._row_s
            self._print(plain_line(row, self._config.stop, self._words.short))

    def event(self, text: str) -> None:
        """Print a line that stays: a checkpoint, an actor started anew, an evaluation."""
        when = STARTING
        if self._row_came_at is not None:
            # Never back: a row may be a little older than what was told before it came.
            self._shown_s = max(self._shown_s, self._row_s + time.monotonic() - self._row_came_at)
            when = clock(self._shown_s)
        if self._table is not None:
            self._table.print_above(f"{when} {text}")
        else:
            self._print(f"{when} {text}")

    def _print(self, line: str) -> None:
        print(line, file=self._stream, flush=True)

    def _render(self, columns: int) -> Panel:
        row, left = self._row, left_s(self._row, self._config.stop)
        elapsed = clock(row.get("time_s", math.nan))
        return Panel(
            Group(self._counters(), "", self._returns()),
            title=Text(self._title, style="bold"),
            subtitle=Text(f"{self._phase}   elapsed {elapsed}   left {clock(left)}"),
            box=rich.box.ROUNDED,
            width=columns,
        )

    def _counters(self) -> Table:
        table = _table()
        acting = _acting(self._row, self._words.short)
        columns = {"acting": acting, "replay": _replay(self._row), "learning": _learning(self._row)}
        for name in columns:
            table.add_column(name, header_style="bold cyan", ratio=1)
        table.add_row(*(_pairs(values) for values in columns.values()))
        return table

    def _returns(self) -> Table:
        """Training returns, overall and by epsilon, and evaluation scores."""
        row = self._row
        values = {"training\nlast minute": number(row, "episode_return", ",.1f")}
        for band, epsilons in enumerate(self._bands):
            if epsilons is not None:
                low, high = epsilons
                values[f"eps {low:.1g}\nto {high:.1g}"] = number(row, f"episode_return_band_{band}", ",.1f")
        values["eval\nlast"] = number(row, "evaluation_return", ",.1f")
        values["eval\nbest"] = number(row, "evaluation_best", ",.1f")
        table = _table()
        for name in values:
            table.add_column(Text(name, justify="right"), header_style="bold cyan", justify="right", no_wrap=True)
        table.add_row(*values.values())
        return table


def _acting(row: Mapping[str, float], frames: str) -> dict[str, str]:
    actors, lost = number(row, "actors_alive", ",.0f"), row.get("restarts", 0)
    return {
        frames: number(row, "frames", ",.0f"),
        f"{frames}/s": number(row, "frames_per_s", ",.0f"),
        "episodes": number(row, "episodes", ",.0f"),
        "actors": f"{actors} ({lost:.0f} replaced)" if lost else actors,
        "waiting": number(row, "actor_wait_fraction", ".0%"),
    }


def _replay(row: Mapping[str, float]) -> dict[str, str]:
    memory = row.get("resident_bytes", math.nan)
    return {
        "transitions": number(row, "replay_transitions", ",.0f"),
        "fill": number(row, "replay_fill", ".0%"),
        "ratio": number(row, "replay_ratio", ".2f"),
        "stale": number(row, "stale_priorities", ",.0f"),
        "memory": size(memory) if math.isfinite(memory) else UNKNOWN,
    }


def _learning(row: Mapping[str, float]) -> dict[str, str]:
    return {
        "updates": number(row, "updates", ",.0f"),
        "updates/s": number(row, "updates_per_s", ",.1f"),
        "policy age": number(row, "policy_age_updates", ",.0f"),
        "waiting": number(row, "learner_wait_fraction", ".0%"),
        "loss": number(row, "loss", ".3g"),
    }


def _table() -> Table:
    return Table(box=rich.box.SIMPLE_HEAD, expand=True, padding=(0, 1), pad_edge=False, show_edge=False)


def _pairs(values: Mapping[str, str]) -> Table:
    grid = Table.grid(expand=True, padding=(0, 1))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(justify="right", no_wrap=True)
    for name, value in values.items():
        grid.add_row(name, value)
    return grid


def plain_line(row: Mapping[str, float], stop: StopConfig, frames: str) -> str:
    """One row as a line of `name value` pairs, in an order and of widths that stay: lines form a table.

    `frames` is what they are called.
    """
    return (
        f"{clock(row.get('time_s', math.nan))}"
        f"  actors {number(row, 'actors_alive', ',.0f'):>3}"
        f"  {frames} {number(row, 'frames', ',.0f'):>11} ({number(row, 'frames_per_s', ',.0f'):>6}/s)"
        f"  updates {number(row, 'updates', ',.0f'):>9} ({number(row, 'updates_per_s', ',.1f'):>5}/s)"
        f"  replay {number(row, 'replay_fill', '.0%'):>4}"
        f"  ratio {number(row, 'replay_ratio', '.2f'):>5}"
        f"  age {number(row, 'policy_age_updates', ',.0f'):>4}"
        f"  wait {number(row, 'learner_wait_fraction', '.0%'):>4}"
        f"  return {number(row, 'episode_return', '.1f'):>7}"
        f"  eval {number(row, 'evaluation_return', '.1f'):>7} (best {number(row, 'evaluation_best', '.1f'):>7})"
        f"  left {clock(left_s(row, stop))}"
    )


def phase(row: Mapping[str, float], config: ApexConfig) -> str:
    """What the run does: STARTING, FILLING, COMPILING or LEARNING."""
    stored, enough = row.get("replay_transitions"), config.replay.min_transitions
    filling = stored is not None and stored < enough and not row.get("updates_per_s")
    if row.get("updates") and not filling:  # a resumed run has updates before it learns
        return LEARNING
    if not row.get("frames"):
        return STARTING
    if (stored or 0) < enough:
        return FILLING
    return COMPILING if config.learner.compile else LEARNING


def number(row: Mapping[str, float], name: str, form: str) -> str:
    """The value in that format, '-' when it isn't known."""
    value = row.get(name)
    return UNKNOWN if value is None or not math.isfinite(value) else format(value, f"z{form}")  # z: no -0


def clock(seconds: float) -> str:
    """hh:mm:ss; hours go on above 99. '-' for a time that isn't known."""
    if not math.isfinite(seconds):
        return UNKNOWN
    minutes, s = divmod(max(int(seconds), 0), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{s:02d}"


def left_s(row: Mapping[str, float], stop: StopConfig) -> float:
    """Seconds to the nearest of the stop limits at the present rates; nan when none is set or no rate is known."""
    limits = [
        (stop.after_s, row.get("time_s"), 1.0),
        (stop.after_frames, row.get("frames"), row.get("frames_per_s")),
        (stop.after_updates, row.get("updates"), row.get("updates_per_s")),
    ]
    known = [
        max(limit - reached, 0) / rate
        for limit, reached, rate in limits
        if limit is not None and reached is not None and rate is not None and rate > 0
    ]
    return min(known, default=math.nan)


def _band_ranges(config: ApexConfig) -> list[tuple[float, float] | None]:
    """Smallest and largest epsilon of each band, greediest first."""
    a = config.actors
    # On a cluster `auto` may come to more, which moves the ends of the quarters only little.
    actors = max((os.cpu_count() or 1) - 1, 1) if a.range is None else a.range[1]
    return ReturnsByBand(epsilons_of(a, actors)).ranges()
