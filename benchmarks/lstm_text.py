"""A character model of Shakespeare after the same wall time as a plain torch script of the same size, on two cores.

python -m benchmarks.lstm_text FILE ours|peer [SECONDS]: FILE from benchmarks.shakespeare; results/lstm/text keeps both.
Ours: the preset `text` by Ray Train with one worker of two cores, without the time that Ray takes to start. The peer:
benchmarks/peers/char_lstm.py, torch with two threads. Of rates 2e-3, 4e-3 and 8e-3 the best after a minute is used for
each (the peer's 1.74, 1.62, 1.62 nats).
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.machine import ROOT, write
from lstm.checkpoint import load_network
from lstm.config import PRESETS
from lstm.learning import held_out_cost, one_worker
from lstm.sampling import sample_to
from lstm.tasks.make import make_task
from lstm.train import train
from trainkit.checkpoints import newest

OUT = ROOT / "results" / "lstm" / "text"


def main() -> None:
    file, who = Path(sys.argv[1]).absolute(), sys.argv[2]
    seconds = float(sys.argv[3]) if len(sys.argv) > 3 else 180.0
    OUT.mkdir(parents=True, exist_ok=True)
    if who == "peer":
        script = ROOT / "benchmarks" / "peers" / "char_lstm.py"
        command = [sys.executable, str(script), str(file), str(seconds), "2"]
        done = subprocess.run(
            command, capture_output=True, text=True, check=True, env=os.environ | {"OMP_NUM_THREADS": "2"}
        )
        figures = json.loads(done.stdout.splitlines()[-1])
    else:
        figures = ours(file, seconds)
    figures["bits"] = figures["nats"] / math.log(2)
    print(figures)
    write(OUT / f"{who}.json", {"held-out characters": figures})


def ours(file: Path, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as folder:
        overrides = [
            f"text.path={file}", f"runs_dir={folder}", f"training.stop_after_s={seconds}", "training.steps=100000",
            "training.validate_every_steps=100000", "training.report_every_steps=200", "workers.cpus=2",
        ]  # fmt: skip
        run = train(PRESETS.load("text", overrides).config, say=lambda text: print(text, flush=True))
        (OUT / "metrics.jsonl").write_text((run / "metrics.jsonl").read_text())
        rows = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
        for temperature in (0.5, 0.8):
            sample_to(run, 1_500, "\n", (temperature, None, 1), str(OUT / f"sample_{temperature}.txt"))
        lines = (newest(run) / "config.yaml").read_text().splitlines()
        hidden = ("  path:", "runs_dir:")  # where things lay on this machine is nobody's business
        kept = [f"{line.split(':')[0]}: shakespeare.txt" if line.startswith(hidden) else line for line in lines]
        (OUT / "config.yaml").write_text("\n".join(kept) + "\n")
        config = PRESETS.load(newest(run) / "config.yaml").config
        task = make_task(config)
        nats = held_out_cost(task, load_network(run), task.validation(), one_worker)
        return {"nats": nats, "updates": rows[-1]["step"], "seconds": seconds}


if __name__ == "__main__":
    main()
