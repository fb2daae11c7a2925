"""What a WaveNet run has learned, as files to commit: python -m benchmarks.wavenet_result RUN results/wavenet/NAME

Bits on held-out files beside simpler models, the curve, the settings; with --against, a run of the same files with
other conditions or none, both at the step of --step; four seconds of made sound and its picture where nothing has to be
said.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from benchmarks.machine import write
from trainkit.checkpoints import newest
from trainkit.checkpoints import step as step_of
from trainkit.errors import UserError
from trainkit.runs import open_run
from wavenet.config import PRESETS
from wavenet.evaluation import compare, evaluate
from wavenet.generating import Request, generate_to
from wavenet.voice import Draws

SECONDS = 4.0
Rows = list[dict[str, float]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--against")
    parser.add_argument("--step", type=int)
    arguments = parser.parse_args()
    run, folder, label = open_run(arguments.run), arguments.folder, ""
    folder.mkdir(parents=True, exist_ok=True)
    rows, other_rows = _rows(run), None
    figures: dict[str, Any] = {}
    if arguments.against:
        other = open_run(arguments.against)
        other_rows, label = _rows(other), _label(other)
        with tempfile.TemporaryDirectory() as place:
            one, two = (at_step(r, arguments.step, Path(place) / str(i)) for i, r in enumerate((run, other)))
            one_alone, two_alone = evaluate(one, alone=True), evaluate(two, alone=True)
            figures[f"this run at step {arguments.step}"] = one_alone.bits["WaveNet"]
            figures[f"{label}, both at step {arguments.step}"] = compare(one_alone, two_alone)
            print(json.dumps(figures, indent=1), flush=True)
        shutil.copy(other / "metrics.jsonl", folder / f"{label}.jsonl")
    found = evaluate(run)
    figures |= {"bits a sample on held-out files": found.bits, "steps": rows[-1]["step"]}
    write(folder / "result.json", figures)
    print(json.dumps(figures, indent=1))
    data = PRESETS.load_run(run).data
    title = f"mu-law codes of {data.sample_rate / 1000:g} kHz sound"
    _curve(rows, other_rows, label, found.bits, title, folder / "learning_curve.png")
    if data.conditions == "none":
        draws = Draws(temperature=0.95, seed=1)
        generate_to(run, Request(seconds=SECONDS), draws, str(folder / "made.flac"))
    settings = (newest(run) / "config.yaml").read_text().splitlines()
    # Where the recordings lay on the machine that learned from them is nobody's business.
    hidden = {"folder:": "recordings", "runs_dir:": "runs"}
    kept = [
        next((f"{line.split(':')[0]}: {v}" for k, v in hidden.items() if line.strip().startswith(k)), line)
        for line in settings
    ]
    (folder / "config.yaml").write_text("\n".join(kept) + "\n")
    shutil.copy(run / "metrics.jsonl", folder / "metrics.jsonl")


def at_step(run: Path, step: int, place: Path) -> Path:
    """A copy of a run whose newest checkpoint is that of `step`. UserError when it is not kept."""
    for folder in filter(Path.is_dir, run.glob("checkpoint_*")):
        if step_of(folder) == step:
            shutil.copytree(folder, place / folder.name)
            shutil.copy(run / "config.yaml", place / "config.yaml")
            return place
    raise UserError(f"run {str(run)!r} has no checkpoint of step {step}")


def _rows(run: Path) -> Rows:
    return [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]


def _label(run: Path) -> str:
    conditions = PRESETS.load_run(run).data.conditions
    return "unconditioned" if conditions == "none" else conditions


def _curve(rows: Rows, other: Rows | None, label_of_other: str, found: Any, title: str, path: Path) -> None:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    some = [(r["step"], r["bits"]) for r in rows if "bits" in r]
    axes.plot(*zip(*some, strict=True), label="batches", alpha=0.5)
    for label, of in (("held-out files", rows), (f"held-out files, {label_of_other}", other)):
        if of is not None:
            some = [(r["step"], r["validation_bits"]) for r in of if "validation_bits" in r]
            axes.plot(*zip(*some, strict=True), label=label, marker="o")
    for name, bits in found.items():
        if name != "WaveNet" and not name.startswith(("more", "with")):
            axes.axhline(bits, linestyle="--", linewidth=0.8, color="gray")
            axes.annotate(name, (0, bits), fontsize=8, va="bottom")
    axes.set(xlabel="updates", ylabel="bits a sample", title=title)
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
