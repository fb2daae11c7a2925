"""The picture on README's first screen, of what is in results/: python -m benchmarks.first_picture

Left: the evaluations of results/pong_suite by minutes of training. Right: results/bench/system.json beside RLlib. Text
stays text in the SVG, so that tests compare its figures with results/.
"""

from __future__ import annotations

import csv
import json
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.typing import RcKeyType

from benchmarks.machine import ROOT

PICTURE = ROOT / "docs" / "pictures" / "first_screen.svg"
RESULTS = ROOT / "results"
MOST = 21  # points in a game of Pong
GREY = "#7a8696"  # as in docs/pictures/data_flow.svg: can be read on white and on black alike
OURS, THEIRS = "#2f6fb3", "#9aa5b1"
SYSTEMS = {
    "apex-ray": "apex-ray",
    "RLlib's Ape-X, Ray 2.8": "RLlib's own Ape-X (Ray 2.8)",
    "RLlib DQN, tuned": "RLlib's DQN, tuned for this",
    "RLlib DQN, defaults": "RLlib's DQN, defaults",
}


def headed(axes: Axes, claim: str, about: str, x: float = 0.0) -> None:
    """A claim above what it is about; `x` in parts of the axes' width."""
    axes.text(x, 1.17, claim, transform=axes.transAxes, color=OURS, size=15, weight="bold")
    axes.text(x, 1.07, about, transform=axes.transAxes, size=11)


def learned(axes: Axes, rows: list[dict[str, str]]) -> None:
    """Evaluations of each seed of the first setting; the claim is that of the seed with the median time."""
    seeds: dict[str, list[dict[str, str]]] = {}
    for row in rows:
        if row["setting"] == rows[0]["setting"]:
            seeds.setdefault(row["seed"], []).append(row)
    curves = [[(60 * float(row["hours"]), float(row["mean"])) for row in run] for run in seeds.values()]
    curves.sort(key=lambda curve: curve[-1])
    axes.axhline(MOST, color=GREY, linewidth=1, linestyle=":")
    for curve in curves:
        axes.plot(*zip(*curve, strict=True), color=OURS, marker="o", linewidth=2, alpha=0.7)
    axes.set(xlim=(0, None), ylim=(-22, 24), xlabel="minutes of training", ylabel="points")
    minutes, mean = curves[len(curves) // 2][-1]
    claim = f"Pong: {mean:.1f} of {MOST} points in {minutes:.0f} minutes"
    headed(axes, claim, f"two cores, no GPU; until 18 or more; the median of {len(curves)} seeds")


def beside(axes: Axes, systems: dict[str, Any]) -> None:
    """Environment steps a second."""
    names = list(SYSTEMS)
    rates = [systems[name]["env steps/s"] for name in names]
    bars = axes.barh([SYSTEMS[n] for n in names], rates, color=[OURS, *[THEIRS] * (len(names) - 1)], height=0.62)
    axes.bar_label(bars, [f"{rate:,.0f}" for rate in rates], padding=5, color=GREY, size=13)
    axes.invert_yaxis()
    axes.set_xlim(0, max(rates) * 1.16)
    axes.set_xticks([])
    axes.tick_params(axis="y", length=0, labelsize=12)
    claim = f"{rates[0] / rates[1]:.1f} times the steps of RLlib's own Ape-X"
    headed(axes, claim, "environment steps a second; two cores, no GPU, same network", x=-0.55)


def drawn() -> Figure:
    with (RESULTS / "pong_suite" / "evaluations.csv").open(encoding="utf-8") as file:
        evaluations = list(csv.DictReader(file))
    systems = json.loads((RESULTS / "bench" / "system.json").read_text(encoding="utf-8"))["figures"]["systems"]
    figure = Figure(figsize=(12, 3.9), layout="constrained")
    curve, bars = figure.subplots(1, 2, width_ratios=[1.15, 1], gridspec_kw={"wspace": 0.08})
    learned(curve, evaluations)
    beside(bars, systems)
    for axes in (curve, bars):
        axes.spines[:].set_visible(False)
    curve.grid(axis="y", color=GREY, alpha=0.25)
    curve.tick_params(length=0)
    return figure


def main() -> None:
    texts: tuple[RcKeyType, ...] = ("text.color", "axes.labelcolor", "xtick.color", "ytick.color")
    # Nothing in the file that differs from one drawing to the next.
    fixed: dict[RcKeyType, str] = {"svg.fonttype": "none", "svg.hashsalt": "first_screen"}
    with matplotlib.rc_context(dict.fromkeys(texts, GREY) | fixed):
        drawn().savefig(PICTURE, transparent=True, metadata={"Date": None, "Creator": None})


if __name__ == "__main__":
    main()
