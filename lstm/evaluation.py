"""What a run's network is worth on data it has not seen, beside simpler models of the same data."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lstm import checkpoint
from lstm.forecasting import Score, backtest, loaded
from lstm.learning import held_out_cost, one_worker
from lstm.speech_scores import score_lines, speech_scores
from lstm.tasks.base import Batch
from lstm.tasks.codes import NextCode
from lstm.tasks.forecast import Forecast, mean_known
from lstm.tasks.make import make_task
from lstm.tasks.speech import Speech
from trainkit.errors import UserError
from trainkit.words import Say, quiet

LEAST_OF_INTERVAL = 0.1  # by which coverage may be below what the interval says, before there is a warning


def evaluate(run: Path, others: Sequence[Path] = (), say: Say = quiet) -> Iterator[str]:
    """Lines of a table: the backtest of forecasts, nats and bits of text and sound, the error of the memory tests, of
    speech those of frames and durations.

    Forecasts may be the mean of several runs' (`others`). `say` gets lines on how far it is, often.
    """
    say("reading the data")
    task = make_task(checkpoint.load_config_of(run), checkpoint.facts(run), say)
    if others and not isinstance(task, Forecast):
        raise UserError(f"--also: run {str(run)!r} did not learn to forecast; only forecasts are averaged")
    if isinstance(task, Speech):
        yield from score_lines(speech_scores(checkpoint.load_acoustic(run, task.shape), task, say))
        return
    network = checkpoint.load_network(run, task.shape)
    if isinstance(task, Forecast):
        if not task.config.test:
            raise UserError("forecast.test = 0: nothing was kept for a backtest")
        scores = backtest(loaded([run, *others], task, say), task, say=say)
        intervals = [*next(iter(scores.values())).coverage]
        yield f"{'series':<24}{'windows':>8}{'MASE':>8}{'start':>8}{'naive':>8}" + "".join(
            f"{'in ' + i:>9}" for i in intervals
        )
        for name, score in scores.items():
            inside = "".join(f"{score.coverage[i]:>9.1%}" for i in intervals)
            errors = f"{score.mase:>8.3f}{score.mase_start:>8.3f}{score.mase_naive:>8.3f}"
            yield f"{name:<24}{score.windows:>8}{errors}{inside}"
        yield from too_narrow(scores)
        mase, start = (mean_known(np.array([getattr(s, n) for s in scores.values()])) for n in ("mase", "mase_start"))
        if mase >= start:
            yield f"the network is not better than its start (MASE {mase:.2f} and {start:.2f})"
        return
    found = {"LSTM": held_out_cost(task, network, _counted(task.validation(), say), one_worker)}
    if not isinstance(task, NextCode):
        yield f"{task.unit} {found['LSTM']:.5f}"
        return
    say("simpler models of the same data")
    for name, nats in {**found, **task.simpler()}.items():
        yield f"{name:<14}{nats:8.4f} {task.unit} {nats / math.log(2):8.4f} bits"


def too_narrow(scores: Mapping[str, Score]) -> Iterator[str]:
    """Warnings of intervals that held much less of the test than they say, over all series."""
    for interval in next(iter(scores.values())).coverage:
        held = [score.coverage[interval] for score in scores.values() if math.isfinite(score.coverage[interval])]
        if held and (mean := sum(held) / len(held)) < float(interval.rstrip("%")) / 100 - LEAST_OF_INTERVAL:
            yield (
                f"warning: the {interval} interval held {mean:.1%} of the test's values: take it for narrower than it "
                "says; a longer forecast.validation calibrates it on more"
            )


def _counted(batches: Iterator[Batch], say: Say) -> Iterator[Batch]:
    for number, batch in enumerate(batches, 1):
        say(f"held-out batch {number:,}")
        yield batch
