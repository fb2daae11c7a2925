import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pydantic import ValidationError
from ray.exceptions import ActorDiedError
from ray.train import Checkpoint

from cluster.data_parallel import _drop_stale_list, is_mistake, newest_checkpoint
from cluster.workers_config import WorkersConfig
from tests.cluster.heads import Reader
from trainkit.checkpoints import FILES, newest, updates
from trainkit.errors import UserError


@pytest.mark.parametrize(
    ("error", "mistake"),
    [
        (UserError("bits became nan"), True),
        (KeyError("speaker"), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), True),
        (ActorDiedError(), False),
        (ConnectionResetError("peer"), False),
        (torch.distributed.DistNetworkError("no route"), False),
        (RuntimeError("[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [10.0.0.2]:41"), False),
    ],
)
def test_what_would_come_again_is_a_mistake(error, mistake):
    assert is_mistake(error) is mistake


@pytest.fixture
def run(tmp_path):
    """Two whole checkpoints, then one half written."""
    for name in ("checkpoint_1", "checkpoint_2", "checkpoint_3"):
        (tmp_path / name).mkdir()
        for file in FILES[: None if name < "checkpoint_3" else 2]:
            (tmp_path / name / file).touch()
    return tmp_path


def test_a_run_goes_on_from_its_folder_where_ray_knows_no_checkpoint(run, tmp_path_factory, monkeypatch):
    """Copied without Ray's list, it would start from 0 and drop the rows of its metrics."""
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: None)
    with newest_checkpoint(run) as folder:
        assert folder == run / "checkpoint_2"
    with newest_checkpoint(tmp_path_factory.mktemp("new")) as folder:
        assert folder is None
    monkeypatch.setattr("ray.train.get_checkpoint", lambda: Checkpoint.from_directory(run / "checkpoint_1"))
    with newest_checkpoint(run) as folder:
        assert folder == run / "checkpoint_1", "after a lost worker, the one that was reported"


def test_rays_list_goes_where_ray_would_refuse_it(run):
    _drop_stale_list(run)  # there is none
    file = run / "checkpoint_manager_snapshot.json"
    listed = [{"checkpoint_dir_name": name, "metrics": {}} for name in ("checkpoint_1", "checkpoint_2")]
    file.write_text(json.dumps({"checkpoint_results": listed}))
    _drop_stale_list(run)
    assert file.exists()
    (run / "checkpoint_2").rename(run / "away")
    _drop_stale_list(run)
    assert not file.exists(), "the user removed one of them"
    for broken_off in ("", '{"checkpoint_results": [{"chec', "{}", "[]"):
        file.write_text(broken_off)
        _drop_stale_list(run)
        assert not file.exists()


def test_a_range_of_workers_rises():
    assert WorkersConfig(count=(2, 2)).range.fewest == 2
    with pytest.raises(ValidationError, match=r"count \[3, 2\] asks for at least 3 and at most 2; expected \[fewest"):
        WorkersConfig(count=(3, 2))


@pytest.mark.timeout(300)
def test_sigterm_to_all_processes_of_a_run_leaves_a_checkpoint_and_no_files_of_ray(tmp_path):
    words = ["train", "adding", "adding.steps=20", "training.steps=1000000", "training.report_every_steps=5"]
    process = subprocess.Popen(
        [sys.executable, "-m", "lstm.cli", *words, "training.validate_every_steps=1000000", f"runs_dir={tmp_path}"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    reader = Reader(process)
    reader.until("step ")
    os.killpg(process.pid, signal.SIGTERM)  # as `timeout` does; Ray's services are in the group
    told = reader.until("stopped with checkpoint_")
    assert process.wait() == 130
    (run,) = tmp_path.iterdir()
    assert updates(run) > 0 and newest(run).name in told and f"--resume {run}" in told
    assert not list(Path("/tmp/ray").glob(f"session_*_{process.pid}"))
