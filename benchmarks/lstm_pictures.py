"""The LSTM block drawn, and its gates over a sentence: python -m benchmarks.lstm_pictures [RUN of a text]"""

from __future__ import annotations

import sys

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch
from torch.nn import functional

from benchmarks.machine import ROOT
from lstm import checkpoint, plots
from lstm.tasks.text import coded
from trainkit.runs import open_run

PICTURES = ROOT / "docs" / "pictures"
SENTENCE = "\nWhat is the matter, sir?\nNothing, my lord.\n"
COLOURS = {"sigmoid": "#cfe3f7", "tanh": "#f9dfc0", "point": "#e5e5e5"}


def block() -> Figure:
    """Memory along the top, the three gates and the candidate below, the output to the right."""
    figure = Figure(figsize=(9, 5), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 10), ylim=(0, 6))
    axes.axis("off")
    _arrow(axes, (0.2, 5), (9.8, 5), "black", 2.5)  # the memory's way
    axes.text(0.1, 5.25, "memory $c$", fontsize=11)
    axes.text(9.0, 5.25, "$c\\prime$", fontsize=11)
    _arrow(axes, (0.2, 0.7), (6.7, 0.7), "gray", 1.2)
    axes.text(0.1, 0.15, "input $x$, last output $h$", fontsize=11)
    for x, name, kind in ((2, "forget\n$f$", "sigmoid"), (3.7, "input\n$i$", "sigmoid"),
                          (5.2, "candidate\n$g$", "tanh"), (6.7, "output\n$o$", "sigmoid")):  # fmt: skip
        _arrow(axes, (x, 0.7), (x, 1.5), "gray", 1.2)
        _box(axes, x, 1.9, name, kind)
    _arrow(axes, (2, 2.3), (2, 4.72), "black", 1.2)
    _point(axes, 2, 5, "$\\times$")
    _arrow(axes, (3.7, 2.3), (4.2, 3.3), "black", 1.2)
    _arrow(axes, (5.2, 2.3), (4.65, 3.3), "black", 1.2)
    _point(axes, 4.45, 3.5, "$\\times$")
    _arrow(axes, (4.45, 3.78), (4.45, 4.72), "black", 1.2)
    _point(axes, 4.45, 5, "$+$")
    _arrow(axes, (8, 5), (8, 4.2), "black", 1.2)
    _box(axes, 8, 3.8, "tanh", "tanh")
    _arrow(axes, (8, 3.4), (8, 2.2), "black", 1.2)
    _point(axes, 8, 1.9, "$\\times$")
    _arrow(axes, (7.3, 1.9), (7.72, 1.9), "black", 1.2)
    _arrow(axes, (8.28, 1.9), (9.8, 1.9), "black", 1.2)
    axes.text(8.8, 2.1, "output $h\\prime$", fontsize=11)
    return figure


def _arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, width: float) -> None:
    axes.annotate("", end, start, arrowprops={"arrowstyle": "-|>", "color": colour, "lw": width})


def _box(axes: Axes, x: float, y: float, text: str, kind: str) -> None:
    axes.add_patch(
        FancyBboxPatch((x - 0.55, y - 0.35), 1.1, 0.7, boxstyle="round,pad=0.05", fc=COLOURS[kind], ec="black")
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=10)


def _point(axes: Axes, x: float, y: float, text: str) -> None:
    axes.add_patch(Circle((x, y), 0.28, fc=COLOURS["point"], ec="black", zorder=3))
    axes.text(x, y, text, ha="center", va="center", zorder=4)


def main() -> None:
    plots.save(block(), PICTURES / "lstm_block.png")
    if len(sys.argv) > 1:
        run = open_run(sys.argv[1])
        network = checkpoint.load_network(run).written()
        codes = torch.from_numpy(coded(SENTENCE, str(checkpoint.facts(run)["vocabulary"])).astype("int64"))
        with torch.no_grad():
            shown = network.recurrent.gates(network.encoded(codes[None]))
            logits, _ = network(codes[None, :-1])
        nats = np.append(np.nan, functional.cross_entropy(logits[0], codes[1:], reduction="none").numpy())
        figure = plots.gates(shown[0], {"what the character cost, nats": nats}, list(SENTENCE))
        plots.save(figure, PICTURES / "lstm_gates_text.png")


if __name__ == "__main__":
    main()
