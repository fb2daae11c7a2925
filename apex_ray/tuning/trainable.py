"""Runs whose settings Ray Tune draws: a trainable for a preset, with dotted settings as its space."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from trainkit.errors import needed

with needed("ray.tune"):
    from ray.tune import PlacementGroupFactory, Trainable

from apex_ray.config.load import load
from apex_ray.config.schema import ApexConfig
from apex_ray.report.metrics import METRICS
from apex_ray.tuning.request import placement
from apex_ray.tuning.trial import Row, Trial
from trainkit.drawn import words


class ApexTrainable(Trainable):
    """A run in steps of `report.every_s` seconds, each with a row of metrics as its result (report/metrics.py).

    What a row lacks, such as a return before the first episode has ended, is nan. A trial ends by itself at a limit
    of `stop`, with one more evaluation where `evaluation.final` asks for it.
    """

    preset: ClassVar[str] = ""
    fixed: ClassVar[tuple[str, ...]] = ()  # KEY=VALUE of settings that are not drawn
    replay: ClassVar[bool] = False  # whether checkpoints hold the replay

    def setup(self, config: dict[str, Any]) -> None:
        """Look at the settings that were drawn; the run starts with the first step."""
        settings = self.settings(config)
        self._final = settings.evaluation.final
        evaluation = settings.evaluation.model_copy(update={"final": False})
        self._trial = Trial(settings.model_copy(update={"evaluation": evaluation}))
        self._frames = 0.0

    @classmethod
    def settings(cls, drawn: Mapping[str, Any]) -> ApexConfig:
        """All settings of a trial. UserError for an unknown one, with the nearest name."""
        return load(cls.preset, [*cls.fixed, *words(drawn)]).config

    @classmethod
    def default_resource_request(cls, config: dict[str, Any]) -> PlacementGroupFactory:
        return placement(cls.settings(config))

    def step(self) -> dict[str, Any]:
        acted = self._frames

        def enough(row: Row) -> bool:
            return row["frames"] > acted  # a run that is still starting has not come one step further

        row, reason = self._trial.step(self._trial.config.report.every_s, enough)
        self._frames = row["frames"]
        if reason is not None and self._final:
            self._trial.evaluate()
            row = self._trial.row()
        return {**dict.fromkeys(METRICS, math.nan), **row, "run": str(self._trial.folder), "done": reason is not None}

    def save_checkpoint(self, checkpoint_dir: str) -> None:
        self._trial.save(Path(checkpoint_dir), self.replay, {"training_iteration": self.iteration})

    def load_checkpoint(self, checkpoint: Any) -> None:
        _, counters = self._trial.restore(Path(checkpoint))
        self._frames = counters.frames

    def cleanup(self) -> None:
        self._trial.stop("its trial ended")


def trainable(preset: str, *fixed: str, replay: bool = False) -> type[ApexTrainable]:
    """A trainable for `ray.tune.Tuner` whose param_space is a dict of dotted settings.

    Args:
        preset: a preset's name, or the path of a YAML file with settings.
        fixed: settings that are not drawn, as on the command line: "actors.count=4".
        replay: whether checkpoints hold the replay, which a trial that goes on then need not fill again.

    UserError for an unknown setting.

    """
    known: Sequence[str] = fixed
    load(preset, known)
    name = f"apex-ray-{Path(preset).stem}"
    return type(name, (ApexTrainable,), {"preset": str(preset), "fixed": tuple(known), "replay": replay})
