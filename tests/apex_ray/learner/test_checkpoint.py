"""Only what is whole and finite is saved and loaded: any damage is found and named, and the checkpoint before used."""

import json

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file, save_file

from apex_ray.agent.build import build_agent
from apex_ray.learner.checkpoint import (
    kept_best,
    load_checkpoint,
    load_policy_weights,
    note_resume,
    save_best,
    save_checkpoint,
    set_aside,
)
from apex_ray.learner.learner import Learner
from apex_ray.types import Counters, EnvSpec
from tests.apex_ray.learner.test_learner import make_batch, make_config, make_learner
from trainkit.errors import NotWrittenError, UserError
from trainkit.manifest import seal

FILES = (
    "online.safetensors",
    "target.safetensors",
    "optimizer.safetensors",
    "counters.json",
    "config.yaml",
    "metrics.jsonl",
    "manifest.json",
)


def trained(**settings):
    learner = make_learner(optimizer="adam", **settings)
    learner.update(make_batch(np.random.default_rng(0)))
    return learner


def saved(run, *updates):
    """A run with checkpoints after so many updates; the folder of the last."""
    for name in ("config.yaml", "metrics.jsonl"):
        (run / name).write_text(f"of {name}\n")
    state = trained().state()
    return [save_checkpoint(run, Counters(updates=u), *state, keep=3) for u in updates][-1]


@pytest.mark.parametrize("at", [0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_is_found_and_the_checkpoint_before_is_used(tmp_path, name, at):
    newest = saved(tmp_path, 10, 20)
    data = bytearray((newest / name).read_bytes())
    data[int(at * (len(data) - 1))] ^= 1 << 3
    (newest / name).write_bytes(data)
    found = load_checkpoint(tmp_path)
    assert found.path.name == "update-000000010" and found.counters.updates == 10
    [(path, why)] = found.unusable.items()
    assert path == newest and f"{name} is not as it was written" in why


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_found(tmp_path, name):
    newest = saved(tmp_path, 10, 20)
    (newest / name).unlink()
    found = load_checkpoint(tmp_path)
    assert found.path.name == "update-000000010" and f"{name} is missing" in found.unusable[newest]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("updates", "20"),
        ("updates", 20.0),
        ("updates", True),
        ("updates", -1),
        ("frames", None),
        ("time_s", "1"),
        ("best_return", "18"),
        ("best_return", True),
        ("generation", [1]),
        ("more", 1),
    ],
)
def test_counters_of_a_wrong_type(tmp_path, key, value):
    newest = saved(tmp_path, 10, 20)
    counters = json.loads((newest / "counters.json").read_text())
    (newest / "counters.json").write_text(json.dumps({**counters, key: value}))
    seal(newest)
    found = load_checkpoint(tmp_path)
    assert found.path.name == "update-000000010"
    assert found.unusable[newest].startswith("counters.json") and key in (found.unusable[newest] + "more")
    with pytest.raises(UserError, match=r"update-000000020 is damaged \(counters.*the others are update-000000010"):
        load_policy_weights(tmp_path, "latest")


@pytest.mark.parametrize("file", ["online.safetensors", "target.safetensors", "optimizer.safetensors"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_not_finite_is_neither_saved_nor_loaded(tmp_path, file, value):
    newest = saved(tmp_path, 10, 20)
    state = list(trained().state())
    part = FILES.index(file)
    state[part] = {**state[part], "head.value.0.bias": np.full(6, value, np.float32)}
    with pytest.raises(NotWrittenError, match=rf"head.value.0.bias of {file} is not finite"):
        save_checkpoint(tmp_path, Counters(updates=30), *state, keep=1)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["update-000000010", "update-000000020"], "nothing is deleted and nothing half-written left"
    # one that another program made
    save_file({**load_file(newest / file), "head.value.0.bias": np.full(6, value, np.float32)}, newest / file)
    seal(newest)
    found = load_checkpoint(tmp_path)
    assert found.path.name == "update-000000010" and f"of {file} is not finite" in found.unusable[newest]


def test_the_best_is_never_replaced_by_what_is_not_finite(tmp_path):
    weights = trained().weights().params
    save_best(tmp_path, Counters(updates=1), weights)
    with pytest.raises(NotWrittenError, match="not finite"):
        save_best(tmp_path, Counters(updates=2), {**weights, "head.value.0.bias": np.full(6, np.nan)})
    assert load_policy_weights(tmp_path, "best")[1].updates == 1


def test_the_return_to_beat_is_that_of_the_best_that_is_kept(tmp_path):
    """A run's last evaluation comes after its last checkpoint, which knows of an earlier best only."""
    saved(tmp_path, 10)
    assert kept_best(tmp_path) is None and load_checkpoint(tmp_path).counters.best_return is None
    save_checkpoint(tmp_path, Counters(updates=20, best_return=5.0), *trained().state(), keep=3)
    assert load_checkpoint(tmp_path).counters.best_return == 5.0, "all that is known"
    for kept in (0.0, 9.0, -3.0):  # also lower: a best that found no room on the disk is none to beat
        path = save_best(tmp_path, Counters(updates=20, best_return=kept), trained().weights().params)
        assert kept_best(tmp_path) == load_checkpoint(tmp_path).counters.best_return == kept
    with (path / "online.safetensors").open("ab") as file:
        file.write(b"!")
    assert kept_best(tmp_path) is None and load_checkpoint(tmp_path).counters.best_return == 5.0


def test_saving_the_best_leaves_a_checkpoint_that_another_process_writes(tmp_path):
    under_way = tmp_path / "checkpoints" / ".update-000000030.partial"
    under_way.mkdir(parents=True)
    save_best(tmp_path, Counters(), trained().weights().params)
    assert under_way.is_dir()
    saved(tmp_path, 40)
    assert not under_way.exists(), "who writes checkpoints clears what an earlier process left"


def test_an_unusable_checkpoint_is_kept_but_does_not_count_as_one_to_keep(tmp_path):
    newest = saved(tmp_path, 10, 20)
    (newest / "config.yaml").write_text("changed\n")
    aside = set_aside(load_checkpoint(tmp_path))
    assert list(aside) == ["update-000000020"]
    state = trained().state()
    for updates in (12, 14):
        save_checkpoint(tmp_path, Counters(updates=updates), *state, keep=2)
    names = sorted(p.name for p in (tmp_path / "checkpoints").iterdir())
    assert names == ["damaged-update-000000020", "update-000000012", "update-000000014"]
    assert load_checkpoint(tmp_path).path.name == "update-000000014"


def test_resumes_that_saved_nothing_count_for_the_seeds(tmp_path):
    saved(tmp_path, 10)
    for generation in (1, 2):
        note_resume(tmp_path, "update-000000010", {})
        assert load_checkpoint(tmp_path).counters.generation == generation


def test_diverged_weights_are_not_shown_to_actors_nor_saved():
    """The step itself, of a finite loss, has made them so."""
    learner = trained(learning_rate=1e38)
    for _ in range(3):
        for parameter in learner.online.parameters():
            parameter.data *= 1e30
    for asked in (learner.weights, learner.state):
        with pytest.raises(UserError, match=r"diverged at update 1: .* is not finite; lower learner.learning_rate"):
            asked()


def test_once_diverged_nothing_is_saved_though_it_may_be_finite():
    learner, batch = trained(), make_batch(np.random.default_rng(1))
    batch.fields["returns"][0] = np.inf
    for _ in range(2):
        with pytest.raises(UserError, match="diverged at update"):
            learner.update(batch)
    learner.online.load_state_dict(make_learner().online.state_dict())
    with pytest.raises(UserError, match="diverged at update"):
        learner.state()


IMAGES = EnvSpec.of_frames("images", (36, 36), "uint8", 2, 3, 4)


@pytest.mark.parametrize("optimizer", ["adam", "rmsprop"])
def test_the_optimizers_tensors_go_on_bit_for_bit_with_new_settings(tmp_path, optimizer):
    """In the memory layout (channels last) that the optimizer itself gives them; rate and epsilon are the new ones."""
    config = make_config(optimizer=optimizer, learning_rate=1e-3)
    config = config.model_copy(update={"network": config.network.model_copy(update={"torso": "conv"})})

    def step(learner, seed):
        generator = torch.Generator().manual_seed(seed)
        for p in learner.online.parameters():
            p.grad = torch.empty_like(p).copy_(torch.randn(p.shape, generator=generator))
        learner.optimizer.step()

    whole = Learner(build_agent(config, IMAGES), config)
    step(whole, 1)
    save_checkpoint(tmp_path, Counters(updates=1), *whole.state(), keep=1)
    kept, changed = (
        config.learner.model_copy(update=update) for update in ({}, {"learning_rate": 1e-6, "epsilon": 1e-2})
    )
    agent = build_agent(config, IMAGES)
    same, other = (Learner(agent, config.model_copy(update={"learner": part})) for part in (kept, changed))
    found = load_checkpoint(tmp_path)
    for learner in (same, other):
        learner.load_state(found.online, found.target, found.optimizer, 1)
    assert (other.optimizer.param_groups[0]["lr"], other.optimizer.param_groups[0]["eps"]) == (1e-6, 1e-2)
    for mine, theirs in zip(whole.online.parameters(), same.online.parameters(), strict=True):
        for name, value in whole.optimizer.state[mine].items():
            assert value.stride() == same.optimizer.state[theirs][name].stride(), name
    step(whole, 2), step(same, 2), step(other, 2)
    for a, b, c in zip(*(learner.online.parameters() for learner in (whole, same, other)), strict=True):
        assert torch.equal(a, b) and not torch.equal(a, c)
