"""Every preset loads, round-trips and explains each of its keys; atari_paper is the paper."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from apex_ray.config.load import PRESETS, load, load_run_config, presets
from apex_ray.config.schema import ApexConfig
from trainkit.config import load_config, to_yaml
from trainkit.runs import create_run

# Horgan et al. 2018: sections 3.1, 4.1 and the appendix on the Atari implementation.
PAPER = {
    "env.frame_skip": 4,
    "env.frame_stack": 4,
    "env.image_size": 84,
    "env.noop_max": 30,
    "env.max_episode_frames": 50_000,
    "evaluation.max_episode_frames": 108_000,
    "env.terminal_on_life_loss": False,
    "td.n_step": 3,
    "td.discount": 0.99,
    "td.reward_clip": 1.0,
    "td.double_q": True,
    "network.conv_channels": (32, 64, 64),
    "network.conv_kernels": (8, 4, 3),
    "network.conv_strides": (4, 2, 1),
    "network.hidden": 512,
    "network.dueling": True,
    "actors.count": 360,
    "actors.envs_per_actor": 1,
    "actors.epsilon_base": 0.4,
    "actors.epsilon_alpha": 7.0,
    "actors.chunk_transitions": 50,
    "actors.weights_every_steps": 400 // 4,
    "replay.capacity_transitions": 2_000_000,
    "replay.min_transitions": 50_000,
    "replay.alpha": 0.6,
    "replay.beta": 0.4,
    "replay.samples_per_insert": None,
    "learner.batch_size": 512,
    "learner.optimizer": "rmsprop",
    "learner.learning_rate": 0.00025 / 4,
    "learner.rmsprop_decay": 0.95,
    "learner.epsilon": 1.5e-7,
    "learner.max_grad_norm": 40.0,
    "learner.huber_delta": None,
    "learner.target_every_updates": 2_500,
    "learner.prefetch_batches": 16,
}

# Kapturowski et al. 2019: section 2.3 and table 2.
R2D2 = {
    "td.n_step": 5,
    "td.discount": 0.997,
    "td.reward_clip": None,
    "td.value_rescaling": 1e-3,
    "network.memory": "lstm",
    "sequences.burn_in_steps": 40,
    "sequences.length_steps": 80,
    "sequences.period_steps": 40,
    "sequences.eta": 0.9,
    "actors.count": 256,
    "actors.weights_every_steps": 400,
    "replay.capacity_transitions": 4_000_000,
    "replay.alpha": 0.9,
    "replay.beta": 0.6,
    "learner.batch_size": 64,
    "learner.optimizer": "adam",
    "learner.learning_rate": 1e-4,
    "learner.epsilon": 1e-3,
    "learner.target_every_updates": 2_500,
}

# Clark et al. 2024 (arXiv 2411.03820): table of hyperparameters, and the code that it links to.
BTR = {
    "td.objective": "implicit",
    "td.objective_kwargs": {"quantiles": 8, "cosines": 64},
    "td.n_step": 3,
    "td.discount": 0.997,
    "td.munchausen": 0.9,
    "td.munchausen_temperature": 0.03,
    "td.munchausen_clip": -1.0,
    "network.torso": "impala",
    "network.torso_kwargs": {"width": 2, "pool": 6, "spectral_norm": True},
    "network.hidden": 512,
    "network.noisy": True,
    "network.dueling": True,
    "actors.count": 64 // 16,
    "replay.capacity_transitions": 2**20,
    "replay.min_transitions": 200_000,
    "replay.alpha": 0.2,
    "replay.beta_schedule": ((0, 0.4), ((200_000_000 // 4 - 200_000) // 64, 1.0)),
    "replay.samples_per_insert": 256 / 64,
    "learner.batch_size": 256,
    "learner.learning_rate": 1e-4,
    "learner.epsilon": pytest.approx(0.005 / 256, rel=0.01),
    "learner.target_every_updates": 500,
}

# Hessel et al. 2018: table 1, frames over 4 as agent steps.
RAINBOW = {
    "td.objective": "categorical",
    "td.objective_kwargs": {"atoms": 51, "low": -10.0, "high": 10.0},
    "td.n_step": 3,
    "td.discount": 0.99,
    "td.double_q": True,
    "network.dueling": True,
    "network.noisy": True,
    "replay.min_transitions": 80_000 // 4,
    "replay.alpha": 0.5,
    "replay.beta_schedule": ((0, 0.4), (200_000_000 // 4 // 4, 1.0)),
    "replay.samples_per_insert": 32 / 4,
    "learner.batch_size": 32,
    "learner.learning_rate": 6.25e-5,
    "learner.epsilon": 1.5e-4,
    "learner.target_every_updates": 32_000 // 4 // 4,
}


def test_the_presets_are_these() -> None:
    assert presets() == [
        "airstriker",
        "atari",
        "atari_cpu",
        "atari_impala",
        "atari_paper",
        "atari_r2d2",
        "btr",
        "cartpole",
        "cartpole_masked",
        "cartpole_quantile",
        "gym",
        "minatar",
        "pong",
        "pong_lstm",
        "pong_wavenet",
        "rainbow",
        "sonic",
        "sonic_contest",
        "tmaze",
    ]


@pytest.mark.parametrize("name", presets())
def test_preset_loads_and_round_trips(name: str, tmp_path: Path) -> None:
    config = load(name).config
    run = create_run(tmp_path, config.name, to_yaml(config))
    assert load_run_config(run).config == config
    assert load_run_config(run, ["seed=77"]).config.seed == 77


@pytest.mark.parametrize("name", presets())
def test_every_key_has_a_comment(name: str) -> None:
    path = PRESETS / f"{name}.yaml"
    lines = path.read_text().splitlines()
    bare = [line for line, above in _leaf_lines(yaml.compose(path.read_text()), lines) if "#" not in line + above]
    assert bare == []
    assert lines[0].startswith("# ")
    assert [line for line in lines if len(line) > 120] == []


def _leaf_lines(node: yaml.MappingNode, lines: list[str]) -> list[tuple[str, str]]:
    """(line, the line above if it is a comment) of every key that holds a value."""
    found = []
    for key, value in node.value:
        number = key.start_mark.line
        if isinstance(value, yaml.MappingNode) and value.value:
            found += _leaf_lines(value, lines)
        else:
            above = lines[number - 1] if number else ""
            found.append((lines[number], above if above.strip().startswith("#") else ""))
    return found


@pytest.mark.parametrize(
    ("preset", "paper"), [("atari_paper", PAPER), ("atari_r2d2", R2D2), ("btr", BTR), ("rainbow", RAINBOW)]
)
def test_a_paper_s_preset_is_the_paper(preset: str, paper: dict[str, object]) -> None:
    config = load(preset).config
    ours = {}
    for key in paper:
        section, name = key.split(".")
        ours[key] = getattr(getattr(config, section), name)
    assert ours == paper


def test_atari_paper_writes_every_key_down() -> None:
    loaded = load("atari_paper")
    assert [key for key, source in loaded.sources.items() if source == "default"] == []


def test_atari_presets_keep_the_algorithm_of_the_paper() -> None:
    paper = load("atari_paper").config
    for name in ("atari", "pong"):
        config = load(name).config
        assert config.td == paper.td
        assert (config.replay.alpha, config.replay.beta) == (0.6, 0.4)
        assert (config.actors.epsilon_base, config.actors.epsilon_alpha) == (0.4, 7.0)


def test_gym_takes_any_environment() -> None:
    loaded = load_config(ApexConfig, PRESETS, "gym", ["env.id=LunarLander-v3", "env.kwargs.gravity=-5"])
    assert loaded.config.env.id == "LunarLander-v3"
    assert loaded.config.env.kwargs == {"gravity": -5}
