"""`apex-lstm sweep` by real Ray Tune: each trial is a run of its own, and the best one's settings are told."""

import json
import re
from pathlib import Path

import pytest

from lstm.cli import main

WORDS = (
    "adding.steps=10", "model.hidden=8", "training.batch=8", "training.steps=60", "training.validate_every_steps=20",
    "adding.validation_rows=64",
)  # fmt: skip


@pytest.mark.timeout(240)
def test_the_rate_that_learns_is_told_with_its_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["sweep", "adding", *WORDS, "training.learning_rate=1e-9|1e-2", "--trials", "4"]) == 0
    found = re.search(r"best best_loss ([\d.]+) with training.learning_rate=(\S+), in (\S+)", capsys.readouterr().out)
    assert found and found[2] == "1e-2"
    runs = {path.parent: path.read_text() for path in (tmp_path / "runs").glob("adding-sweep-*/adding-*/config.yaml")}
    assert len(runs) == 4 and {"1.0e-09" in text or "1e-09" in text for text in runs.values()} == {True, False}
    rows = [json.loads(text) for text in (Path(found[3]) / "metrics.jsonl").read_text().splitlines()]
    assert float(found[1]) == pytest.approx(min(row["best_loss"] for row in rows if "best_loss" in row), abs=1e-4)
