"""A run that its caller drives turn by turn, beside what `train` makes of it by itself."""

import json

import pytest

from apex_ray.learner.checkpoint import load_checkpoint
from apex_ray.replay.snapshots import saved_shards
from apex_ray.run.hooks import Hooks
from apex_ray.run.training import prepare, running, train
from tests.apex_ray.runs import cartpole, rows_of
from trainkit.errors import UserError
from trainkit.run_record import FAILED, FINISHED, state_of

pytestmark = pytest.mark.timeout(300)


def driven(tmp_path, mode, **sections):
    config = cartpole(mode=mode, runs_dir=str(tmp_path), **sections)
    return running(prepare(config, None, False, {}), Hooks())


def until(run, key, count):
    """Turns until a row's `key` has come to `count`: that row."""
    while (row := run.report())[key] < count:
        assert run.turn() is None
    return row


@pytest.mark.parametrize("mode", ["serial", "ray"])
def test_a_caller_sets_the_pace_and_the_run_goes_on_from_where_it_left_it(tmp_path, mode):
    with driven(tmp_path, mode, evaluation={"final": False}) as run:
        row = until(run, "updates", 30)
        assert rows_of(run.folder)[-1]["updates"] == row["updates"]
        result = run.evaluate()
        assert len(result.returns) == 2 and run.evaluate().version >= result.version
        saved = run.save(replay=True)
        assert saved_shards(run.folder) and (run.folder / "serial.safetensors").exists() == (mode == "serial")
        later = until(run, "updates", json.loads((saved / "counters.json").read_text())["updates"] + 10)
        outcome = run.finish("enough")
    assert state_of(run.folder) == (FINISHED, "enough") and outcome.last_return is not None
    at_end = load_checkpoint(run.folder).counters
    assert at_end.updates >= later["updates"]

    config = cartpole(mode=mode, runs_dir=str(tmp_path), stop={"after_updates": at_end.updates + 20})
    assert train(config, run.folder, resume=True).reason.startswith("stop.after_updates")


def test_a_limit_is_told_at_every_turn(tmp_path):
    with driven(tmp_path, "serial", stop={"after_updates": 20}) as run:
        reasons = [run.turn() for _ in range(2)]
        assert reasons == ["stop.after_updates = 20"] * 2
        run.finish(reasons[0])
    assert load_checkpoint(run.folder).counters.updates == 20


def test_an_error_in_a_turn_saves_what_was_learned(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="broken"), driven(tmp_path, "serial") as run:
        until(run, "updates", 5)

        def breaks():
            raise UserError("broken")

        monkeypatch.setattr(run._system, "work", breaks)
        run.turn()
    assert load_checkpoint(run.folder).counters.updates >= 5
    assert state_of(run.folder) == (FAILED, "broken")
