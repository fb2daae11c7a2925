"""A disk without room: one message, what was there before stays, nothing half-written, and the run goes on.

The room is a limit on the size of a file (RLIMIT_FSIZE), which the kernel answers as it answers a full disk.
"""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from apex_ray.evaluation import BestKeeper
from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.report.failure import describe
from apex_ray.report.video import write_video
from apex_ray.report.writer import MetricsWriter
from apex_ray.run.training import train
from apex_ray.types import Counters, EvaluationResult, Weights
from tests.apex_ray.bad_inputs.environments import room_bytes
from tests.apex_ray.test_resume import SERIAL, cartpole, files, with_
from tests.apex_ray.test_serial import run as run_serial
from trainkit.config import to_yaml
from trainkit.errors import NotWrittenError
from trainkit.runs import create_run

BIG = {"network": {"mlp_layers": [16], "hidden": 1024}}  # checkpoints of 130 KB a file


def test_a_run_goes_on_without_checkpoints_and_ends_with_one_message(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("apex_ray.run.loop.WATCH_S", 0.02)  # a checkpoint is due before the run is over
    config = cartpole(**SERIAL, **BIG, stop={"after_updates": 40})
    run = create_run(tmp_path, "run", to_yaml(config))
    train(config, run)
    good = files(run / "checkpoints")
    longer = with_(config, stop={"after_updates": 150}, checkpoint={"every_s": 0.02, "keep": 1})
    with (
        room_bytes(60_000),
        pytest.raises(NotWrittenError, match=r"checkpoint .*update-\S+ can't be written: File too"),
    ):
        train(longer, run, resume=True)
    out = capsys.readouterr().out
    assert "no checkpoint: " in out and "no final checkpoint: " in out
    assert json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["updates"] >= 150, "it learned on"
    assert files(run / "checkpoints") == good and not list(run.rglob("*partial*"))
    assert (run / "learning_curve.png").exists()
    # with room again it goes on from what was kept
    train(longer, run, resume=True)
    assert load_checkpoint(run).counters.updates >= 150


def test_a_replay_does_not_belong_to_a_checkpoint_that_was_not_written(tmp_path):
    program, _, _ = run_serial(cartpole(**BIG), 60, tmp_path)
    with room_bytes(60_000), pytest.raises(NotWrittenError):
        program.save(Counters())
    assert program._saved_update == 0 < program._learner.updates
    program.save(Counters())
    assert program._saved_update == program._learner.updates


def test_rows_of_metrics_are_whole_or_not_there(tmp_path):
    row = {"time_s": 1.0, "frames": 10}
    result = EvaluationResult(1, 1, 10, [1.0], [1])
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write(row)
        writer.evaluation(result, 1.0)
        before = files(tmp_path)
        for name, write in (
            ("metrics.jsonl", lambda: writer.write(row)),
            ("evaluations.csv", lambda: writer.evaluation(result, 1.0)),
        ):
            size = (tmp_path / name).stat().st_size
            with room_bytes(size + 3), pytest.raises(OSError, match="File too large"):
                write()
            assert (tmp_path / name).read_bytes() == before[tmp_path / name]
        writer.write(row)
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_a_board_whose_thread_met_a_full_disk_goes_on_in_a_new_file(tmp_path):
    """TensorBoard writes in a thread of its own, which ends with its first error and passes it on ever after."""
    with MetricsWriter(tmp_path, resume=False) as writer:
        writer.write({"time_s": 1.0, "frames": 10})
        board = writer._rows.board(10)
        with room_bytes(1):
            board.add_scalar("progress/frames", 1.0, 11)
            with pytest.raises(OSError, match="File too large"):
                while True:  # until its thread has met it
                    board.add_scalar("progress/frames", 1.0, 11)
        writer.write({"time_s": 2.0, "frames": 20})
    assert len(list((tmp_path / "tensorboard").iterdir())) == 2
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2


def test_an_evaluation_whose_weights_find_no_room_counts_all_the_same(tmp_path):
    config = cartpole(**BIG)
    program, _, _ = run_serial(config, 1, tmp_path)
    keeper = BestKeeper(config, program._spec, tmp_path)
    weights = Weights(7, program._learner.weights().params)
    with room_bytes(60_000):
        result = keeper.evaluate(weights, Counters(), print)
    assert len(result.returns) == 2 and "best can't be written: File too large" in result.not_written
    assert not list((tmp_path / "checkpoints").iterdir())
    assert keeper.evaluate(weights, Counters(), print).not_written == ""


def test_a_video_a_replay_and_a_report_of_an_error(tmp_path):
    program, _, _ = run_serial(cartpole(), 20, tmp_path)
    noise = np.random.default_rng(0).integers(0, 255, (40, 160, 160, 3), np.uint8)
    with room_bytes(20_000):
        with pytest.raises(NotWrittenError, match=r"can't write the video .*film\.mp4: File too large"):
            write_video(noise, tmp_path / "film.mp4", 30)
        with pytest.raises(NotWrittenError, match=r"replay .*shard-0 can't be written: .*File too large"):
            program.save_replay()
    passed_on = describe("the learner", NotWrittenError("no room"), tmp_path)
    assert type(passed_on) is NotWrittenError and str(passed_on) == "no room", "as it comes out of a Ray actor"
    with room_bytes(10):
        told = str(describe("an actor", RuntimeError("boom"), tmp_path))
    assert told.startswith("an actor failed: RuntimeError: boom") and "error.txt can't be written" in told
    for left in files(tmp_path):  # segments that are whole: the next snapshot need not write them again
        assert left.name.startswith("segments-") and load_file(left), "nothing half-written is left"
