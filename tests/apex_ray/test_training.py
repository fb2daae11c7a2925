"""The loop around a system: what it shows of a row, and what it leaves out when a checkpoint finds no room."""

import threading

import pytest

from apex_ray import train
from apex_ray.envs.make import probe
from apex_ray.report.loggers import Loggers
from apex_ray.report.writer import MetricsWriter
from apex_ray.run.hooks import Hooks
from apex_ray.run.loop import Run
from apex_ray.run.telling import Telling
from apex_ray.types import Counters
from tests.apex_ray.runs import cartpole
from trainkit.errors import NotWrittenError, UserError

ROW = {"time_s": 1.0, "frames": 30, "episodes": 2, "updates": 7}


class System:
    """Has made seven updates, and all the room it may have."""

    counters = Counters()
    evaluating = False

    def __init__(self, run, room=True):
        self._run, self._room, self.replay_saved = run, room, False

    def row(self):
        return dict(ROW)

    def save(self, counters):
        if not self._room:
            raise NotWrittenError("no room")
        return self._run / "checkpoints" / "update-000000007", 7

    def save_replay(self):
        self.replay_saved = True

    start_snapshot = save_replay

    def watch(self, timeout_s):
        return True

    def checkpoint_wanted(self):
        return False

    def episode_rows(self):
        return []

    def publish(self, row): ...

    def rest(self):
        return 7

    def end_actors(self): ...

    def poll_evaluation(self): ...


class Shown:
    """A console."""

    def __init__(self):
        self.rows, self.events = [], []

    def update(self, row, last=False):
        self.rows.append(dict(row))

    def event(self, text):
        self.events.append(text)


@pytest.fixture
def writer(tmp_path):
    with MetricsWriter(tmp_path, resume=False) as writer:
        yield writer


def bookkeeping(folder, system, writer):
    config = cartpole(mode="serial", stop={"after_updates": 7}, evaluation={"final": False})
    shown = Shown()
    loggers = Loggers(config, folder, False, shown.event)
    telling = Telling(config, probe(config.env), folder, folder, shown, writer, loggers, Hooks(), here=True)
    return Run(config, system, telling, lambda: False), shown


def test_the_memory_that_a_row_has_is_shown(tmp_path, writer):
    run, shown = bookkeeping(tmp_path, System(tmp_path), writer)
    run._report()
    run._telling.sample_memory(0.0)
    run._report()
    assert "resident_bytes" not in shown.rows[0] and shown.rows[1]["resident_bytes"] > 2**20


@pytest.mark.parametrize("room", [True, False])
def test_a_replay_is_saved_with_its_checkpoint_or_not_at_all(tmp_path, writer, room):
    """What was saved with an earlier checkpoint stays as it is."""
    system = System(tmp_path, room)
    run, shown = bookkeeping(tmp_path, system, writer)
    if room:
        run.until_stopped()
    else:
        with pytest.raises(NotWrittenError, match="no room"):
            run.until_stopped()
    assert system.replay_saved == room and ("no final checkpoint: no room" in shown.events) != room


def test_going_on_without_a_run_is_refused(tmp_path):
    with pytest.raises(UserError, match="resume = True, but run is None"):
        train(cartpole(runs_dir=str(tmp_path)), resume=True)
    assert not list(tmp_path.iterdir())


def test_several_runs_go_on_at_once_in_threads(tmp_path):
    """As in a notebook: signals are the main thread's, everything else is each run's own."""
    outcomes = {}

    def run(seed):
        config = cartpole(
            mode="serial", seed=seed, name=f"run{seed}", runs_dir=str(tmp_path), stop={"after_updates": 20}
        )
        outcomes[seed] = train(config)

    threads = [threading.Thread(target=run, args=(seed,)) for seed in (1, 2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {seed: outcome.reason for seed, outcome in outcomes.items()} == dict.fromkeys(
        (1, 2), "stop.after_updates = 20"
    )
    assert outcomes[1].run != outcomes[2].run and len(list(tmp_path.iterdir())) == 2
