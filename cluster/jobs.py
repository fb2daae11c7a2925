"""Jobs on a cluster by Ray's job API: submit, follow, list, stop."""

from __future__ import annotations

import asyncio
import getpass
import os
import shlex
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ray.exceptions import AuthenticationError
from ray.job_submission import JobDetails, JobStatus, JobSubmissionClient

from cluster import ray_private
from cluster.connect import send_token, why_refused
from cluster.dashboard import check_dashboard, is_local
from cluster.local_head import JOB_STOP_WAIT_S
from trainkit.errors import UserError, did_you_mean, first_line
from trainkit.runs import RUNS_BASE
from trainkit.storage import local_path, uri_of
from trainkit.words import table

# Beside what .gitignore and .rayignore name, which Ray leaves out by itself.
EXCLUDES = (
    ".git", ".venv*", "venv", "runs", "__pycache__", "*.egg-info", "build", "dist", ".mypy_cache", ".ruff_cache",
    ".pytest_cache", ".hypothesis", "node_modules", "*.mp4", "*.ckpt",
)  # fmt: skip
POLL_S = 0.5
AGENT_TIMEOUT_S = 60.0


class Jobs:
    """The jobs of the cluster whose dashboard is at `address`. UserError when it can't be reached or refuses us."""

    def __init__(self, address: str) -> None:
        check_dashboard(address)
        send_token()
        ray_private.quiet_job_client()
        self._address = address
        try:
            self._client = JobSubmissionClient(address)
        except AuthenticationError:
            raise UserError(f"--address {address!r}: {why_refused()}") from None

    def submit(
        self, command: Sequence[str], working_dir: Path, excludes: Sequence[str], runs_dir: str, name: str
    ) -> str:
        """The new job's id: `name`, or Ray's. UserError when its files can't be sent or the id is taken.

        `runs_dir` is on the cluster; empty: `working_dir` where the cluster is this machine's.
        """
        folder = working_dir.expanduser()
        if not folder.is_dir():
            raise UserError(f"--working-dir {str(folder)!r} is no folder; expected the one the job is to start in")
        runs = runs_dir or (str(folder.resolve()) if is_local(self._address) else "")
        if runs and uri_of(runs) is None and not local_path(runs).is_absolute():
            raise UserError(f"--runs-dir {runs!r}: expected an absolute path, the same on every node, or a URI")
        environment = {"RAY_JOB_STOP_WAIT_TIME_S": JOB_STOP_WAIT_S}
        if runs:
            environment[RUNS_BASE] = runs
        with tempfile.TemporaryDirectory() as place:
            package = _packed(folder, [*EXCLUDES, *excludes], Path(place))
            deadline = time.monotonic() + AGENT_TIMEOUT_S
            while True:
                try:
                    return self._client.submit_job(
                        entrypoint=shlex.join(command),
                        submission_id=name or None,
                        runtime_env={"working_dir": str(package), "env_vars": environment},
                        metadata={"submitted_by": _user(), "trainer": command[0]},
                    )
                except (ValueError, RuntimeError) as error:
                    if "No available agent" in str(error) and time.monotonic() < deadline:
                        continue  # a head that has just started; Ray itself waited ten seconds for it
                    if "already exists" in str(error):
                        raise UserError(f"--name {name!r} is a job already; expected a new name") from None
                    raise UserError(f"the cluster refused the job: {first_line(error)}") from None

    def details(self, name: str) -> JobDetails:
        """UserError, with the nearest id, when there is no such job."""
        try:
            return self._client.get_job_info(name)
        except RuntimeError:
            known = [job.submission_id for job in self.all() if job.submission_id]
            hint = did_you_mean(name, known) or (f" The jobs are: {', '.join(known[-5:])}" if known else "")
            raise UserError(f"no job {name!r} at {self._address}.{hint}") from None

    def all(self) -> list[JobDetails]:
        """Submitted jobs, oldest first."""
        jobs = [job for job in self._client.list_jobs() if job.submission_id]
        return sorted(jobs, key=lambda job: job.start_time or 0)

    def going_on(self) -> tuple[list[JobDetails], list[JobDetails]]:
        """(Submitted jobs that have not ended, other programs that are connected now), oldest first."""
        going = [job for job in self._client.list_jobs() if not job.status.is_terminal()]
        going.sort(key=lambda job: job.start_time or 0)
        return [job for job in going if job.submission_id], [job for job in going if not job.submission_id]

    def logs(self, name: str) -> str:
        self.details(name)
        return self._client.get_job_logs(name)

    def follow(self, name: str) -> Iterator[str]:
        """The log so far and on until the job ends."""
        self.details(name)
        with asyncio.Runner() as runner:
            lines: Any = self._client.tail_job_logs(name)
            while True:
                try:
                    yield runner.run(anext(lines))
                except StopAsyncIteration:
                    return

    def wait(self, name: str, timeout_s: float) -> JobDetails:
        """The job, when it has ended or the time is up."""
        deadline = time.monotonic() + timeout_s
        while not (job := self.details(name)).status.is_terminal() and time.monotonic() < deadline:
            time.sleep(POLL_S)
        return job

    def stop(self, name: str) -> JobDetails:
        """Ask the job to save itself and end; Ray kills it after a minute."""
        return self.stop_all([name])[0]

    def stop_all(self, names: Sequence[str]) -> list[JobDetails]:
        """Ask them all at once, then wait for each."""
        for name in names:
            if not self.details(name).status.is_terminal():
                self._client.stop_job(name)
        return [self.wait(name, float(JOB_STOP_WAIT_S) + 30) for name in names]


def _user() -> str:
    """Who submits, by name; by number where the machine knows no name for it, as in containers."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def _packed(folder: Path, excludes: Sequence[str], place: Path) -> Path:
    """The folder as Ray packs it. UserError when the cluster would refuse it, which it says only after the upload."""
    package = place / "working_dir.zip"
    ray_private.pack(folder, package, excludes)
    if (size := package.stat().st_size) > ray_private.UPLOAD_BYTES:
        heavy = ", ".join(f"{path} {mib:.1f} MiB" for path, mib in largest(folder, excludes))
        raise UserError(
            f"--working-dir {str(folder)!r} is {size / 2**20:.2f} MiB packed and the dashboard takes "
            f"{ray_private.UPLOAD_BYTES / 2**20:g} MiB; expected less: leave out with --exclude PATTERN or "
            f".rayignore. The largest in it: {heavy}"
        )
    return package


def exit_code(job: JobDetails) -> int:
    """The command's own: 0 when it succeeded."""
    if job.status is JobStatus.SUCCEEDED:
        return 0
    return job.driver_exit_code or 1


def job_table(jobs: Sequence[JobDetails], now: float) -> str:
    """A line a job."""
    rows = []
    for job in jobs:
        started = (job.start_time or 0) / 1000
        ended = job.end_time / 1000 if job.end_time else now
        when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(started))
        who = (job.metadata or {}).get("submitted_by", "-")
        rows.append((job.submission_id or "", str(job.status.value), when, _span(ended - started), who, job.entrypoint))
    return table(("job", "status", "started", "ran for", "by", "command"), rows)


def _span(seconds: float) -> str:
    minutes, s = divmod(max(int(seconds), 0), 60)
    return f"{minutes // 60:02d}:{minutes % 60:02d}:{s:02d}"


def largest(folder: Path, excludes: Sequence[str], most: int = 3) -> list[tuple[str, float]]:
    """The heaviest entries of a folder that are not excluded by name, with MiB; of big folders, what is inside."""
    sizes: dict[str, int] = {}
    for root, folders, names in os.walk(folder):
        here = Path(root)
        folders[:] = [f for f in folders if not _excluded(f, excludes)]
        for name in names:
            if not _excluded(name, excludes):
                relative = (here / name).relative_to(folder)
                key = str(Path(*relative.parts[:2]))
                sizes[key] = sizes.get(key, 0) + (here / name).lstat().st_size
    heaviest = sorted(sizes.items(), key=lambda item: -item[1])[:most]
    return [(path, size / 2**20) for path, size in heaviest]


def _excluded(name: str, excludes: Sequence[str]) -> bool:
    return any(Path(name).match(pattern) for pattern in excludes)
