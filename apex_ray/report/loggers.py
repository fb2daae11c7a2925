"""Where a run's metrics go beside its folder, by `report.loggers`: a new one is a file and a line here."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from apex_ray.agent.registry import named
from apex_ray.config.schema import ApexConfig
from apex_ray.types import EvaluationResult
from trainkit.errors import UserError

MAX_WAITING = 1000  # events that a logger has not taken yet
CLOSE_S = 60.0  # of waiting for loggers when the run ends

# Called with (run folder, settings as YAML knows them, whether the run is resumed).
LOGGERS = {
    "wandb": "apex_ray.report.wandb_logger:WandbLogger",
    "mlflow": "apex_ray.report.mlflow_logger:MlflowLogger",
}


class Logger(Protocol):
    """Its methods are called in a thread, in turn, and may raise: that is told once and the run goes on."""

    @property
    def note(self) -> str:
        """For the user, when the run begins: where it logs to."""
        ...

    def row(self, row: Mapping[str, float]) -> None:
        """Metrics by name (docs/metrics.md), `frames` among them, which is what they are drawn against."""
        ...

    def evaluation(self, result: EvaluationResult) -> None:
        """`result.video` is the path of a video, if one was made of it."""
        ...

    def checkpoint(self, folder: Path, best: bool) -> None: ...

    def close(self, failed: bool) -> None:
        """The run has ended, or with `failed` ends with an error."""
        ...


class Loggers:
    """All that the settings name, fed by a thread: one that hangs on a network holds nothing up."""

    def __init__(self, config: ApexConfig, run: Path, resume: bool, say: Callable[[str], None]) -> None:
        """UserError for one that is not there, and for one that can't begin."""
        self._say, self._told = say, set[str]()
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
        self._waiting: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue(MAX_WAITING)
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def row(self, row: Mapping[str, float]) -> None:
        self._put("row", dict(row))

    def evaluation(self, result: EvaluationResult) -> None:
        self._put("evaluation", result)

    def checkpoint(self, folder: Path, best: bool) -> None:
        self._put("checkpoint", folder, best)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._put("close", kind is not None)
        self._thread.join(CLOSE_S)

    def _put(self, event: str, *given: Any) -> None:
        try:
            self._waiting.put_nowait((event, given))
        except queue.Full:
            self._tell("all", "they are too slow, and what they miss is left out")

    def _feed(self) -> None:
        event = ""
        while event != "close":
            event, given = self._waiting.get()
            for name, logger in self._loggers.items():
                try:
                    getattr(logger, event)(*given)
                except Exception as error:
                    self._tell(name, _reason(error))

    def _tell(self, name: str, reason: str) -> None:
        if name not in self._told:
            self._told.add(name)
            self._say(f"report.loggers: {name} does not take it ({reason}); the run goes on")


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
