"""Forecasts of made series with the preset `forecast`, beside statsforecast's automatic models on the same origins.

weekly: two to three seasons of 52 weeks, a trend and noise. ar2: a second-order autoregression with a season of twelve
months. constant: 0.001. One network each with defaults, tested on the last 24 steps, from every origin, 12 steps ahead.
The peers run in an environment of their own: sh benchmarks/peers/install.sh forecast, or FORECAST_PEERS=PYTHON.

    python -m benchmarks.lstm_made_series
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.lstm_forecast import PEER_PYTHON
from benchmarks.machine import ROOT, write
from lstm import checkpoint
from lstm.config import PRESETS
from lstm.forecasting import Forecaster, backtest
from lstm.tasks.forecast import Forecast
from lstm.tasks.make import settled
from lstm.train import train_here

OUT = ROOT / "results" / "lstm" / "made_series"
DRAWS = (1, 2, 3)


def weekly(draw: int, steps: int = 150) -> np.ndarray:
    rng, t = np.random.default_rng(draw), np.arange(steps)
    season = 30 * np.sin(2 * np.pi * t / 52 + draw) + 10 * np.cos(4 * np.pi * t / 52)
    values: np.ndarray = 200 + 0.15 * t + season + rng.normal(0, 6, steps)
    return values


def ar2(draw: int, steps: int = 300) -> np.ndarray:
    rng = np.random.default_rng(50 + draw)
    x = rng.normal(0, 1, steps + 100)
    for t in range(2, len(x)):
        x[t] += 1.3 * x[t - 1] - 0.5 * x[t - 2]
    values: np.ndarray = 50 + x[100:] + rng.normal(0, 2, 12)[np.arange(steps) % 12]
    return values


def constant(draw: int, steps: int = 150) -> np.ndarray:
    return np.full(steps, 0.001)


MADE = {"weekly": (weekly, "W", DRAWS), "ar2": (ar2, "MS", DRAWS), "constant": (constant, "D", (1,))}


def ours(values: np.ndarray, frequency: str) -> tuple[Forecast, dict[str, Any]]:
    """The task, and figures of one network on its test."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "made.csv"
        times = pd.date_range("2000-01-02", periods=len(values), freq=frequency)
        pd.DataFrame({"date": times, "y": values}).to_csv(path, index=False)
        config = settled(PRESETS.load("forecast", [f"forecast.path={path}"]).config)
        assert config.forecast is not None
        task = Forecast(config.forecast, config.training.batch, config.seed)
        train_here(config, Path(folder))
        forecaster = Forecaster([checkpoint.load_network(Path(folder), task.shape)], task)
    (score,) = backtest(forecaster, task).values()
    said = forecaster.quantiles(task.test_origins())
    return task, {
        "start": task.start, "MASE": score.mase, "MASE of the start": score.mase_start, "MASE, naive": score.mase_naive,
        "coverage": dict(score.coverage), "widest interval": float((said[..., -1] - said[..., 0]).max()),
    }  # fmt: skip


def peers(given: dict[str, Any]) -> dict[str, Any]:
    """Series -> model -> MASE."""
    python = Path(os.environ.get("FORECAST_PEERS", PEER_PYTHON))
    if not python.exists():
        print("peers are not there: sh benchmarks/peers/install.sh forecast")
        return {}
    with tempfile.TemporaryDirectory() as folder:
        series, answer = Path(folder) / "series.json", Path(folder) / "answer.json"
        series.write_text(json.dumps(given))
        script = ROOT / "benchmarks" / "peers" / "auto_models.py"
        subprocess.run([str(python), str(script), str(series), str(answer)], check=True, cwd=folder)
        answered = json.loads(answer.read_text())
    return {name: {m: _mase(given[name], a["said"]) for m, a in models.items()} for name, models in answered.items()}


def _mase(series: dict[str, Any], said: list[list[float]]) -> float:
    values, season, h = np.array(series["values"]), series["season"], series["horizon"]
    before = values[: series["origins"][0]]
    actual = np.stack([values[o : o + h] for o in series["origins"]])
    return float(np.abs(actual - np.array(said)).mean() / np.abs(before[season:] - before[:-season]).mean())


def main() -> None:
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    figures, given = dict[str, dict[str, Any]](), dict[str, Any]()
    for kind, (made, frequency, draws) in MADE.items():
        for draw in draws:
            name, values = f"{kind} {draw}", made(draw)
            task, figures[name] = ours(values, frequency)
            print(name, json.dumps(figures[name]), flush=True)
            if kind != "constant":
                origins = [o for _, o in task.test_origins()]
                given[name] = {"values": values.tolist(), "season": task.season, "horizon": 12, "origins": origins}
    for name, found in peers(given).items():
        figures[name]["MASE of peers"] = found
        print(name, json.dumps(found))
    write(OUT / "result.json", figures)


if __name__ == "__main__":
    main()
