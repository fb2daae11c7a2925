"""Where a run's metrics go beside its folder, by `report.loggers`: a new one is a file and a line here."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

from apex_ray.agent.registry import named
from apex_ray.config.schema import ApexConfig
from apex_ray.types import EvaluationResult
from trainkit.errors import UserError, with_kind

MAX_WAITING = 1000  # events that a logger has not taken yet
CLOSE_S = 60.0  # of waiting for loggers when the run ends

# Called with (run folder, settings as YAML knows them, whether the run is resumed).
LOGGERS = {
    "wandb": "apex_ray.report.wandb_logger:WandbLogger",
    "mlflow": "apex_ray.report.mlflow_logger:MlflowLogger",
}
HAS = ("note", "row", "evaluation", "checkpoint", "close")  # of a Logger


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
    """All that the settings name, each fed by a thread: one that hangs on a network holds nothing up."""

    def __init__(self, config: ApexConfig, run: Path, resume: bool, say: Callable[[str], None]) -> None:
        """UserError for one that is not there, and for one that can't begin."""
        self._feeds: list[_Feed] = []
        try:
            for name, kind in _kinds(config).items():
                self._feeds.append(_Feed(name, _started(name, kind, run, config, resume), say))
        except UserError:
            self._close(failed=True)
            raise

    def row(self, row: Mapping[str, float]) -> None:
        self._put("row", dict(row))

    def evaluation(self, result: EvaluationResult) -> None:
        self._put("evaluation", result)

    def checkpoint(self, folder: Path, best: bool) -> None:
        self._put("checkpoint", folder, best)

    def __enter__(self) -> Loggers:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._close(failed=kind is not None)

    def _put(self, event: str, *given: Any) -> None:
        for feed in self._feeds:
            feed.put(event, *given)

    def _close(self, failed: bool) -> None:
        self._put("close", failed)
        until = time.monotonic() + CLOSE_S
        for feed in self._feeds:
            feed.thread.join(max(until - time.monotonic(), 0))


class _Feed:
    """A logger and the thread that calls it."""

    def __init__(self, name: str, logger: Logger, say: Callable[[str], None]) -> None:
        self._name, self._logger, self._say, self._warned = name, logger, say, False
        self._waiting: queue.Queue[tuple[str, tuple[Any, ...]]] = queue.Queue()
        self.thread = threading.Thread(target=self._feed, daemon=True)
        self.thread.start()
        if logger.note:
            say(logger.note)

    def put(self, event: str, *given: Any) -> None:
        """Its turn comes; of a logger that is too slow events are left out, but for the last."""
        if self._waiting.qsize() < MAX_WAITING or event == "close":
            self._waiting.put((event, given))
        else:
            self._warn_once("it is too slow, some events are left out")

    def _feed(self) -> None:
        event = ""
        while event != "close":
            event, given = self._waiting.get()
            try:
                getattr(self._logger, event)(*given)
            except Exception as error:
                self._warn_once(with_kind(error))

    def _warn_once(self, reason: str) -> None:
        if not self._warned:
            self._warned = True
            self._say(f"report.loggers: {self._name} does not take it ({reason}); the run goes on")


def _started(name: str, kind: Any, run: Path, config: ApexConfig, resume: bool) -> Logger:
    with _told(name):
        logger: Logger = kind(run, config.model_dump(mode="json"), resume)
        lacks = [attribute for attribute in HAS if not hasattr(logger, attribute)]
    if lacks:
        raise UserError(f"report.loggers = {name} has no {', '.join(lacks)}; expected what has {', '.join(HAS)}")
    return logger


@contextmanager
def _told(name: str) -> Iterator[None]:
    """Whatever a logger's library raises: no account, another version, no room."""
    try:
        yield
    except UserError:
        raise
    except (Exception, SystemExit) as error:
        raise UserError(f"report.loggers = {name}: can't begin: {with_kind(error)}") from error


def check_loggers(config: ApexConfig) -> None:
    """UserError for a logger that is not there, or whose library is missing."""
    for name, kind in _kinds(config).items():
        needs = getattr(kind, "check", None)
        if needs is not None:
            with _told(name):
                needs()


def _kinds(config: ApexConfig) -> dict[str, Any]:
    return {name: named(LOGGERS, name, "report.loggers") for name in config.report.loggers}
