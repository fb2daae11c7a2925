"""Forecasts of the series in lstm/example beside neuralforecast's LSTM and darts' RNNModel, on the same splits.

Rolling-origin backtest: each is trained once on what comes before the test, then forecasts from every origin in it with
all values before the origin known. The peers run in an environment of their own: sh benchmarks/peers/install.sh
forecast. One thread each; what was missing in CO2 is interpolated for them. Where ours learns logarithms the peers are
given both the values and their logarithms, and the better of the two counts. Errors are in the series' own units.

    python -m benchmarks.lstm_forecast [--peers FILE]   # FILE keeps what the peers said, for the next time
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.machine import ROOT, write
from lstm import checkpoint, plots
from lstm.config import PRESETS, LstmConfig
from lstm.forecasting import Forecaster, backtest
from lstm.tasks.forecast import Forecast
from lstm.train import train_here

NAMES = ("co2", "el_nino", "us_economy", "sunspots")
OUT = ROOT / "results" / "lstm" / "forecast"
SEEDS = 5  # of our networks, whose mean is measured; each peer trains one
PEER_PYTHON = ROOT / "benchmarks" / "peers" / ".venv-forecast" / "bin" / "python"
OURS, NAIVE, LOGARITHMS = "apex-lstm", "seasonal naive", ", logarithms"


def ours(preset: str) -> tuple[Forecast, Forecaster, float]:
    """The mean of networks trained with the first SEEDS seeds, and the seconds that all of them took."""
    started, networks = time.monotonic(), []
    for seed in range(1, SEEDS + 1):
        config = PRESETS.load(preset, [f"seed={seed}"]).config
        task = task_of(config)
        with tempfile.TemporaryDirectory() as folder:
            train_here(config, Path(folder))
            networks.append(checkpoint.load_network(Path(folder), task.shape))
    return task, Forecaster(networks, task), time.monotonic() - started


def task_of(config: LstmConfig) -> Forecast:
    assert config.forecast is not None
    return Forecast(config.forecast, config.training.batch, config.seed)


def split(task: Forecast, restored: Callable[[np.ndarray], np.ndarray] = np.asarray) -> dict[str, Any]:
    """What the peers get; `restored` makes it of our values, which may be logarithms."""
    c = task.config
    return {
        "frequency": task.table.frequency, "horizon": c.horizon, "context": c.context, "test": c.test,
        "validation": c.validation, "quantiles": list(c.quantiles),
        "series": {
            s.name: {
                "times": [str(t) for t in s.times[: s.known]],
                "values": _interpolated(restored(s.values[: s.known])).tolist(),
            }
            for s in task.table.series
        },
    }  # fmt: skip


def _interpolated(values: np.ndarray) -> np.ndarray:
    known = np.isfinite(values)
    return np.asarray(np.interp(np.arange(len(values)), np.flatnonzero(known), values[known]))


def splits_of(preset: str, task: Forecast) -> dict[str, dict[str, Any]]:
    """The values and, where ours learns logarithms, those too, as another preset."""
    if task.config.transform != "log":
        return {preset: split(task)}
    return {preset: split(task, np.exp), preset + LOGARITHMS: split(task)}


def mase_of(task: Forecast, said: dict[str, list[list[float]]], logarithms: bool) -> dict[str, float]:
    """Of medians by series and origin, on the windows and with the scale of our own backtest."""
    c, found = task.config, {}
    for series in task.table.series:
        origins = range(series.known - c.test, series.known - c.horizon + 1)
        values = np.exp(series.values) if c.transform == "log" else series.values
        actual = np.stack([values[o : o + c.horizon] for o in origins])
        before = values[: series.known - c.test]
        scale = np.nanmean(np.abs(before[task.season :] - before[: -task.season]))
        medians = np.array(said[series.name])
        found[series.name] = float(np.nanmean(np.abs(actual - (np.exp(medians) if logarithms else medians))) / scale)
    return found


def peers(splits: dict[str, Any], kept: Path | None) -> dict[str, Any]:
    """Preset -> peer -> series -> origins -> medians; a reason (text) in place of what could not run."""
    if kept and kept.exists():
        known: dict[str, Any] = json.loads(kept.read_text())
        if known.keys() != splits.keys():
            raise SystemExit(f"{kept} is about {', '.join(known)}; expected {', '.join(splits)}: remove it")
        return known
    python = Path(os.environ.get("FORECAST_PEERS", PEER_PYTHON))
    if not python.exists():
        print("peers are not there: sh benchmarks/peers/install.sh forecast")
        return {preset: {} for preset in splits}
    with tempfile.TemporaryDirectory() as folder:
        given, answer = Path(folder) / "splits.json", Path(folder) / "answer.json"
        given.write_text(json.dumps(splits))
        script = ROOT / "benchmarks" / "peers" / "forecast.py"
        subprocess.run([str(python), str(script), str(given), str(answer)], check=True, cwd=folder)
        text = answer.read_text()
    if kept:
        kept.write_text(text)
    answered: dict[str, Any] = json.loads(text)
    return answered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--peers", type=Path, metavar="FILE")
    parser.add_argument("--only-peers", action="store_true", help="run them, and nothing of ours")
    args = parser.parse_args()
    torch.set_num_threads(1)
    OUT.mkdir(parents=True, exist_ok=True)
    if args.only_peers:
        given = [splits_of(preset, task_of(PRESETS.load(preset).config)) for preset in NAMES]
        peers({name: some for splits in given for name, some in splits.items()}, args.peers)
        return
    tasks, figures, splits = {}, dict[str, Any](), dict[str, dict[str, Any]]()
    for preset in NAMES:
        task, forecaster, seconds = ours(preset)
        scores = backtest(forecaster, task)
        tasks[preset] = task
        splits |= splits_of(preset, task)
        figures[preset] = {
            "MASE": {
                OURS: {name: score.mase for name, score in scores.items()},
                NAIVE: {name: score.mase_naive for name, score in scores.items()},
            },
            "coverage": {
                name: float(np.mean([score.coverage[name] for score in scores.values()]))
                for name in next(iter(scores.values())).coverage
            },
            "windows": next(iter(scores.values())).windows,
            "seconds": {OURS: round(seconds, 1)},
        }
        print(preset, json.dumps(figures[preset]), flush=True)
        picture(task, forecaster, OUT / f"{preset}.png")
    for name, answered in peers(splits, args.peers).items():
        preset, logarithms, _ = name.partition(LOGARITHMS)
        for peer, said in answered.items():
            label = f"{peer}{logarithms}"
            if isinstance(said, str):
                figures[preset]["MASE"][label] = said
                continue
            figures[preset]["MASE"][label] = mase_of(tasks[preset], said["medians"], bool(logarithms))
            figures[preset]["seconds"][label] = said["seconds"]
    for preset, found in figures.items():
        means = {
            name: float(np.mean(list(by.values()))) for name, by in found["MASE"].items() if not isinstance(by, str)
        }
        found["mean MASE"] = means
        found["ratio to the best peer"] = means[OURS] / min(
            (v for name, v in means.items() if name not in (OURS, NAIVE)), default=float("nan")
        )
        print(f"{preset:<12}" + "".join(f"  {name} {value:.3f}" for name, value in means.items()), found["coverage"])
    write(OUT / "result.json", figures)


def picture(task: Forecast, forecaster: Forecaster, path: Path) -> None:
    """Forecasts from the first origin of the test beside what came."""
    c = task.config
    seen, said, actual = {}, {}, {}
    for i, s in enumerate(task.table.series):
        o = s.known - c.test
        times = s.times[o : o + c.horizon]
        seen[s.name] = (s.times[o - c.context : o], s.values[o - c.context : o])
        said[s.name], actual[s.name] = (times, forecaster.quantiles([(i, o)])[0]), s.values[o : o + c.horizon]
    plots.save(plots.fan(seen, said, actual, levels=c.quantiles), path)


if __name__ == "__main__":
    main()
