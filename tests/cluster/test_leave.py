"""When a head may end, by what its jobs are; tests/cluster/test_local_head.py has a real one."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from ray.job_submission import DriverInfo, JobDetails, JobStatus, JobType

from cluster import leave
from trainkit.errors import UserError


def job(name: str | None, pid: str = "1") -> JobDetails:
    driver = DriverInfo(id="01", node_ip_address="10.0.0.1", pid=pid)
    kind = JobType.SUBMISSION if name else JobType.DRIVER
    return JobDetails(type=kind, submission_id=name, driver_info=driver, status=JobStatus.RUNNING, entrypoint="x")


class FakeJobs:
    """A head with these jobs; without any list it can't be asked."""

    stopped: Sequence[str] = ()
    going: tuple[list[JobDetails], list[JobDetails]] | None = ([], [])

    def __init__(self, address: str) -> None:
        if self.going is None:
            raise UserError("--address 'x' can't be reached (refused)")

    def going_on(self) -> tuple[list[JobDetails], list[JobDetails]]:
        assert self.going is not None
        return self.going

    def stop_all(self, names: Sequence[str]) -> list[JobDetails]:
        FakeJobs.stopped = names
        return [job(name).model_copy(update={"status": JobStatus.STOPPED}) for name in names]


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[FakeJobs]:
    monkeypatch.setattr(leave, "Jobs", FakeJobs)
    monkeypatch.setattr(FakeJobs, "stopped", ())
    monkeypatch.setattr(FakeJobs, "going", ([], []))
    return FakeJobs


def test_a_head_without_work_ends_without_a_word(fake: type[FakeJobs], capsys: pytest.CaptureFixture[str]) -> None:
    leave.leave("x", force=False)
    assert not capsys.readouterr().out and not fake.stopped


@pytest.mark.parametrize(
    ("submitted", "joined", "told"),
    [
        (["a", "b"], [], "the head still has 2 jobs (a, b); end them with apex-cluster stop JOB, or insist with "),
        ([], ["7"], "the head still has 1 program that joined (process 7); end them with Ctrl-C in the programs, or "),
        (
            ["a"],
            ["7", "8"],
            "1 job (a) and 2 programs that joined (process 7, 8); end them with apex-cluster stop JOB ",
        ),
    ],
)
def test_a_head_with_work_is_left_as_it_is(
    fake: type[FakeJobs], submitted: list[str], joined: list[str], told: str
) -> None:
    fake.going = [job(name) for name in submitted], [job(None, pid) for pid in joined]
    with pytest.raises(UserError) as error:
        leave.leave("x", force=False)
    assert told in str(error.value) and "\n" not in str(error.value) and not fake.stopped


def test_force_stops_the_jobs_and_tells_how_they_ended(
    fake: type[FakeJobs], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.going = [job("a"), job("b")], [job(None)]
    leave.leave("x", force=True)
    assert list(fake.stopped) == ["a", "b"] and capsys.readouterr().out == "a: STOPPED\nb: STOPPED\n"


def test_a_head_that_cannot_be_asked_ends_by_force_only(
    fake: type[FakeJobs], capsys: pytest.CaptureFixture[str]
) -> None:
    fake.going = None
    with pytest.raises(UserError, match=r"is not known, apex-cluster down --force ends it all the same: --address"):
        leave.leave("x", force=False)
    leave.leave("x", force=True)
    assert "not known: --address 'x' can't be reached" in capsys.readouterr().out
