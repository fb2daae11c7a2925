"""Evaluations: progress, a time limit, Ctrl-C, films."""

import _thread
import csv
import signal
from dataclasses import replace

import av
import numpy as np
import pytest

from apex_ray.agent.build import build_agent
from apex_ray.cli import main
from apex_ray.config.load import load, load_run_config
from apex_ray.envs.make import probe
from apex_ray.envs.seeds import AFTERWARDS, EVALUATION
from apex_ray.evaluation import BestKeeper, Evaluator, Progress, evaluate_run, evaluation_env
from apex_ray.learner.checkpoint import kept_best, load_policy_weights, save_best
from apex_ray.learner.learner import Learner
from apex_ray.run.training import train
from apex_ray.serial.program import SerialProgram
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Counters
from tests.apex_ray.runs import cartpole, saved
from tests.fakes import FAKES, CountingEnvs, Episode
from trainkit.config import to_yaml
from trainkit.runs import create_run

ENDLESS = {"id": "apex-tests/Counting-v0", "import_modules": ["tests.fakes"], "kwargs": {"length": 10**9}}


def no_words(text):
    raise AssertionError(text)


def test_progress_is_said_every_so_often_and_not_more(monkeypatch):
    now, said = [0.0], []
    monkeypatch.setattr("apex_ray.evaluation.time.monotonic", lambda: now[0])
    progress = Progress(said.append, 10.0)
    progress.begin("evaluation", 20, 60.0)
    stopped = []
    for second in range(0, 65, 5):
        now[0] = float(second)
        stopped.append(progress(second // 8, 1000 * second))
    assert said[:2] == ["evaluation: 1 of 20 episodes, 10,000 steps", "evaluation: 2 of 20 episodes, 20,000 steps"]
    assert len(said) == 6 and stopped == [False] * 13
    now[0] = 60.1
    assert progress(8, 1) and not progress.interrupted
    progress.begin("evaluation", 1, None)
    now[0] += 11.0
    progress(0, 1)
    assert said[-1] == "evaluation: 0 of 1 episode, 1 step"


def test_an_evaluation_without_end_is_cut_says_so_and_is_no_best(tmp_path):
    config = cartpole(env=ENDLESS, evaluation={"max_s": 0.2})
    run, learner = saved(tmp_path, config)
    keeper = BestKeeper(config, probe(config.env), run)
    result = keeper.evaluate(learner.weights(), Counters(), no_words)
    assert not result.whole and len(set(result.lengths_steps)) == 1 and result.cut_steps == result.lengths_steps[0]
    assert "evaluation.max_s = 0.2 s" in result.note and "no best" in result.note
    assert keeper._best is None


def test_a_best_that_is_kept_is_replaced_only_by_a_better_one(tmp_path):
    """By who evaluates first in a process: a resumed run, or an evaluator that was started again."""
    config = cartpole()
    run, learner = saved(tmp_path, config)
    weights = replace(learner.weights(), version=20)
    for kept, expected in ((501.0, 10), (0.0, 20)):
        save_best(run, Counters(updates=10, best_return=kept), learner.state()[0])
        BestKeeper(config, probe(config.env), run).evaluate(weights, Counters(), no_words)
        assert load_policy_weights(run, "best")[1].updates == expected


def test_ctrl_c_ends_an_evaluation_that_would_not_end(tmp_path):
    config = cartpole(env=ENDLESS, evaluation={"max_s": None})
    run, learner = saved(tmp_path, config)
    keeper, asked = BestKeeper(config, probe(config.env), run), []

    def interrupted():
        asked.append(True)
        return len(asked) > 20

    assert keeper.evaluate(learner.weights(), Counters(), no_words, interrupted) is None
    assert keeper._best is None


@pytest.mark.parametrize("asked", [False, True])
def test_a_film_that_takes_too_long_or_is_not_waited_for_leaves_the_evaluation_as_it_is(tmp_path, monkeypatch, asked):
    config = cartpole(evaluation={"video": True, "max_s": None if asked else 60.0})
    run, learner = saved(tmp_path, config)
    keeper, filming, said = BestKeeper(config, probe(config.env), run), [], []
    film = keeper._evaluator.film_best

    def film_for_ever(path, progress, max_s):
        filming.append(True)
        assert max_s == config.evaluation.max_s
        return film(path, progress, 1e-9 if max_s else None)

    monkeypatch.setattr(keeper._evaluator, "film_best", film_for_ever)
    result = keeper.evaluate(learner.weights(), Counters(), said.append, lambda: asked and bool(filming))
    assert len(result.returns) == config.evaluation.episodes and not (run / "videos" / "best.mp4").exists()
    assert load_policy_weights(run, "best")[1].best_return == result.mean_return
    why = "interrupted" if asked else "not done within evaluation.max_s = 60.0 s"
    assert said == [f"the video of the best episode was {why}: it was not written"]


def test_a_film_of_an_episode_that_was_cut_ends_there(tmp_path):
    config = cartpole(env=ENDLESS, evaluation={"max_s": 0.2})
    run, _ = saved(tmp_path, config)
    result = evaluate_run(run, config, "best", 1, tmp_path / "x.mp4")
    with av.open(str(tmp_path / "x.mp4")) as film:
        assert sum(1 for _ in film.decode(video=0)) == result.cut_steps + 1, "from the first observation on"


@pytest.mark.parametrize("size", [9, None])
def test_a_film_that_fails_does_not_end_training(tmp_path, monkeypatch, size):
    """Pictures that change their size, or whatever drawing raises: the best is kept, and the next one filmed."""
    config = cartpole(env={**ENDLESS, "kwargs": {"length": 5}}, evaluation={"video": True})
    run, learner = saved(tmp_path, config)
    keeper, said, draw = BestKeeper(config, probe(config.env), run), [], FAKES["apex-tests/Counting-v0"][0].render

    def draws(self):
        return draw(self) if self.mark.step < 3 else np.zeros((size, size, 3), np.uint8)

    monkeypatch.setattr(FAKES["apex-tests/Counting-v0"][0], "render", draws)
    result = keeper.evaluate(learner.weights(), Counters(), said.append)
    assert result.video is None and kept_best(run) == result.mean_return
    reason = "ValueError: frame 3 is uint8 [135, 135, 3], not uint8 [128, 128, 3]" if size else "TypeError: "
    assert len(said) == 1 and said[0].startswith(f"no video of the best episode: {reason}")
    assert not list((run / "videos").iterdir())
    monkeypatch.setattr(FAKES["apex-tests/Counting-v0"][0], "render", draw)
    keeper._best = -1e9
    assert keeper.evaluate(learner.weights(), Counters(), said.append).video == str(run / "videos/best.mp4")


def test_observations_outside_their_space_are_told_once_also_after_the_probes_steps(tmp_path, monkeypatch):
    """By the evaluations alone: every actor would say the same."""

    def late(self):
        return np.full(4, -1.0 if self.mark.step >= 6 else 0.0, np.float32)

    monkeypatch.setattr(FAKES["apex-tests/Counting-v0"][0], "observation", late)
    config = cartpole(env={**ENDLESS, "kwargs": {"length": 10}})
    run, learner = saved(tmp_path, config)
    spec = probe(config.env)
    told = "env.id = 'apex-tests/Counting-v0' gives observations from -1 to -1, outside its space Box"
    for notes, expected in (((), 1), (("no pictures",), 1), ((f"{told} of the probe's",), 0)):
        keeper, said = BestKeeper(config, replace(spec, notes=notes), run), []
        for _ in range(2):
            keeper.evaluate(learner.weights(), Counters(), said.append)
        assert spec.notes == () and len(said) == expected and all(line.startswith(told) for line in said)


def test_an_emulator_records_no_more_after_a_film_that_failed(tmp_path, monkeypatch):
    asked = []

    class Emulators(CountingEnvs):
        movie_suffix = ".movie"

        def record(self, index, folder):
            asked.append((index, folder is not None))

        def render(self, index):
            raise RuntimeError("no screen")

    envs = Emulators([[Episode(3)]])
    config = cartpole(env={"id": "apex-tests/Counting-v0"})
    monkeypatch.setattr("apex_ray.evaluation.make_envs", lambda *args, **kwargs: envs)
    evaluator = Evaluator(config, envs.spec, 1, record=True)
    learner = Learner(build_agent(config, envs.spec), config)
    evaluator.evaluate(learner.weights(), 0, Progress(no_words, 60.0))
    with pytest.raises(RuntimeError, match="no screen"):
        evaluator.film_best(tmp_path / "film.mp4", Progress(no_words, 60.0))
    assert asked == [(0, True), (0, False)]


def test_a_serial_run_whose_final_evaluation_has_no_end_ends(tmp_path, capsys):
    config = cartpole(env=ENDLESS, mode="serial", stop={"after_updates": 3}, evaluation={"max_s": 0.2})
    outcome = train(config, create_run(tmp_path, "x", to_yaml(config)))
    said = capsys.readouterr().out
    assert "final evaluation of 2 episodes, 0.2 s at most; Ctrl-C ends it" in said
    assert "each cut at step" in said and outcome.best_return is None and outcome.last_return is None
    rows = list(csv.DictReader((outcome.run / "evaluations.csv").open()))
    assert len(rows) == 1 and rows[0]["episodes"] == "2"


def test_evaluate_says_how_far_it_is_and_that_it_was_interrupted(tmp_path, capsys, monkeypatch):
    config = cartpole(env=ENDLESS, evaluation={"max_s": None})
    run, _ = saved(tmp_path, config)
    monkeypatch.setattr("apex_ray.evaluation.COMMAND_LINE_EVERY_S", 0.0)
    begun = Progress.__call__

    def press_ctrl_c(self, episodes, steps):
        if steps == 200:
            _thread.interrupt_main()
        return begun(self, episodes, steps)

    monkeypatch.setattr(Progress, "__call__", press_ctrl_c)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background jobs ignore it
    try:
        assert main(["evaluate", str(run)]) == 130
    finally:
        signal.signal(signal.SIGINT, before)
    error = capsys.readouterr().err
    assert "evaluation: 0 of 2 episodes, 100 steps" in error and error.endswith("interrupted: no result\n")


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_an_environment_without_pictures_trains_without_a_video(tmp_path, capsys):
    """Said before training; `record`, which is for nothing else, refuses."""
    env = {"id": "apex-tests/Raises-v0", "import_modules": ["tests.fakes"], "kwargs": {"at": 10**9}}
    env["kwargs"]["max_episode_steps"] = 20
    config = cartpole(env=env, mode="serial", stop={"after_updates": 3}, evaluation={"video": True})
    outcome = train(config, create_run(tmp_path, "x", to_yaml(config)))
    said = capsys.readouterr().out
    assert (
        said.count("'apex-tests/Raises-v0' draws no pictures (it takes no render_mode), so there can be no video") == 1
    )
    assert said.index("draws no pictures") < said.index("stopping") and outcome.best_return is not None
    assert not (outcome.run / "videos").exists()
    given = train(config.model_copy(update={"runs_dir": str(tmp_path / "more")}))
    assert load_run_config(given.run).config.evaluation.video, "the settings of the run are those that were given"
    assert main(["record", str(outcome.run)]) == 2
    assert "draws no pictures" in capsys.readouterr().err


def test_evaluations_have_a_time_limit_of_episodes_of_their_own():
    config = load("atari_paper").config
    assert (config.env.max_episode_frames, evaluation_env(config).max_episode_frames) == (50_000, 108_000)
    assert evaluation_env(load("sonic").config).max_episode_frames == 18_000


def test_seeds_of_evaluations_are_apart_from_trainings_and_from_those_afterwards(tmp_path):
    """Serial and Ray build the same parts; `evaluate` judges by other starts than those that chose the best."""
    config = cartpole()
    run, learner = saved(tmp_path, config)
    keeper = BestKeeper(config, probe(config.env), run)
    keeper.evaluate(learner.weights(), Counters(), no_words)
    assert keeper._evaluator._seed in EVALUATION
    seeds = []

    class Watched(Evaluator):
        def close(self):
            seeds.append(self._seed)
            super().close()

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("apex_ray.evaluation.Evaluator", Watched)
        evaluate_run(run, config, "best", 2, None)
    assert seeds[0] in AFTERWARDS
    spec = probe(config.env)
    program = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path)
    program.start(resume=False)
    assert all(a._envs._envs._envs[0].unwrapped.np_random_seed < EVALUATION.start for a in program._actors)
