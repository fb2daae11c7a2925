"""Jobs on a real head with dashboard and token."""

from __future__ import annotations

import re
import stat
from pathlib import Path

import pytest

from tests.cluster.heads import SLOW_CARTPOLE, Head, Reader, finish

SHORT = ("stop.after_updates=300", "evaluation.episodes=2", "evaluation.every_s=1000", "report.every_s=1")


def test_up_makes_a_token_that_only_the_user_can_read(head: Head) -> None:
    token = head.folder / "auth_token"
    assert stat.S_IMODE(token.stat().st_mode) == 0o600 and len(token.read_text()) == 64


@pytest.mark.timeout(200)
def test_a_submitted_job_is_followed_to_its_score_and_listed(head: Head, tmp_path: Path) -> None:
    code, out = head.run(
        "apex-cluster", "submit", "--name", "cart", "--", "apex-ray", "train", "cartpole", *SHORT, cwd=tmp_path
    )
    assert code == 0, out
    assert re.search(r"evaluation: last [\d.]+, best [\d.]+", out), out
    assert re.search(r"\d\d:\d\d:\d\d  actors +\d+  steps +[\d,]+ \(", out), "progress as a table"
    assert f"dashboard  {head.url}/#/jobs/cart" in out and "cart: SUCCEEDED" in out
    assert "tensorboard --logdir" in out and f"dashboard http://127.0.0.1:{head.dashboard}" in out
    runs = list((tmp_path / "runs").iterdir())
    assert len(runs) == 1 and list((runs[0] / "checkpoints").iterdir()), "in the submitter's folder, not Ray's copy"
    code, out = head.run("apex-cluster", "list")
    assert code == 0 and re.search(r"^cart +SUCCEEDED .* apex-ray train cartpole", out, re.MULTILINE)
    assert "evaluation: last" in head.run("apex-cluster", "logs", "cart")[1]


@pytest.mark.timeout(200)
def test_the_same_job_by_plain_ray_job_submit(head: Head, tmp_path: Path) -> None:
    words = ("--working-dir", str(tmp_path), "--", "apex-ray", "train", "cartpole", *SHORT, f"runs_dir={tmp_path}/r")
    code, out = head.run("ray", "job", "submit", "--address", head.url, *words, RAY_AUTH_MODE="token")
    assert code == 0 and "evaluation: last" in out, out
    assert len(list((tmp_path / "r").iterdir())) == 1


@pytest.mark.timeout(200)
def test_a_run_by_ray_client(head: Head, tmp_path: Path) -> None:
    client = f"cluster.address=ray://127.0.0.1:{head.client}"
    code, out = head.run("apex-ray", "train", "cartpole", client, *SHORT, cwd=tmp_path)
    assert code == 0 and "evaluation: last" in out, out


@pytest.mark.timeout(200)
def test_a_stopped_job_writes_a_checkpoint_and_status_shows_the_picture(head: Head, tmp_path: Path) -> None:
    submit = ("apex-cluster", "submit", "--name", "long", "--no-follow", "--", "apex-ray", "train", *SLOW_CARTPOLE)
    assert head.run(*submit, "stop.evaluation_return=null", "report.line_every_s=1", cwd=tmp_path)[0] == 0
    follower = head.start("apex-cluster", "logs", "long", "--follow")
    Reader(follower).until("actors   1")  # actors are started last
    code, out = head.run("apex-cluster", "status")
    assert code == 0
    for name, kind in {"actor-0": "ActorNode", "learner": "LearnerNode", "replay-0": "ReplayNode"}.items():
        assert re.search(rf"^{name} +{kind} +alive ", out, re.MULTILINE), out
    code, out = head.run("apex-cluster", "stop", "long")
    assert (code, out) == (0, "long: STOPPED\n")
    code, out = finish(follower)
    assert code != 0 and "final checkpoint" in out and "long: STOPPED" in out
    assert list((tmp_path / "runs").glob("*/checkpoints/update-*"))


def test_a_jobs_exit_code_is_the_commands_own(head: Head) -> None:
    code, out = head.run("apex-cluster", "submit", "--", "sh", "-c", "echo what it said; exit 7")
    assert code == 7 and "what it said" in out and "FAILED" in out
