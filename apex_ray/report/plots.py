"""Pictures of a run from the files it wrote; none, and no error, of files that are empty, partial or missing."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter

from apex_ray.config.load import load_run_config
from apex_ray.report.metrics import NUM_BANDS
from apex_ray.report.reading import Row, read_csv, read_jsonl, read_named_csv, resumed
from apex_ray.report.words import Words, words_for
from trainkit.errors import UserError
from trainkit.files import atomic_write

BANDS = {f"episode_return_band_{band}" for band in range(NUM_BANDS)}
EVALUATION_COLOUR = "#b8322a"
BAND_COLOURS = ("#1f4e79", "#4a86b8", "#86b3d6", "#bcd6ea")  # dark is greedy
BAND_NAMES = ("greediest quarter of ε", "second quarter", "third quarter", "most exploring quarter")
PROCESS_COLOURS = ("#1f4e79", "#d98324", "#3c8d5a", "#8a5aa8", "#c45a7a", "#5aa7b5", "#a39a3c", "#8c6d5a", "#9aa3ab")
MAX_PROCESSES = len(PROCESS_COLOURS) - 1  # the last colour is for all others


def learning_curve(run: Path, scores_of: str = "") -> Path | None:
    """Write run/learning_curve.png and return its path; None, and no picture, while no episode has ended.

    Evaluations (mean, and a bar from the worst to the best episode) and training returns by epsilon band, against
    training time on the left and frames on the right. `scores_of` is named in the title (types.EnvSpec).
    """
    evaluations = [
        row
        for row in resumed(read_csv(run / "evaluations.csv"), "wall_s")
        if {"frames", "mean", "min", "max"} <= row.keys()
    ]
    rows = [
        row
        for row in resumed(read_jsonl(run / "metrics.jsonl"), "time_s")
        if "frames" in row and not BANDS.isdisjoint(row)
    ]
    if not evaluations and not rows:
        return None
    words = _words(run)
    figure, (by_time, by_frames) = new_figure(2, (11.5, 4.6))
    _draw_curve(by_time, rows, evaluations, lambda r: r["time_s"] / 60, lambda r: r["wall_s"] / 60)
    _draw_curve(by_frames, rows, evaluations, lambda r: r["frames"], lambda r: r["frames"])
    by_time.set(xlabel="training time (minutes)", ylabel=words.score)
    by_frames.set(xlabel=words.frames)
    by_frames.xaxis.set_major_formatter(EngFormatter())
    by_frames.sharey(by_time)
    handles, labels = by_time.get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=3, frameon=False)
    whose = f" (scores of {scores_of})" if scores_of else ""
    figure.suptitle(f"Learning curve: {run.resolve().name}{whose}")
    return save(figure, run / "learning_curve.png")


def _words(run: Path) -> Words:
    """What frames and returns of the run are called."""
    try:
        return words_for(load_run_config(run).config.env.id)
    except UserError:  # settings of another version, or none
        return words_for("")


def memory_plot(csv: Path, out: Path) -> Path | None:
    """Write to `out` what a CSV time_s,process,pid,resident_bytes says: MiB by process, stacked, and the total.

    None, and no picture, where it says nothing. Processes of one name are added up; the smallest go together once there
    are more names than colours.
    """
    samples = _memory_samples(csv)
    if not samples:
        return None
    names = dict.fromkeys(name for _, sample in samples for name in sample)
    count = {name: max(len(sample.get(name, ())) for _, sample in samples) for name in names}
    table = {name: np.array([sum(sample.get(name, ())) for _, sample in samples]) / 2**20 for name in names}
    table = _largest(table, MAX_PROCESSES)
    figure, (axes,) = new_figure(1, (9.5, 5.2))
    minutes = np.array([time_s for time_s, _ in samples]) / 60
    if len(minutes) == 1:  # one sample has no width
        minutes = np.array([0.0, minutes[0]])
        table = {name: np.repeat(series, 2) for name, series in table.items()}
    labels = [f"{name} ({count[name]})" if count.get(name, 1) > 1 else name for name in table]
    colours = PROCESS_COLOURS[: len(table)]
    axes.stackplot(minutes, *table.values(), labels=labels, colors=colours, alpha=0.75, linewidth=0)
    total = np.sum(list(table.values()), axis=0)
    axes.plot(minutes, total, color="black", linewidth=1.4, label="total")
    axes.annotate(f"{total[-1]:,.0f} MiB", (minutes[-1], total[-1]), (-4, 6), textcoords="offset points", ha="right")
    handles, labels = axes.get_legend_handles_labels()
    figure.legend(handles[::-1], labels[::-1], loc="outside right upper", frameon=False)
    axes.margins(x=0)
    axes.set_ylim(0, float(total.max()) * 1.12 or 1.0)
    axes.yaxis.set_major_formatter("{x:,.0f}")
    axes.set(xlabel="training time (minutes)", ylabel="memory (MiB)", title="Memory by process, shared memory once")
    return save(figure, out)


def _draw_curve(
    axes: Axes,
    rows: Sequence[Row],
    evaluations: Sequence[Row],
    row_x: Callable[[Row], float],
    evaluation_x: Callable[[Row], float],
) -> None:
    for band in range(NUM_BANDS):
        name = f"episode_return_band_{band}"
        known = [r for r in rows if name in r]
        if known:
            x, y = [row_x(r) for r in known], [r[name] for r in known]
            axes.plot(
                x,
                y,
                marker="." if len(known) == 1 else "",  # a line of one point can't be seen
                color=BAND_COLOURS[band],
                linewidth=1.3,
                label=f"training, {BAND_NAMES[band]}",
                zorder=2 + NUM_BANDS - band,
            )
    if evaluations:
        x, colour = [evaluation_x(r) for r in evaluations], EVALUATION_COLOUR
        low, high = [r["min"] for r in evaluations], [r["max"] for r in evaluations]
        axes.vlines(x, low, high, color=colour, alpha=0.4, linewidth=1.5, label="evaluation, worst to best episode")
        mean = [r["mean"] for r in evaluations]
        axes.plot(x, mean, "o", color=colour, markersize=4, label="evaluation, mean", zorder=9)
        # Thin: nothing was measured between two evaluations.
        axes.plot(x, mean, ":", color=colour, linewidth=0.8, label="_", zorder=8)


def new_figure(panels: int, size: tuple[float, float], rows: int = 1) -> tuple[Figure, list[Axes]]:
    # Not pyplot: that would keep every figure, and choose a backend that may want a screen.
    figure = Figure(figsize=size, dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(rows, panels // rows, i + 1) for i in range(panels)]
    for a in axes:
        a.grid(True, color="#dddddd", linewidth=0.6)
        a.set_axisbelow(True)
        a.spines[["top", "right"]].set_visible(False)
    return figure, axes


def save(figure: Figure, path: Path) -> Path:
    """At once: a viewer never sees half a picture."""
    picture = BytesIO()
    figure.savefig(picture, format="png")
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic_write(path, picture.getvalue())
    return path


def _largest(table: dict[str, np.ndarray], keep: int) -> dict[str, np.ndarray]:
    """The `keep` names with the highest peaks, largest first, and the sum of the rest as "others"."""
    ranked = sorted(table.items(), key=lambda item: -item[1].max(initial=0.0))
    kept = dict(ranked[:keep])
    if rest := [series for _, series in ranked[keep:]]:
        kept["others"] = np.sum(rest, axis=0)
    return kept


def _memory_samples(path: Path) -> list[tuple[float, dict[str, list[float]]]]:
    """(time_s, bytes of each process by name) in order of time; of a stretch told twice the later account."""
    samples: list[tuple[float, dict[str, list[float]]]] = []
    for row, name in read_named_csv(path):
        if not {"time_s", "resident_bytes"} <= row.keys():
            continue
        if not samples or samples[-1][0] != row["time_s"]:
            while samples and samples[-1][0] >= row["time_s"]:
                samples.pop()
            samples.append((row["time_s"], defaultdict(list)))
        samples[-1][1][name].append(row["resident_bytes"])
    return samples
