"""A data-parallel job beside a running Ape-X job: neither is pending for ever, and what can never fit is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import soundfile

from tests.cluster.heads import SLOW_CARTPOLE, Head, Reader, finish, kill_family

APEX = (
    "apex-ray", "train", *SLOW_CARTPOLE, "actors.count=1", "learner.threads=1", "stop.evaluation_return=null",
    "report.every_s=1", "report.line_every_s=1", "evaluation.every_s=100",
)  # fmt: skip
WAVENET = (
    "apex-wavenet", "train", "small", "data.folder=sound", "model.cycles=1", "model.layers_per_cycle=4",
    "model.residual=16", "model.skip=16", "model.head=16", "training.batch=2", "training.segment_samples=400",
    "training.steps=1200", "training.report_every_steps=5", "training.validate_every_steps=600", "training.excerpt_s=0",
)  # fmt: skip


@pytest.fixture
def sound(tmp_path: Path) -> Path:
    """A folder to start trainers in, with recordings."""
    (tmp_path / "sound").mkdir()
    for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
        soundfile.write(tmp_path / "sound" / name, 0.3 * np.sin(np.arange(8_000) / 7), 16_000)
    return tmp_path


def newest(runs: Path, name: str, column: str) -> float:
    """Of the rows that the run of that name has written; -1 before."""
    rows = [text for file in runs.glob(f"{name}-*/metrics.jsonl") for text in file.read_text().splitlines()[:-1]]
    values = [value for row in rows if (value := json.loads(row).get(column)) is not None]
    return float(values[-1]) if values else -1.0


def until(true: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@contextmanager
def started(head: Head, *command: str, cwd: Path) -> Iterator[tuple[subprocess.Popen[str], Reader]]:
    """A trainer and its log; it does not outlive the test."""
    process = head.start(*command, cwd=cwd, APEX_CACHE=str(cwd / "cache"))
    try:
        yield process, Reader(process)
    finally:
        if process.poll() is None:
            kill_family(process.pid)


@pytest.mark.timeout(300)
def test_apex_and_wavenet_share_three_cores_and_both_finish(head: Head, sound: Path) -> None:
    """Ape-X has two of the head's three cores. Of at most four workers one starts beside it; a job of two waits."""
    address = f"workers.address={head.address}"
    with started(head, *APEX, f"cluster.address={head.address}", cwd=sound) as (apex, apex_log):
        apex_log.until("actors   1")
        with (
            started(
                head,
                *WAVENET,
                "workers.count=[1, 4]",
                "training.batch=4",
                "training.segment_samples=200",
                address,
                cwd=sound,
            ) as (wavenet, log),
            started(head, *WAVENET, "workers.count=2", address, cwd=sound) as (waiting, waiting_log),
        ):
            log.until("workers 1")
            before = newest(sound / "runs", "cartpole", "updates"), newest(sound / "runs", "wavenet", "step")
            until(lambda: newest(sound / "runs", "cartpole", "updates") > before[0])
            until(lambda: newest(sound / "runs", "wavenet", "step") > before[1])
            assert apex.poll() is None and wavenet.poll() is None, "both still run"
            said = waiting_log.until("waiting for room")
            assert "needs 2 x worker (1 CPU each) but there is room for " in said and "other jobs use the rest" in said
            waiting.send_signal(signal.SIGINT)
            code, rest = finish(waiting)
            assert code == 130 and "Traceback" not in rest, rest
            code, rest = finish(wavenet)
            assert code == 0 and "of 1,200  validation" in rest, rest
        apex.send_signal(signal.SIGINT)
        code, rest = finish(apex)
        assert code == 130 and "final checkpoint" in rest, rest


@pytest.mark.timeout(120)
def test_what_can_never_fit_is_refused(head: Head, sound: Path) -> None:
    words = (*WAVENET, "workers.count=2", "workers.cpus=64", f"workers.address={head.address}")
    code, out = head.run(*words, cwd=sound, APEX_CACHE=str(sound / "cache"))
    assert code == 2 and out.count("error: ") == 1 and "Traceback" not in out, out
    assert "does not fit the cluster even with nothing else on it: it needs 2 x worker (64 CPU each)" in out, out
    assert "room for 0; the nearest node, " in out, out
