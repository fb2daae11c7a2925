"""Medians of neuralforecast's LSTM and darts' RNNModel for the splits in a JSON file: forecast.py SPLITS ANSWER

Both with 64 units, the context as their input length, learned from all that comes before the test, their own defaults
for the rest (neuralforecast: 1,000 updates, robust scaling; darts: 100 epochs, months given as covariates).
"""

import json
import logging
import sys
import time
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import torch

torch.set_num_threads(1)
warnings.filterwarnings("ignore")
for name in ("pytorch_lightning", "lightning.pytorch", "lightning_fabric", "darts"):
    logging.getLogger(name).setLevel(logging.ERROR)
QUIET = {"accelerator": "cpu", "enable_progress_bar": False, "enable_model_summary": False, "logger": False}


def neuralforecast_lstm(split):
    from neuralforecast import NeuralForecast
    from neuralforecast.losses.pytorch import MQLoss
    from neuralforecast.models import LSTM

    frame = pd.concat(
        pd.DataFrame({"unique_id": name, "ds": pd.to_datetime(s["times"]), "y": s["values"]})
        for name, s in split["series"].items()
    )
    h = split["horizon"]
    model = LSTM(
        h=h, input_size=split["context"], encoder_hidden_size=64, loss=MQLoss(quantiles=split["quantiles"]),
        random_seed=1, enable_checkpointing=False, **QUIET,
    )  # fmt: skip
    forecaster = NeuralForecast(models=[model], freq=split["frequency"])
    found = forecaster.cross_validation(frame, n_windows=None, test_size=split["test"], step_size=1)
    median = next(c for c in found.columns if c.startswith("LSTM") and ("median" in c or "ql0.5" in c))
    medians = {}
    for name, mine in found.groupby("unique_id"):
        by = mine.sort_values(["cutoff", "ds"]).groupby("cutoff")[median]
        medians[name] = [list(map(float, values)) for _, values in by]
    return medians


def darts_rnn(split):
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from darts.models import RNNModel

    h, test = split["horizon"], split["test"]
    whole = [
        TimeSeries.from_times_and_values(
            pd.DatetimeIndex(s["times"]), np.array(s["values"], np.float32), freq=split["frequency"]
        )
        for s in split["series"].values()
    ]
    scaler = Scaler()
    scaler.fit([s[:-test] for s in whole])
    scaled = scaler.transform(whole)
    months = {} if split["frequency"].startswith("Y") else {"add_encoders": {"cyclic": {"future": ["month"]}}}
    model = RNNModel(
        model="LSTM", input_chunk_length=split["context"], training_length=split["context"] + h, hidden_dim=64,
        n_epochs=100, random_state=1, pl_trainer_kwargs={**QUIET, "enable_checkpointing": False}, **months,
    )  # fmt: skip
    model.fit([s[:-test] for s in scaled])
    medians = {}
    for name, series in zip(split["series"], scaled, strict=True):
        found = model.historical_forecasts(
            series, start=len(series) - test, start_format="position", forecast_horizon=h, stride=1, retrain=False,
            last_points_only=False,
        )  # fmt: skip
        index = list(split["series"]).index(name)
        restored = [scaler.inverse_transform([f] * len(whole))[index] for f in found]
        medians[name] = [list(map(float, f.values()[:, 0])) for f in restored]
    return medians


def main():
    splits, answer = json.loads(Path(sys.argv[1]).read_text()), {}
    for preset, split in splits.items():
        answer[preset] = {}
        for peer, run in (("neuralforecast LSTM", neuralforecast_lstm), ("darts RNNModel", darts_rnn)):
            started = time.monotonic()
            try:
                medians = run(split)
                answer[preset][peer] = {"medians": medians, "seconds": round(time.monotonic() - started, 1)}
            except Exception as error:  # whatever a peer raises is its result
                answer[preset][peer] = f"did not run: {type(error).__name__}: {str(error).splitlines()[0]}"
            print(preset, peer, round(time.monotonic() - started, 1), "s", file=sys.stderr, flush=True)
    Path(sys.argv[2]).write_text(json.dumps(answer))


main()
