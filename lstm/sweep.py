"""Settings drawn by Ray Tune: many runs, each in a process of its own, those that do badly ended early."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from cluster.connect import Embedded, cluster_address, connected
from cluster.data_parallel import IMPORTS, OBJECT_STORE_BYTES
from cluster.workers_config import ADDRESS
from lstm.config import PRESETS
from lstm.tasks.make import make_task, settled
from trainkit.config import to_yaml
from trainkit.drawn import words as drawn_settings
from trainkit.errors import UserError
from trainkit.run_record import record_start
from trainkit.runs import create_run, uri_of_runs
from trainkit.words import Say

COST = "best_loss"  # of the weights that a run keeps


def sweep(preset: str, words: Sequence[str], trials: int, seed: int, say: Say) -> dict[str, Any]:
    """Tell the settings of the lowest validation cost. UserError for every mistake that the user can mend.

    A word KEY=LOW..HIGH is drawn between the two on a logarithmic scale, KEY=A|B|C is one of them; others are fixed.
    Trials are compared after every validation and those that do badly are ended (ASHA, Li et al. 2020).
    """
    drawn_words = [word for word in words if _drawn(word)]
    fixed = [word for word in words if word not in drawn_words]
    space = dict(_space(word) for word in drawn_words)
    if not space:
        raise UserError("command line: nothing to draw; expected KEY=LOW..HIGH or KEY=A|B|C among the settings")
    config = PRESETS.load(preset, [*fixed, *map(_first, drawn_words)]).config
    task = make_task(config)
    for text in task.describe():  # mistakes in the data show before any trial starts
        say(text)
    config = settled(config, task)
    if uri := uri_of_runs(config.runs_dir):
        raise UserError(f"runs_dir = {uri!r}: a sweep is in a folder; expected a path")
    folder = create_run(config.runs_dir, f"{config.name}-sweep", to_yaml(config)).absolute()
    record_start(folder, f"{PRESETS.trainer} sweep")
    here = Path.cwd()
    workers = config.workers

    def trial(drawn: dict[str, Any]) -> None:
        from ray import tune

        from lstm.train import train_here

        os.chdir(here)
        chosen = PRESETS.load(preset, [*fixed, *drawn_settings(drawn)]).config
        run = create_run(folder, chosen.name, to_yaml(chosen))
        train_here(chosen, run, lambda row: tune.report({**row, "run": str(run)}))

    embedded = Embedded(os.cpu_count() or 1, OBJECT_STORE_BYTES, imports=("lstm.train", *IMPORTS, "ray.tune"))
    with connected(cluster_address(workers.address, ADDRESS), embedded, ADDRESS):
        best = _fitted(trial, space, trials, seed, workers.cpus, folder)
    settings = " ".join(f"{key}={value}" for key, value in best["config"].items())
    say(f"best {COST} {best[COST]:.4f} with {settings}, in {best['run']}")
    return best


def _fitted(
    trial: Callable[[dict[str, Any]], None], space: dict[str, Any], trials: int, seed: int, cpus: int, folder: Path
) -> dict[str, Any]:
    from ray import tune
    from ray.tune.schedulers import ASHAScheduler

    tuner = tune.Tuner(
        tune.with_resources(trial, {"cpu": cpus}),
        param_space=space,
        tune_config=tune.TuneConfig(
            metric=COST, mode="min", num_samples=trials,
            scheduler=ASHAScheduler(time_attr="training_iteration", grace_period=2),
            search_alg=tune.search.basic_variant.BasicVariantGenerator(random_state=seed),
        ),
        run_config=tune.RunConfig(storage_path=str(folder), name="tune", verbose=1),
    )  # fmt: skip
    results = tuner.fit()
    if results.num_errors == len(results):
        raise UserError(f"all {trials} trials failed: {str(results[0].error).strip().splitlines()[-1]}")
    result = results.get_best_result()
    assert result.metrics is not None
    return {**result.metrics, "config": dict(result.config or {})}


def _drawn(word: str) -> bool:
    value = word.partition("=")[2]
    return "|" in value or (".." in value and "/" not in value)


def _first(word: str) -> str:
    """The word with the first of its values."""
    key, _, value = word.partition("=")
    return f"{key}={value.split('|')[0].split('..')[0]}"


def _space(word: str) -> tuple[str, Any]:
    """(key, what Ray Tune draws it from)."""
    from ray import tune

    key, _, value = word.partition("=")
    if "|" in value:
        return key, tune.choice(value.split("|"))
    low, _, high = value.partition("..")
    try:
        lowest, highest = float(low), float(high)
    except ValueError:
        raise UserError(f"command line: {word}: expected two numbers, such as 1e-4..1e-2") from None
    if not 0 < lowest < highest:
        raise UserError(f"command line: {word}: expected 0 < LOW < HIGH")
    return key, tune.loguniform(lowest, highest)
