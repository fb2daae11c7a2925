"""The pictures of docs/wavenet.md: python -m benchmarks.wavenet_pictures

The receptive field is what the network itself says by its gradient, not a drawing of what it should be.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from wavenet.config import ModelConfig
from wavenet.model import WaveNet

FOLDER = Path(__file__).parents[1] / "docs" / "pictures"
DRAWN = ModelConfig(cycles=1, layers_per_cycle=4, residual=8, skip=8, head=8, input_kernel=1, output="logistics")


def dilations() -> Figure:
    """Every connection that the last output has, layer by layer, and its gradient by sample below."""
    samples = DRAWN.receptive_field + 6
    figure = Figure(figsize=(10, 5.5), layout="constrained")
    net, gradient = figure.subplots(2, 1, height_ratios=[3, 1], sharex=True)
    layers = [0, *DRAWN.dilations]  # the input convolution, then the blocks
    rows = len(layers) + 1
    for row in range(rows):
        net.scatter(np.arange(samples), np.full(samples, row), s=18, color="lightgray", zorder=2)
    wanted = {samples - 1}
    for row in range(rows - 1, 0, -1):
        dilation = layers[row - 1]
        # The input convolution of one tap looks at the sample before.
        taps = (1,) if row == 1 else (0, dilation)
        below = {t - tap for t in wanted for tap in taps}
        for t in wanted:
            net.scatter([t], [row], s=26, color="tab:blue", zorder=3)
            for tap in taps:
                net.plot([t - tap, t], [row - 1, row], color="tab:blue", linewidth=0.9)
        wanted = below
    net.scatter(sorted(wanted), np.zeros(len(wanted)), s=26, color="tab:orange", zorder=3)
    names = ["samples", "input convolution", *(f"dilation {d}" for d in DRAWN.dilations)]
    net.set_yticks(range(rows), names)
    net.set_title(f"Dilations double the reach: {DRAWN.receptive_field} samples with {len(DRAWN.dilations)} layers")
    gradient.bar(np.arange(samples), _influence(samples), color="tab:orange")
    gradient.set(xlabel="sample", ylabel="|d output / d sample|", yscale="log")
    return figure


def _influence(samples: int) -> Any:
    """Of each sample on the last output, by autograd."""
    torch.manual_seed(0)
    sound = (torch.rand(1, samples) - 0.5).requires_grad_()
    WaveNet(DRAWN)(sound)[0, -1].sum().backward()
    assert sound.grad is not None
    found = sound.grad[0].abs().numpy()
    assert (found > 0).sum() == DRAWN.receptive_field, "the picture would not show what is computed"
    return found


def data_flow() -> Figure:
    """The network as boxes and arrows (WaveNet paper, figure 4)."""
    figure = Figure(figsize=(11, 6), layout="constrained")
    axes = figure.subplots()
    axes.set(xlim=(0, 22), ylim=(0, 12.4))
    axes.axis("off")

    def box(x: float, y: float, text: str, colour: str = "whitesmoke", width: float = 2.6, height: float = 1.0) -> None:
        from matplotlib.patches import FancyBboxPatch

        place = (x - width / 2, y - height / 2)
        axes.add_patch(FancyBboxPatch(place, width, height, boxstyle="round,pad=0.08", facecolor=colour, zorder=2))
        axes.text(x, y, text, ha="center", va="center", fontsize=9, zorder=3)

    def arrow(*points: tuple[float, float], text: str = "") -> None:
        for start, end in pairwise(points[:-1]):
            axes.plot(*zip(start, end, strict=True), color="black", linewidth=1.1, zorder=1)
        axes.annotate("", points[-1], points[-2], arrowprops={"arrowstyle": "->", "shrinkA": 0}, zorder=1)
        if text:
            axes.text(points[0][0] + 0.15, (points[0][1] + points[1][1]) / 2, text, fontsize=8, va="center")

    box(2, 0.8, "sound so far")
    box(2, 2.6, "mu-law codes")
    box(2, 4.4, "causal convolution", "lightblue")
    arrow((2, 1.4), (2, 2.0))
    arrow((2, 3.2), (2, 3.8))
    # One block
    from matplotlib.patches import Rectangle

    axes.add_patch(Rectangle((4.3, 2.0), 10.4, 8.0, fill=False, linestyle="--", edgecolor="gray"))
    axes.text(
        14.5, 2.25, "block, 30 of them: dilations 1, 2, 4 ... 512, three times", fontsize=9, color="gray", ha="right"
    )
    box(6.6, 4.4, "dilated causal\nconvolution", "lightblue")
    arrow((3.4, 4.4), (5.2, 4.4))
    box(10, 5.6, "tanh", "lightyellow", 1.6)
    box(10, 3.4, "sigmoid", "lightyellow", 1.6)
    arrow((8.0, 4.6), (8.6, 4.6), (8.6, 5.6), (9.1, 5.6), text="")
    arrow((8.0, 4.2), (8.6, 4.2), (8.6, 3.4), (9.1, 3.4))
    axes.text(8.25, 5.95, "filter", fontsize=8)
    axes.text(8.25, 2.95, "gate", fontsize=8)
    box(12, 4.5, "x", "lightyellow", 0.7, 0.8)
    arrow((10.9, 5.6), (12, 5.6), (12, 5.05))
    arrow((10.9, 3.4), (12, 3.4), (12, 3.95))
    box(13.4, 7.0, "1x1", "lightblue", 1.0, 0.8)
    arrow((12.45, 4.5), (13.4, 4.5), (13.4, 6.5))
    box(8.6, 8.6, "+", "lightyellow", 0.7, 0.8)
    arrow((13.4, 7.5), (13.4, 8.6), (9.1, 8.6))
    axes.text(10.4, 8.8, "residual", fontsize=8)
    arrow((4.7, 4.4), (4.7, 8.6), (8.1, 8.6))
    arrow((8.6, 9.1), (8.6, 10.6))
    axes.text(8.6, 10.8, "x of the next block", ha="center", fontsize=8)
    box(6.6, 0.8, "speaker: a learned vector", "honeydew", 3.6)
    box(11.4, 0.8, "frames (phones, mel) ->\ntransposed convolutions", "honeydew", 3.9)
    arrow((6.6, 1.4), (6.6, 3.8))
    arrow((11.4, 1.4), (11.4, 1.75), (7.4, 1.75), (7.4, 3.8))
    # Output
    box(17.4, 7.0, "sum of skips", "lightyellow")
    arrow((14.0, 7.0), (16.0, 7.0))
    axes.text(14.9, 7.2, "skip", fontsize=8)
    for y, text, colour in ((5.2, "ReLU, 1x1", "lightblue"), (3.4, "ReLU, 1x1", "lightblue")):
        box(17.4, y, text, colour)
        arrow((17.4, y + 1.2), (17.4, y + 0.6))
    box(17.4, 1.4, "256 probabilities, or a\nmixture of logistics", "mistyrose", 4.0)
    arrow((17.4, 2.8), (17.4, 2.0))
    arrow((19.5, 1.4), (20.8, 1.4), (20.8, 0.1), (2, 0.1), (2, 0.2))
    axes.text(20.7, 1.7, "drawn:\nthe next\nsample", fontsize=8, ha="center")
    return figure


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name, figure in (("wavenet_dilations", dilations()), ("wavenet_data_flow", data_flow())):
        figure.savefig(FOLDER / f"{name}.png", dpi=110)
        print(FOLDER / f"{name}.png")


if __name__ == "__main__":
    main()
