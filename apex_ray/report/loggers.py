"""Where a run's metrics go beside its folder, by `report.loggers`: a new one is a file and a line here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from apex_ray.agent.registry import named
from apex_ray.config.schema import ApexConfig
from apex_ray.types import EvaluationResult
from trainkit.errors import UserError

# Called with (run folder, settings as YAML knows them, whether the run is resumed).
LOGGERS = {
    "wandb": "apex_ray.report.wandb_logger:WandbLogger",
    "mlflow": "apex_ray.report.mlflow_logger:MlflowLogger",
}


class Logger(Protocol):
    """Its methods may raise: that is told once and the run goes on."""

    @property
    def note(self) -> str:
        """For the user, when the run begins: where it logs to."""
        ...

    def row(self, row: Mapping[str, float]) -> None:
        """Metrics by name (docs/metrics.md), `frames` among them, which is what they are drawn against."""
        ...

    def evaluation(self, result: EvaluationResult, frames: int) -> None:
        """`result.video` is the path of a video, if one was made of it."""
        ...

    def checkpoint(self, folder: Path, best: bool) -> None: ...

    def close(self) -> None: ...


class Loggers:
    """All that the settings name, each of which may fail without harm."""

    def __init__(self, config: ApexConfig, run: Path, resume: bool, say: Callable[[str], None]) -> None:
        """UserError for one that is not there, and for one that can't begin."""
        self._say, self._silent = say, set[str]()
        self._loggers: dict[str, Logger] = {}
        for name, kind in _kinds(config).items():
            try:
                self._loggers[name] = logger = kind(run, config.model_dump(mode="json"), resume)
            except ImportError as error:
                raise _missing(name, error) from None
            except Exception as error:  # whatever its library raises: no account, another version, no room
                raise UserError(f"report.loggers = {name}: can't begin: {_reason(error)}") from error
            if logger.note:
                say(logger.note)

    def __getattr__(self, event: str) -> Callable[..., None]:
        """row, evaluation, checkpoint and close, of each."""
        return partial(self._each, event)

    def _each(self, event: str, *args: Any) -> None:
        for name, logger in self._loggers.items():
            try:
                getattr(logger, event)(*args)
            except Exception as error:
                if name not in self._silent:
                    self._say(f"report.loggers: {name} does not take it ({_reason(error)}); the run goes on")
                self._silent.add(name)


def check_loggers(config: ApexConfig) -> None:
    """UserError for a logger that is not there, or whose library is missing."""
    for name, kind in _kinds(config).items():
        needs = getattr(kind, "check", None)
        try:
            if needs is not None:
                needs()
        except ImportError as error:
            raise _missing(name, error) from None


def _kinds(config: ApexConfig) -> dict[str, Any]:
    return {name: named(LOGGERS, name, "report.loggers") for name in config.report.loggers}


def _missing(name: str, error: ImportError) -> UserError:
    return UserError(f"report.loggers = {name}: {error}; expected it to be there: pip install 'apex-ray[loggers]'")


def _reason(error: Exception) -> str:
    return f"{type(error).__name__}: {(str(error).strip().splitlines() or ['no message'])[0]}"
