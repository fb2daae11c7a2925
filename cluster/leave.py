"""Before a head ends: whether jobs run on it, and how they end first."""

from __future__ import annotations

from collections.abc import Sequence

from ray.job_submission import JobDetails

from cluster.jobs import Jobs
from trainkit.errors import UserError
from trainkit.words import plural

HOW = "apex-cluster down --force"


def leave(dashboard: str, force: bool) -> None:
    """Refuse to end the head while it has work; with `force` stop its jobs, all at once, and wait until they ended.

    UserError, without `force`, for jobs that run or wait, for programs that have joined, and when it can't be asked.
    Programs that have joined are not ended by `force`: whose they are is not known. They lose their Ray.
    """
    try:
        jobs = Jobs(dashboard)
        submitted, joined = jobs.going_on()
    except UserError as error:
        if not force:
            raise UserError(f"whether jobs run on the head is not known, {HOW} ends it all the same: {error}") from None
        print(f"whether jobs ran is not known: {error}")
        return
    if force:
        for job in jobs.stop_all([job.submission_id or "" for job in submitted]):
            print(f"{job.submission_id}: {job.status.value}")
    elif submitted or joined:
        raise UserError(in_words(submitted, joined))


def in_words(submitted: Sequence[JobDetails], joined: Sequence[JobDetails]) -> str:
    """What goes on at the head, and how each of it ends."""
    there, how = list[str](), list[str]()
    if submitted:
        names = ", ".join(job.submission_id or "" for job in submitted)
        there.append(f"{plural(len(submitted), 'job')} ({names})")
        how.append("apex-cluster stop JOB")
    if joined:
        processes = ", ".join(job.driver_info.pid for job in joined if job.driver_info)
        there.append(f"{plural(len(joined), 'program')} that joined (process {processes})")
        how.append("Ctrl-C in the programs")
    return f"the head still has {' and '.join(there)}; end them with {' and '.join(how)}, or insist with {HOW}"
