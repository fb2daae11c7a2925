"""A run that begins with another's weights: which are taken, who has them from the start, and what is refused."""

import shutil

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.envs.classic_control.cartpole import CartPoleEnv

from apex_ray.agent.network import to_arrays
from apex_ray.cli import main
from apex_ray.config.load import load_run_config
from apex_ray.envs.make import probe
from apex_ray.learner.checkpoint import save_best
from apex_ray.learner.warm_start import read_warm_start
from apex_ray.nodes.learner_node import LearnerNode
from apex_ray.run.training import train
from apex_ray.run_files import RunPlace
from apex_ray.serial.program import SerialProgram
from apex_ray.sizes import resolve_sizes
from apex_ray.types import Counters
from tests.apex_ray.runs import cartpole, new_run, saved
from trainkit.config import to_yaml


class ThreeActions(CartPoleEnv):
    """CartPole in which one can also let go."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.action_space = spaces.Discrete(3)

    def step(self, action):
        return super().step(min(action, 1))


def like(source, seed=2, **sections):
    """A configuration that begins with the weights of `source`."""
    learner = sections.pop("learner", {}) | {"init_from": str(source)}
    stop = {"after_updates": 3}
    return cartpole(mode="serial", seed=seed, learner=learner, stop=stop, evaluation={"final": False}, **sections)


@pytest.fixture
def source(tmp_path):
    """(A run's folder, its weights), which no seed of 2 would give."""
    run, learner = saved(tmp_path / "sources", cartpole(seed=1))
    return run, to_arrays(learner.online)


def read(config):
    warm = read_warm_start(config, probe(config.env))
    assert warm is not None
    return warm


def assert_same(mine, theirs):
    assert mine.keys() == theirs.keys()
    assert all(np.array_equal(mine[name], theirs[name]) for name in mine)


def test_the_learner_and_its_actors_begin_with_them(source, tmp_path):
    run, weights = source
    config = like(run)
    spec = probe(config.env)
    program = SerialProgram(config, spec, resolve_sizes(config, spec), tmp_path)
    program.start(resume=False, warm=read(config).params)
    online, target, optimizer = program._learner.state()
    assert_same(online, weights)
    assert_same(target, weights)
    assert optimizer == {} and program._learner.updates == 0
    for process in program._processes:
        (actor,) = process.actors
        actor.start_step()
        assert actor.version == 0
        assert_same(to_arrays(process._network.network), weights)


def test_the_learner_on_ray_is_handed_them(source, tmp_path):
    """It need not see the folder that they come from."""
    run, weights = source
    config, params = like(run), read(like(run)).params
    shutil.rmtree(run)
    spec = probe(config.env)
    node = LearnerNode(config, spec, resolve_sizes(config, spec), RunPlace(new_run(tmp_path, config)))
    assert node.prepare(False, params) == Counters()
    assert_same(node._learner.weights().params, weights)
    assert_same(node._learner.state()[1], weights)


def test_the_best_are_taken_unless_others_are_named(source):
    run, weights = source
    best = {name: array + 1 for name, array in weights.items()}
    save_best(run, Counters(updates=7), best)
    for name, updates, expected in (
        ("", 7, best),
        ("checkpoints/best", 7, best),
        ("checkpoints/latest", 10, weights),
        ("checkpoints/update-000000010", 10, weights),
    ):
        warm = read(like(run / name))
        assert warm.updates == updates and warm.new == []
        assert_same(warm.params, expected)


def test_another_number_of_actions_has_a_new_last_layer_and_is_told(source):
    run, weights = source
    config = like(run, env={"make": f"{__name__}:ThreeActions"})
    warm = read(config)
    new = ["head.advantage.2.weight", "head.advantage.2.bias"]
    assert warm.new == new
    assert_same(warm.params, {name: array for name, array in weights.items() if name not in new})
    assert warm.summary.endswith(f"update 10): 8 of 10 parameters; new, since they don't fit: {', '.join(new)}")


def test_a_whole_run_says_where_it_begins_and_resumes_without_its_source(source, tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run, _ = source
    outcome = train(like("sources/latest").model_copy(update={"runs_dir": str(tmp_path / "runs")}))
    told = f"weights of {run / 'checkpoints' / 'best'} (update 10): 10 of 10 parameters; all fit"
    assert told in " ".join(capsys.readouterr().out.split())
    config = load_run_config(outcome.run).config
    assert config.learner.init_from == str(run / "checkpoints" / "best"), "latest is another one tomorrow"
    shutil.rmtree(run)
    longer = config.model_copy(update={"stop": config.stop.model_copy(update={"after_updates": 5})})
    train(longer, outcome.run, resume=True)
    out = capsys.readouterr().out
    assert "going on from update-000000003" in out and "weights of" not in out


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["learner.init_from={run}x"], "learner.init_from: run folder '{run}x' does not exist"),
        (["learner.init_from={run}/checkpoints/nine"], "no checkpoint 'nine'; expected one of best, latest, update-0"),
        (["learner.init_from={run}/checkpoints"], "'{run}/checkpoints' is no run folder"),
        (
            ["learner.init_from={run}", "network.mlp_layers=[32]"],
            "no layer of torso in {run}/checkpoints/best fits this network (torso.layers.0.weight is [16, 4] there, "
            "[32, 4] here)",
        ),
        # The first layer's bias has the same shape, which is no use without its weights.
        (["learner.init_from={run}", "env.frame_stack=2"], "no layer of torso"),
        (["learner.init_from={run}/checkpoints/update-000000010"], "is damaged (online.safetensors is not as it was"),
    ],
)
def test_what_can_not_be_begun_with_is_refused_at_once(source, tmp_path, capsys, words, told):
    run, _ = source
    (run / "checkpoints" / "update-000000010" / "online.safetensors").write_bytes(b"not weights")
    preset, runs = tmp_path / "mine.yaml", tmp_path / "runs"
    preset.write_text(to_yaml(cartpole(runs_dir=str(runs))))
    assert main(["train", str(preset), *(word.format(run=run) for word in words)]) == 2
    out, err = capsys.readouterr()
    assert out == "" and err.startswith("error: ") and err.count("\n") == 1
    assert told.format(run=run) in err and not runs.exists()
