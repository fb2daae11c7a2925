"""Going on with a run: what may change does and is told, what may not is refused, and what diverged is left behind."""

import json

import numpy as np
import pytest
from safetensors.numpy import load_file

from apex_ray.agent.build import build_agent
from apex_ray.cli import main
from apex_ray.config.load import load_run_config
from apex_ray.config.resume import FIXED, FREE, STORED, changes, refuse
from apex_ray.config.schema import StopConfig
from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import load_checkpoint, load_policy_weights, save_best, save_checkpoint
from apex_ray.learner.learner import Learner
from apex_ray.parts import build_actors
from apex_ray.run.limits import met_before
from apex_ray.run.training import train
from apex_ray.serial.program import SerialProgram
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Counters
from tests.apex_ray.runs import cartpole
from trainkit.config import flatten, load_config, to_yaml
from trainkit.errors import UserError
from trainkit.runs import create_run

SERIAL = {"mode": "serial", "actors": {"count": 1}, "evaluation": {"final": False}}


def with_(config, **sections):
    """The configuration with other values in some sections."""
    parts = {name: getattr(config, name).model_copy(update=values) for name, values in sections.items()}
    return config.model_copy(update=parts)


@pytest.fixture
def run(tmp_path):
    """One that has stopped, without having been played: 50 updates in 61 seconds."""
    config = cartpole(**SERIAL, stop={"after_updates": 60})
    folder = create_run(tmp_path, "run", to_yaml(config))
    counters = Counters(updates=50, frames=900, time_s=61.0, best_return=20.5, generation=1)
    save_checkpoint(folder, counters, *Learner(build_agent(config, probe(config.env)), config).state(), keep=2)
    return folder


def files(folder):
    return {p: p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_every_setting_is_decided_once():
    keys = list(flatten(cartpole()))
    decided = [*FIXED, *STORED, *FREE]
    assert sorted(decided) == sorted(keys)


@pytest.mark.parametrize(
    ("word", "part"),
    [
        ("env.id=Acrobot-v1", "env.id CartPole-v1 -> Acrobot-v1 ("),
        ("network.hidden=8", "network.hidden 16 -> 8 (the weights are of that network)"),
        ("learner.optimizer=rmsprop", "learner.optimizer adam -> rmsprop (its running means are of the other kind)"),
        ("seed=2", "seed 1 -> 2 ("),
    ],
)
def test_what_may_not_change_is_refused_before_anything_starts(run, capsys, word, part):
    before = files(run)
    assert main(["train", "--resume", str(run), word, "learner.learning_rate=1e-4"]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: command line: --resume can't change ") and err.count("\n") == 1
    assert part in err and "learning_rate" not in err
    assert files(run) == before


def test_settings_of_stored_transitions_are_refused_while_a_replay_is_there(run, capsys):
    (run / "replay").mkdir()
    assert main(["train", "--resume", str(run), "td.n_step=5", "td.discount=0.9", "network.dueling=false"]) == 2
    err = capsys.readouterr().err
    for part in (
        "network.dueling true -> false",
        "nor td.n_step 3 -> 5 (stored windows",
        "nor td.discount 0.99 -> 0.9",
    ):
        assert part in err
    assert f"remove {run / 'replay'} to go on with an empty replay" in err


def test_every_refusal_has_both_values():
    """Each setting alone, changed to anything else."""
    old = cartpole()
    for key in [*FIXED, *STORED]:
        changed = {key: (flatten(old)[key], "another")}
        with pytest.raises(UserError, match=rf"{key} .* -> another \(.+\)"):
            refuse(changed, "replay")
    refuse({key: (1, 2) for key in STORED}, None)
    refuse({key: (1, 2) for key in FREE}, "replay")
    assert changes(old, old) == {}


def test_what_may_change_changes_is_kept_and_told(run, capsys):
    old = load_run_config(run).config
    new = with_(old, learner={"learning_rate": 1e-5, "epsilon": 1e-3}, checkpoint={"keep": 5})
    outcome = train(new, run, resume=True)
    assert "after_updates" in outcome.reason
    told = [line for line in capsys.readouterr().out.splitlines() if "changed on resume" in line]
    assert len(told) == 1
    assert told[0].endswith(
        "changed on resume: learner.learning_rate 0.001 -> 1.0e-05, learner.epsilon 1.5e-07 -> 0.001, "
        "checkpoint.keep 2 -> 5"
    )
    saved = load_checkpoint(run)
    assert saved.counters.updates >= 60 and saved.counters.generation == 2
    for file in (run / "config.yaml", saved.path / "config.yaml"):
        assert load_config(type(new), run, file).config == new
    assert "learning_rate: 0.001" in (run / "checkpoints" / "update-000000050" / "config.yaml").read_text()
    [line] = [json.loads(line) for line in (run / "resumes.jsonl").read_text().splitlines()]
    assert line["checkpoint"] == "update-000000050"
    assert line["changed"]["learner.learning_rate"] == [0.001, 1e-5]


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_the_optimizer_goes_on_with_the_new_rate(tmp_path, optimizer):
    config = cartpole(**SERIAL, learner={"optimizer": optimizer, "learning_rate": 1e-3})
    sizes = resolve_sizes(config, probe(config.env))
    program = SerialProgram(config, probe(config.env), sizes, tmp_path)
    program.start(resume=False)
    while not program._learner.updates:
        program.work()
    program.save(Counters())
    again = SerialProgram(
        with_(config, learner={"learning_rate": 1e-6, "epsilon": 0.5}), probe(config.env), sizes, tmp_path
    )
    again.start(resume=True)
    (group,) = again._learner.optimizer.param_groups
    assert (group["lr"], group["eps"]) == (1e-6, 0.5)
    before, after = program._learner.state()[2], again._learner.state()[2]
    assert before and before.keys() == after.keys() and all(np.array_equal(before[k], after[k]) for k in before)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("stop.after_s=60", ["stop.after_s = 60 (61 seconds of training)", "such as stop.after_s=122 or"]),
        ("stop.after_frames=900", ["stop.after_frames = 900 (900 frames)", "stop.after_frames=1800 or"]),
        ("stop.after_updates=50", ["stop.after_updates = 50 (50 updates)", "stop.after_updates=100 or"]),
        ("stop.evaluation_return=20", ["stop.evaluation_return = 20 (an evaluation of 20.50)"]),
    ],
)
def test_a_limit_that_the_run_has_reached_is_refused(run, capsys, word, parts):
    before = files(run)
    assert main(["train", "--resume", str(run), word]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.count("error: ") == 1
    for part in [f"run {str(run)!r} has reached", *parts, f"{word.partition('=')[0]}=null for no limit"]:
        assert part in err
    assert files(run) == before


def test_a_limit_is_told_to_its_last_digit():
    stop, counters = StopConfig(after_s=1_234_567.5, after_updates=1_234_567), Counters(time_s=2e6, updates=1_234_567)
    (seconds, more), (updates, _) = met_before(stop, counters)
    assert seconds == "stop.after_s = 1,234,567.5 (2,000,000 seconds of training)" and more == "stop.after_s=4000000"
    assert updates == "stop.after_updates = 1,234,567 (1,234,567 updates)"


def everything_finite(run):
    found = list((run / "checkpoints").rglob("*.safetensors")) if (run / "checkpoints").exists() else []
    return all(np.isfinite(array).all() for file in found for array in load_file(file).values())


def test_a_run_that_diverges_saves_nothing_of_it(tmp_path, capsys):
    config = cartpole(**SERIAL, learner={"learning_rate": 1e30}, stop={"after_updates": 500})
    run = create_run(tmp_path, "run", to_yaml(config))
    with pytest.raises(UserError, match=r"learning diverged at update \d.*lower learner.learning_rate \(1e\+30\)"):
        train(config, run)
    assert not list(run.glob("checkpoints/*")), "there was nothing worth keeping"
    assert "what diverged is not saved, and none was written before" in capsys.readouterr().out


def test_a_run_that_diverges_keeps_its_good_checkpoints_and_goes_on_from_them(run, capsys):
    good = files(run / "checkpoints")
    config = load_run_config(run).config
    for _ in range(3):  # more often than checkpoints are kept
        with pytest.raises(UserError, match="learning diverged"):
            train(with_(config, learner={"learning_rate": 1e30}, checkpoint={"keep": 1}), run, resume=True)
        assert files(run / "checkpoints") == good
    assert f"the last one is update-000000050: apex-ray train --resume {run}" in capsys.readouterr().out
    train(with_(config, learner={"learning_rate": 1e-3}), run, resume=True)
    assert load_checkpoint(run).counters.updates >= 60 and everything_finite(run)


def test_a_damaged_newest_checkpoint_is_told_and_the_one_before_used(run, capsys):
    config = load_run_config(run).config
    state = Learner(build_agent(config, probe(config.env)), config).state()
    newest = save_checkpoint(run, Counters(updates=55, time_s=1.0), *state, keep=2)
    with (newest / "optimizer.safetensors").open("ab") as file:
        file.write(b"!")
    train(config, run, resume=True)
    out = capsys.readouterr().out
    assert "checkpoint update-000000055 can't be used, kept as damaged-update-000000055: optimizer.safetensors" in out
    assert "going on from update-000000050" in out
    assert load_checkpoint(run).counters.updates >= 60 and (run / "checkpoints/damaged-update-000000055").is_dir()


def test_a_resumed_run_does_not_replace_a_better_best(run, capsys):
    """The final evaluation's, which is later than the last checkpoint."""
    config = with_(load_run_config(run).config, evaluation={"final": True})
    save_best(
        run, Counters(updates=50, best_return=501.0), Learner(build_agent(config, probe(config.env)), config).state()[0]
    )
    outcome = train(config, run, resume=True)
    assert outcome.last_return < 501.0 == outcome.best_return
    assert load_policy_weights(run, "best")[1].updates == 50


def test_no_two_processes_of_a_run_have_the_same_seed():
    """An actor that was started again, and the first of a resumed run, with one actor or more."""
    config = cartpole(actors={"count": 1, "envs_per_actor": 2})
    spec = probe(config.env)
    agent = build_agent(config, spec)
    seen = set()
    for index in (0, 1):
        for generation in range(3):
            for restarts in range(3):
                (actor,) = build_actors(config, spec, agent, index, 2, (None, None), generation, restarts)
                seen.add(actor._observations["frames"].tobytes())
                actor.close()
    assert len(seen) == 2 * 3 * 3
