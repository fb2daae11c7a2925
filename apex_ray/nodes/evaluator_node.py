"""The evaluator as a Ray actor: plays the newest weights on request and keeps the best of them."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import ray

from apex_ray.config.schema import ApexConfig
from apex_ray.evaluation import BestKeeper
from apex_ray.learner.checkpoint import Counters
from apex_ray.nodes.lost import ending_with_its_processes
from apex_ray.nodes.weights_node import fetch
from apex_ray.process import prepare_process
from apex_ray.types import EnvSpec, EvaluationResult


class EvaluatorNode:
    def __init__(self, config: ApexConfig, spec: EnvSpec, run: Path, best: float | None) -> None:
        self._make = partial(BestKeeper, config, spec, run, best)
        self._keeper: BestKeeper | None = None

    def evaluate(self, weights: Any, counters: Counters) -> EvaluationResult | None:
        """Evaluate the newest weights. None while there are none yet."""
        newest = fetch(ray.get(weights.latest.remote(-1)))
        if newest is None:
            return None
        if self._keeper is None:  # not in __init__, whose errors Ray would wrap as a lost process
            prepare_process(threads=1)
            self._keeper = self._make()
        with ending_with_its_processes():
            return self._keeper.evaluate(newest, counters)
