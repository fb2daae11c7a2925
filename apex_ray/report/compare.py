"""One picture of several runs of one environment; runs that differ only in seed are one curve, a mean with a band."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from textwrap import fill
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter

from apex_ray.config.load import load_run_config
from apex_ray.config.resume import flat
from apex_ray.config.schema import ApexConfig
from apex_ray.report.plots import PROCESS_COLOURS, new_figure, save
from apex_ray.report.reading import Row, read_csv, read_jsonl, resumed
from apex_ray.report.words import words_for
from apex_ray.types import Float64Array
from trainkit.config_yaml import dump
from trainkit.errors import UserError, did_you_mean
from trainkit.rows import FILE
from trainkit.words import plural

# What says nothing of how a run learns: the seed, names, when it ends, what it keeps and reports, and where it runs.
LEFT_OUT = ("seed", "name", "runs_dir", "stop.", "checkpoint.", "report.", "cluster.")
BOOTSTRAP_RUNS, RESAMPLES = 5, 1000  # fewer runs than that have no interval worth the name
MAX_POINTS = 500  # of a mean
STYLES = ("-", "--", ":", "-.")  # once the colours are used up
LABEL_WIDTH = 110

Series = tuple[Float64Array, Float64Array]  # x [N], never falling, and y [N]


@dataclass(frozen=True)
class Compared:
    """A run with its settings by dotted key, and what it measured, in order of time."""

    path: Path
    config: ApexConfig
    settings: dict[str, Any]
    evaluations: list[Row]
    rows: list[Row]  # those with a training return


def compare(runs: Sequence[Path], by: str, out: Path) -> tuple[Path | None, list[str]]:
    """Write `out` and return (its path, lines to say); None, and no picture, where no run has anything to draw.

    Evaluations (mean of their episodes) and training returns (all epsilons), against frames and training time. `by`, a
    dotted setting, puts runs that share its value in one curve; "" those that are the same but for LEFT_OUT. UserError
    for different environments, for settings that don't load, and for a setting that there is not.
    """
    read = [_read(run) for run in runs]
    _refuse_other_environments(read)
    keys = dict.fromkeys(key for run in read for key in run.settings)
    if by and by not in keys:
        raise UserError(f"command line: --by {by!r}: no such setting.{did_you_mean(by, keys)}")
    messages = [f"{run.path} has {what}" for run in read if (what := _lacks(run))]
    drawn = [run for run in read if run.evaluations or run.rows]
    if not drawn:
        return None, messages
    curves, rest = curves_of(drawn, by)
    words = words_for(drawn[0].config.env.id)
    figure, axes = new_figure(4, (12.5, 9.0), rows=2)
    for a, (evaluations, hours) in zip(axes, product((True, False), (False, True)), strict=True):
        for number, of_curve in enumerate(curves.values()):
            series = [_series(run, evaluations, hours) for run in of_curve]
            _draw(a, [(x, y) for x, y in series if len(x)], number, len(of_curve), points=evaluations)
        a.set_xlabel("training time (hours)" if hours else words.frames)
        if not hours:
            a.xaxis.set_major_formatter(EngFormatter())
            a.set_ylabel(f"{words.score}, {'evaluations' if evaluations else 'training, all ε'}")
    handles = [_handle(axes[0], number) for number in range(len(curves))]
    labels = [fill(_label(label, len(of_curve)), LABEL_WIDTH) for label, of_curve in curves.items()]
    figure.legend(handles, labels, loc="outside lower center", ncols=1, frameon=False)
    title = [f"{plural(len(drawn), 'run')} of {drawn[0].config.env.id}"]
    title += [fill(f"runs of a curve differ also in {', '.join(rest)}", LABEL_WIDTH)] if rest else []
    figure.suptitle("\n".join(title))
    return save(figure, out), messages


def curves_of(runs: Sequence[Compared], by: str) -> tuple[dict[str, list[Compared]], list[str]]:
    """(the runs of each curve by what tells it from the others, the settings in which runs of one curve differ)."""
    differ = _differing(runs)
    curves: dict[str, list[Compared]] = {}
    for run in runs:
        label = ", ".join(f"{key} {_shown(run, key)}" for key in ([by] if by else differ))
        curves.setdefault(label or runs[0].config.name, []).append(run)
    within = {key for of_curve in curves.values() for key in _differing(of_curve)}
    return curves, [key for key in differ if key in within]


def mean_and_band(
    series: Sequence[Series], bootstrap: bool
) -> tuple[Float64Array, Float64Array, Float64Array, Float64Array] | None:
    """(x, mean, low, high), each [P], of the stretch in which all of `series` have data; None where there is none.

    Between two points of a run lies a straight line. The band is from the least to the greatest, or with `bootstrap`
    the 95% bootstrap interval of the mean (percentiles; Efron 1979).
    """
    first, last = max(x[0] for x, _ in series), min(x[-1] for x, _ in series)
    if first > last:
        return None
    grid = np.unique(np.concatenate([x for x, _ in series]))
    grid = grid[(grid >= first) & (grid <= last)]
    if len(grid) > MAX_POINTS:
        grid = np.linspace(first, last, MAX_POINTS)
    table = np.stack([np.interp(grid, x, y) for x, y in series])
    count = len(table)
    if not bootstrap:
        return grid, table.mean(axis=0), table.min(axis=0), table.max(axis=0)
    # How often each run is drawn, [RESAMPLES, count]; the same each time a picture is drawn.
    drawn = np.random.default_rng(0).multinomial(count, np.full(count, 1 / count), RESAMPLES)
    low, high = np.percentile(drawn @ table / count, (2.5, 97.5), axis=0)
    return grid, table.mean(axis=0), low, high


def _label(label: str, count: int) -> str:
    if count == 1:
        return f"{label} (1 run)"
    band = "95% bootstrap interval of the mean" if count >= BOOTSTRAP_RUNS else "min to max"
    return f"{label} ({count} runs: mean, band {band})"


def _draw(axes: Axes, series: Sequence[Series], number: int, count: int, points: bool) -> None:
    """What there is of the `count` runs of a curve: all of them thin, and their mean."""
    look = _look(number)
    thin: dict[str, Any] = {"linewidth": 1.3} if count == 1 else {"linewidth": 0.7, "alpha": 0.3}
    for x, y in series:
        marker = "." if points or len(x) == 1 else ""  # a line of one point can't be seen
        axes.plot(x, y, marker=marker, markersize=4, **thin, **look)
    if series and count > 1 and (found := mean_and_band(series, count >= BOOTSTRAP_RUNS)):
        x, mean, low, high = found
        axes.fill_between(x, low, high, color=look["color"], alpha=0.2, linewidth=0)
        axes.plot(x, mean, marker="." if len(x) == 1 else "", linewidth=1.8, **look)


def _handle(axes: Axes, number: int) -> Any:
    """A curve's line in the legend, also where no line of it is in the picture."""
    (line,) = axes.plot([], [], linewidth=1.8, **_look(number))
    return line


def _look(number: int) -> dict[str, Any]:
    colours = len(PROCESS_COLOURS)
    return {"color": PROCESS_COLOURS[number % colours], "linestyle": STYLES[number // colours % len(STYLES)]}


def _series(run: Compared, evaluations: bool, hours: bool) -> Series:
    """(frames or hours, returns) of its evaluations or of its training episodes."""
    rows, time, y = (run.evaluations, "wall_s", "mean") if evaluations else (run.rows, "time_s", "episode_return")
    x = np.array([row[time] / 3600 if hours else row["frames"] for row in rows])
    return x, np.array([row[y] for row in rows])


def _read(run: Path) -> Compared:
    config = load_run_config(run).config
    evaluations = resumed(read_csv(run / "evaluations.csv"), "wall_s")
    rows = resumed(read_jsonl(run / FILE), "time_s")
    return Compared(
        run,
        config,
        flat(config),
        [row for row in evaluations if {"frames", "mean"} <= row.keys()],
        [row for row in rows if {"frames", "episode_return"} <= row.keys()],
    )


def _lacks(run: Compared) -> str:
    if run.evaluations and run.rows:
        return ""
    return "no evaluation yet" if run.rows else "no training episode yet" if run.evaluations else "nothing to draw yet"


def _refuse_other_environments(runs: Sequence[Compared]) -> None:
    by_env = {(run.config.env.id, run.config.env.make): run for run in runs}
    if len(by_env) > 1:
        shown = ", ".join(f"{env_id} ({run.path})" for (env_id, _), run in by_env.items())
        raise UserError(f"command line: returns of different environments don't compare: {shown}; expected runs of one")


def _differing(runs: Sequence[Compared]) -> list[str]:
    keys = dict.fromkeys(key for run in runs for key in run.settings if not key.startswith(LEFT_OUT))
    return [key for key in keys if len({_shown(run, key) for run in runs}) > 1]


def _shown(run: Compared, key: str) -> str:
    return dump(run.settings.get(key), flow=True)
