"""The evaluator as a Ray actor: plays the newest weights on request and keeps the best of them."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch

from apex_ray.config.schema import ApexConfig
from apex_ray.evaluate import Evaluator
from apex_ray.learner.checkpoint import Counters, save_best
from apex_ray.nodes.weights_node import fetch
from apex_ray.types import EnvSpec, EvaluationResult


class EvaluatorNode:
    def __init__(self, config: ApexConfig, spec: EnvSpec, run: Path, best: float | None) -> None:
        self._config, self._spec, self._run_folder, self._best = config, spec, run, best
        self._evaluator: Evaluator | None = None

    def evaluate(self, weights: Any, counters: Counters) -> EvaluationResult | None:
        """Evaluate the newest weights; a new best keeps its weights and video. None while there are no weights yet."""
        newest = fetch(ray.get(weights.latest.remote(-1)))
        if newest is None:
            return None
        if self._evaluator is None:
            torch.set_num_threads(1)
            # Evaluation must not slow down what it watches: on a small machine it takes what the others leave.
            os.nice(5)
            self._evaluator = Evaluator(self._config, self._spec, record=self._config.evaluation.video)
        folder = self._run_folder / "videos"
        folder.mkdir(exist_ok=True)
        video = folder / "candidate.mp4" if self._config.evaluation.video else None
        result = self._evaluator.evaluate(newest, counters.frames, self._config.evaluation.episodes, video)
        if self._best is None or result.mean_return > self._best:
            self._best = result.mean_return
            mine = replace(counters, updates=newest.version, best_return=self._best)
            save_best(self._run_folder, mine, newest.params)
            if result.video:
                best = folder / "best.mp4"
                Path(result.video).replace(best)
                result.video = str(best)
        elif result.video:
            Path(result.video).unlink()
            result.video = None
        return result
