"""The end of a Ray that we started: its processes, then its session's files, and nobody else's."""

from __future__ import annotations

import shutil
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from cluster import ray_private

LATEST = "session_latest"  # Ray's link to the session that was started last
GONE_S, POLL_S = 10.0, 0.01


def end_own_ray(keep_logs: bool) -> Path | None:
    """Leave the Ray that this process started, and remove its files; the folder of its logs where they are kept."""
    session, started = ray_private.own_session()
    family = [p for pid in started for p in with_children(pid)]
    ray_private.shutdown_at_once()
    end(family)
    return remove(session, keep_logs)


def with_children(pid: int) -> list[psutil.Process]:
    """The process and all that come from it; [] where it has gone."""
    try:
        process = psutil.Process(pid)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def end(family: Sequence[psutil.Process]) -> None:
    """Kill those that are left, and see them gone."""
    for process in family:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    left, until = list(family), time.monotonic() + GONE_S
    while (left := [process for process in left if runs(process)]) and time.monotonic() < until:
        time.sleep(POLL_S)


def runs(process: psutil.Process) -> bool:
    """False for one that nobody has waited for yet, too; its parent may be one that takes seconds to."""
    with suppress(psutil.TimeoutExpired):
        process.wait(0)  # a child of ours is one no more
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def remove(session: Path, keep_logs: bool = False) -> Path | None:
    """Remove a session's folder, or all of it but the logs, whose folder is returned."""
    latest = session.parent / LATEST
    if latest.is_symlink() and latest.readlink().name == session.name:
        latest.unlink(missing_ok=True)
    if not keep_logs:
        shutil.rmtree(session, ignore_errors=True)
        return None
    for path in session.iterdir():
        if path.name == "logs":
            continue
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return session / "logs"
