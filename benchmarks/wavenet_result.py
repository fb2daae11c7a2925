"""What a WaveNet run has learned, as files to commit: python -m benchmarks.wavenet_result RUN results/wavenet/NAME

Bits on held-out files beside simpler models, the curve, four seconds of made sound with its picture, the settings.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

from matplotlib.figure import Figure

from benchmarks.machine import write
from cluster.runs import open_run
from wavenet import checkpoint
from wavenet.evaluation import evaluate
from wavenet.speaking import Request, generate_to

SECONDS = 4.0


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    run, folder = open_run(arguments.run), arguments.folder
    folder.mkdir(parents=True, exist_ok=True)
    found = dict(evaluate(run).bits)
    rows = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    write(folder / "result.json", {"bits a sample on held-out files": found, "steps": rows[-1]["step"]})
    _curve(rows, found, folder / "learning_curve.png")
    generate_to(run, Request(SECONDS, None, None, 0.95, None, None, "bfloat16", 1), str(folder / "made.flac"), 0.02)
    settings = (checkpoint.newest(run) / "config.yaml").read_text().splitlines()
    # Where the recordings lay on the machine that learned from them is nobody's business.
    kept = [line.split(":")[0] + ": recordings" if line.strip().startswith("folder:") else line for line in settings]
    (folder / "config.yaml").write_text("\n".join(kept) + "\n")
    shutil.copy(run / "metrics.jsonl", folder / "metrics.jsonl")


def _curve(rows: list[dict[str, float]], found: dict[str, float], path: Path) -> None:
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.subplots()
    for name, label in (("bits", "batches"), ("validation_bits", "held-out files")):
        some = [(r["step"], r[name]) for r in rows if name in r]
        axes.plot(*zip(*some, strict=True), label=label, marker="o" if "validation" in name else None)
    for name, bits in found.items():
        if name != "WaveNet" and not name.startswith("more"):
            axes.axhline(bits, linestyle="--", linewidth=0.8, color="gray")
            axes.annotate(name, (0, bits), fontsize=8, va="bottom")
    axes.set(xlabel="updates", ylabel="bits a sample", title="mu-law codes of human speech")
    axes.legend()
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
