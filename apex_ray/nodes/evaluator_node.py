"""The evaluator as a Ray actor: plays the newest weights on request and keeps the best of them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import ray

from apex_ray.config.schema import ApexConfig
from apex_ray.envs import watchdog
from apex_ray.envs.own_code import unpack
from apex_ray.evaluation import BestKeeper
from apex_ray.nodes.keeping import Keeping
from apex_ray.nodes.living import note_work
from apex_ray.nodes.lost import ending_with_its_processes
from apex_ray.nodes.weights_node import fetch
from apex_ray.process import prepare_process
from apex_ray.run_files import EVALUATOR, RunPlace
from apex_ray.types import Counters, EnvSpec, EvaluationResult


class EvaluatorNode(Keeping):
    """Repeats an evaluation that it was lost in."""

    def __init__(
        self, config: ApexConfig, spec: EnvSpec, place: RunPlace, metrics: Callable[[], Any] | None = None
    ) -> None:
        self._config, self._spec = config, spec
        self.keep(place, EVALUATOR, metrics)
        self._keeper: BestKeeper | None = None
        self._abandoned = 0  # the number of the last evaluation that nobody waits for

    @ray.method(concurrency_group="life")
    def abandon(self, number: int) -> None:
        """Have evaluation `number` end soon."""
        self._abandoned = number

    def evaluate(self, weights: Any, metrics: Any, counters: Counters, number: int) -> EvaluationResult | None:
        """Evaluate the newest weights; lines of progress go to `metrics`. None while there are no weights yet, and
        where it was abandoned before it had all its episodes.
        """
        newest = fetch(ray.get(weights.latest.remote(-1)))
        if newest is None:
            return None

        def say(text: str) -> Any:
            return metrics.say.remote(f"evaluator: {text}")

        with ending_with_its_processes(say):
            if self._keeper is None:  # not in __init__, whose errors Ray would wrap as a lost process
                prepare_process(threads=1)
                watchdog.say_with(say)
                unpack(self._spec.env_id, self._spec.own_code)
                self._keeper = BestKeeper(self._config, self._spec, self.folder())
            abandoned = partial(self._is_abandoned, number)
            result = self._keeper.evaluate(newest, counters, metrics.say.remote, abandoned)
        note_work()
        return result

    def _is_abandoned(self, number: int) -> bool:
        return self._abandoned >= number
