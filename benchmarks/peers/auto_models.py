"""Forecasts of statsforecast's automatic models for series in a JSON file: auto_models.py SERIES ANSWER

A model is chosen and fitted anew at every origin, from all values before it.
"""

import json
import sys
import time
import warnings
from pathlib import Path

import numpy as np
from statsforecast.models import AutoARIMA, AutoTheta

warnings.filterwarnings("ignore")


def main():
    answer = {}
    for name, series in json.loads(Path(sys.argv[1]).read_text()).items():
        values = np.array(series["values"])
        for model in (AutoTheta, AutoARIMA):
            if model is AutoARIMA and series["season"] > 12:
                continue  # minutes an origin
            started = time.monotonic()
            said = [
                model(season_length=series["season"]).forecast(y=values[:o], h=series["horizon"])["mean"].tolist()
                for o in series["origins"]
            ]
            answer.setdefault(name, {})[model.__name__] = {
                "said": said,
                "seconds": round(time.monotonic() - started, 1),
            }
    Path(sys.argv[2]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main()
