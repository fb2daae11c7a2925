"""Pictures: memory, gates, forecasts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from matplotlib.figure import Figure

from lstm.cell import Gates

Floats = npt.NDArray[np.floating]
SHOWN_UNITS = 32


def gradients(norms: Mapping[str, Floats]) -> Figure:
    """What is left of a gradient `lag` steps back, relative to the newest step."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, some in norms.items():
        axes.plot(np.maximum(some / some[0], 1e-30), label=name)
    axes.set(yscale="log", ylim=(1e-20, 1e14), xlabel="lag, steps", ylabel="gradient relative to lag 0")
    axes.set_title("What the last output's gradient leaves of an input, before training")
    axes.legend()
    return figure


def learning(curves: Mapping[str, Sequence[tuple[int, float]]], baseline: float, title: str) -> Figure:
    """Squared errors on held-out rows against updates."""
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, curve in curves.items():
        axes.plot(*zip(*curve, strict=True), label=name)
    axes.axhline(baseline, color="gray", linestyle="--", linewidth=0.8, label="always saying 1")
    axes.set(yscale="log", xlabel="updates", ylabel="squared error on held-out rows", title=title)
    axes.legend()
    return figure


def gates(shown: Gates, inputs: Mapping[str, Floats], labels: Sequence[str] = ()) -> Figure:
    """One sequence: inputs above, then each gate and the memory, units by steps.

    Units are sorted by how long they remember. `labels`: of each step, such as its character.
    """
    parts = {name: getattr(shown, name)[0].detach().cpu().numpy().T for name in Gates._fields}
    order = np.argsort(-parts["forget"].mean(1))
    order = order[np.linspace(0, len(order) - 1, min(SHOWN_UNITS, len(order))).astype(int)]
    figure = Figure(figsize=(11, 9), layout="constrained")
    rows = figure.subplots(len(parts) + 1, 1, sharex=True, height_ratios=[1] + [1.4] * len(parts))
    for name, values in inputs.items():
        rows[0].plot(values, label=name, linewidth=1, marker="." if len(labels) else None)
    if inputs:
        rows[0].legend(loc="upper right", fontsize=8)
    meanings = {
        "input": "input gate:\nis written", "forget": "forget gate:\nstays", "candidate": "candidate",
        "output": "output gate:\nshows", "memory": "memory",
    }  # fmt: skip
    for axes, (name, values) in zip(rows[1:], parts.items(), strict=True):
        signed = name in ("candidate", "memory")
        # A few memories that only grow must not leave the others without colour.
        most = float(np.quantile(np.abs(values), 0.95)) if signed else 1.0
        picture = axes.imshow(
            values[order], aspect="auto", interpolation="nearest", vmin=-most if signed else 0, vmax=most,
            cmap="RdBu" if signed else "viridis",
        )  # fmt: skip
        axes.set_ylabel(meanings[name], fontsize=8)
        axes.set_yticks([])
        figure.colorbar(picture, ax=axes)
    if len(labels):
        rows[-1].set_xticks(range(len(labels)), [repr(c)[1:-1] if c != " " else "\u2423" for c in labels], fontsize=7)
    else:
        rows[-1].set_xlabel("step")
    return figure


def fan(
    seen: Mapping[str, tuple[Any, Floats]],
    forecasts: Mapping[str, tuple[Any, Floats]],
    actual: Mapping[str, Floats],
    levels: Sequence[float] = (),
) -> Figure:
    """A series a row: (times, values) before, (times, quantiles [H, Q]) of the forecast, and what came, where known.

    `levels` of the quantiles name the bands. Times may be numbers of steps, with 1 for the first to come.
    """
    figure = Figure(figsize=(10, 3 * len(forecasts)), layout="constrained")
    for axes, name in zip(figure.subplots(len(forecasts), 1, squeeze=False)[:, 0], forecasts, strict=True):
        times, quantiles = forecasts[name]
        middle = list(levels).index(0.5) if len(levels) else quantiles.shape[1] // 2
        axes.plot(*seen[name], color="black", linewidth=1)
        for k in range(quantiles.shape[1] // 2):
            band = f"{levels[k]:g} to {levels[-1 - k]:g}" if len(levels) else None
            axes.fill_between(
                times, quantiles[:, k], quantiles[:, -1 - k], alpha=0.25, color="C0", linewidth=0, label=band
            )
        axes.plot(times, quantiles[:, middle], color="C0", label="forecast: median")
        if name in actual:
            axes.plot(times, actual[name], color="black", linewidth=1, linestyle=":", label="what came")
        numbered = np.issubdtype(np.asarray(seen[name][0]).dtype, np.number)
        axes.set(xlabel="step, 1: the first to come" if numbered else "time", ylabel=name)
        axes.legend(loc="upper left", fontsize=8)
    return figure


def save(figure: Figure, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
