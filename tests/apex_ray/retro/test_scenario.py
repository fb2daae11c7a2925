"""Rewards and ends read from variables equal what stable-retro makes of the same frames, by the real emulator."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from apex_ray.retro import games
from apex_ray.retro.emulator import Emulator
from apex_ray.retro.scenario import Scenario
from tests.apex_ray.retro.config import game

AIRSTRIKER = game("retro/Airstriker-Genesis", reward="scenario")
RICH = {  # rises and falls of several variables, a nested end
    "reward": {
        "variables": {
            "score": {"reward": 2.5, "penalty": 0.5},
            "lives": {"penalty": 100.0},
            "gameover": {"reward": -7.0},
        }
    },
    "done": {
        "condition": "any",
        "variables": {"gameover": {"op": "equal", "reference": 1}},
        "nodes": {"n": {"condition": "all", "variables": {"lives": {"op": "zero"}, "score": {"op": "positive"}}}},
    },
}


def scenario(folder: Path, rules: object) -> Path:
    path = folder / "scenario.json"
    path.write_text(json.dumps(rules))
    return path


@pytest.fixture
def game():
    task = games.task(AIRSTRIKER)
    return task.games["Airstriker-Genesis-v0"], task.stages[0]


def test_frame_for_frame_what_stable_retro_says(game, tmp_path):
    """Both on one console: first ours, from memory as it is, then stable-retro's from its copies of it."""
    held, stage = game
    emulator = Emulator(replace(held, scenario=str(scenario(tmp_path, RICH))))
    try:
        emulator.start(stage)
        rng = np.random.default_rng(3)
        ours, theirs, ends = [], [], []
        for frame in range(5_000):
            if frame % 8 == 0:
                pressed = ("B", "LEFT", "RIGHT")[rng.integers(3)]
                emulator.press(np.array([name == pressed for name in emulator.buttons], np.uint8))
            reward, done = emulator.frame()
            emulator.data.update_ram()
            ours.append(reward)
            theirs.append(emulator.data.current_reward())
            assert done == emulator.data.is_done()
            ends.append(done)
    finally:
        emulator.close()
    np.testing.assert_allclose(ours, theirs)
    assert min(theirs) < 0 < max(theirs), "there were rises and falls"
    assert any(ends) and not all(ends)


@pytest.mark.parametrize(
    "rules",
    [
        {"reward": {"script": "lua:reward"}, "scripts": ["script.lua"]},
        {"rewards": [{"variables": {"score": {"reward": 1}}}]},
        {"reward": {"time": {"penalty": 1}}},
        {"reward": {"variables": {"score": {"reward": 1, "measurement": "absolute"}}}},
        {"done": {"nodes": {"n": {"variables": {"lives": {"op": "negative", "measurement": "delta"}}}}}},
        {"done": {"script": "lua:done"}, "scripts": []},
        {"done": {"variables": {"lives": {"op": "sign"}}}},
    ],
)
def test_all_that_needs_more_is_left_to_stable_retro(rules, game, tmp_path):
    assert Scenario.of(scenario(tmp_path, rules)) is None
    assert Scenario.of(Path(game[0].scenario)) is not None
