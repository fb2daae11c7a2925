"""Sonic's task on the demo cartridge, by the real emulator: actions, rewards, ends, determinism, movies."""

import json
import subprocess
import sys
from contextlib import contextmanager

import numpy as np
import pytest

from apex_ray.envs.base import ProcessLostError
from apex_ray.retro import sonic
from apex_ray.retro.envs import RetroEnvs
from apex_ray.retro.stage_end import StageEnd
from tests.apex_ray.retro.config import game

GREEN_HILL = "GreenHillZone.Act1"  # on the cartridge: step at columns 24-25, pit at 44-46 of every 64 of 8 pixels
RIGHT, LEFT, JUMP = (sonic.ACTIONS.index(a) for a in ("RIGHT", "LEFT", "B"))


@contextmanager
def playing(num_envs=1, in_order=True, **settings):
    base = {"demo": True, "stages": (GREEN_HILL,), "reward": "delta", "noop_max": 0, "max_episode_frames": 18_000}
    envs = RetroEnvs(game("retro/Sonic", **{**base, **settings}), num_envs, in_order)
    try:
        yield envs
    finally:
        envs.close()


@pytest.fixture(scope="module")
def green_hill():
    with playing() as envs:
        yield envs


@pytest.fixture(scope="module")
def frame_by_frame():
    with playing(frame_skip=1) as envs:
        yield envs


def step(envs, action):
    envs.send(np.full(envs.num_envs, action))
    return envs.recv()


def runner(now, columns=(24, 44)):
    """RIGHT, with a jump from the ground a little before the cartridge's step and pit."""
    column = (now["x"] + 8) // 8 % 64
    return JUMP if now["y"] == 152 and any(0 <= (c - column) % 64 <= 2 for c in columns) else RIGHT


@pytest.mark.parametrize(
    ("action", "dx", "dy"),
    [
        ("RIGHT", 58, 0),
        ("LEFT", -58, 0),
        ("RIGHT+DOWN", 31, 0),
        ("LEFT+DOWN", -31, 0),
        ("DOWN", 0, 0),
        ("DOWN+B", 84, 0),
        ("B", 0, -28),
    ],
)
def test_what_each_action_does_in_16_frames(green_hill, action, dx, dy):
    """The table of the facts: pixels right, and how high a jump goes."""
    green_hill.reset(0)
    start = green_hill.look(0)
    seen = [(step(green_hill, sonic.ACTIONS.index(action)), green_hill.look(0))[1] for _ in range(4)]
    assert seen[-1]["x"] - start["x"] == dx
    assert min(s["y"] for s in seen) - start["y"] == dy


def test_rewards_are_the_increase_of_the_best_x(frame_by_frame):
    """Frame by frame, by hand, over episodes that end; flat pays for the same steps."""
    with playing(frame_skip=1, reward="flat") as flat:
        rng = np.random.default_rng(3)
        for envs in (frame_by_frame, flat):
            envs.reset(0)
        best, ends, paid = frame_by_frame.look(0)["x"], 0, 0
        for i in range(900):
            if i % 6 == 0:
                action = rng.choice([RIGHT, RIGHT, RIGHT, JUMP, LEFT])
            got, got_flat = step(frame_by_frame, action), step(flat, action)
            x = frame_by_frame.look(0)["x"]
            if got.first[0]:
                best, ends = x, ends + 1
            expected = 0.01 * max(x - best, 0)
            assert got.rewards[0] == pytest.approx(expected, abs=1e-6)
            assert got_flat.rewards[0] == pytest.approx(0.01 if expected else 0.0)
            best, paid = max(best, x), paid + (expected > 0)
        assert ends >= 1 and paid > 100, "nothing was tested"


def test_a_lost_life_ends_the_episode(green_hill):
    green_hill.reset(0)
    got = step(green_hill, RIGHT)
    total = got.rewards[0]
    while not got.terminated[0]:
        # over the step, then on into the pit
        got = step(green_hill, runner(green_hill.look(0), columns=(24,)))
        total += got.rewards[0]
    end = StageEnd.of(got.ends[0])
    assert total == pytest.approx(0.01 * (end.best_x - 96), abs=1e-4), "four frames a step: all of them count"
    assert not got.truncated[0] and not end.completed and 340 < end.best_x < 376
    assert end.score == pytest.approx(9000 * (end.best_x - 96) / (9568 - 96), rel=0.05)
    assert step(green_hill, RIGHT).first[0] and green_hill.look(0)["x"] == 96


def test_completion_ends_the_episode_with_the_contests_bonus():
    with playing(reward="contest") as envs:
        envs.reset(0)
        total, got = 0.0, step(envs, RIGHT)
        while not got.terminated[0]:
            total += got.rewards[0]
            got = step(envs, runner(envs.look(0)))
        total, end = total + got.rewards[0], StageEnd.of(got.ends[0])
        assert end.completed and end.best_x >= 9568
        assert end.score == pytest.approx(9000 + 1000 * (1 - end.frames / 18_000), abs=1.0)
        assert total == pytest.approx(0.01 * end.score, abs=0.01), "the contest's reward is a hundredth of its score"


def test_a_time_limit_truncates():
    with playing(max_episode_frames=42) as envs:
        envs.reset(0)
        steps = [step(envs, RIGHT) for _ in range(11)]
        assert [bool(s.truncated[0]) for s in steps] == [False] * 10 + [True], "42 frames are 11 steps"
        assert not any(s.terminated[0] for s in steps) and steps[-1].ends[0]["frames"] == 44


def test_sticky_frame_skip(frame_by_frame):
    """With probability 1 a step's first frame has the old buttons, but for an episode's first step."""
    frame_by_frame.reset(0)
    for action in [RIGHT] * 5 + [LEFT] * 4 + [JUMP] * 3:
        step(frame_by_frame, action)
    with playing(sticky_actions=1.0) as envs:
        envs.reset(0)
        for action in (RIGHT, LEFT, JUMP):
            step(envs, action)
        assert envs.look(0) == frame_by_frame.look(0)


def test_two_runs_with_one_seed_are_the_same_frame_for_frame():
    settings = {"sticky_actions": 0.25, "noop_max": 10, "stages": ("train",), "max_episode_frames": 160}
    with playing(2, False, **settings) as one, playing(2, False, **settings) as two:
        for envs, seed in ((one, 5), (two, 5)):
            np.testing.assert_array_equal(envs.reset(seed)["frames"].copy(), envs.reset(seed)["frames"])
        rng, played = np.random.default_rng(1), []
        for _ in range(130):
            actions = rng.integers(7, size=2)
            one.send(actions)
            two.send(actions)
            a, b = one.recv(), two.recv()
            np.testing.assert_array_equal(a.observations["frames"], b.observations["frames"])
            for name in ("rewards", "terminated", "truncated", "first"):
                np.testing.assert_array_equal(getattr(a, name), getattr(b, name))
            assert a.ends == b.ends
            played += [end["stage"] for end in a.ends.values()]
        assert len(set(played)) == len(played) >= 6, "every stage once before one comes again"


def test_in_order_episodes_of_all_environments_play_the_stages_in_turn():
    chosen = ("GreenHillZone.Act1", "EmeraldHillZone.Act1", "IcecapZone.Act1")  # one of each game
    with playing(2, stages=chosen, max_episode_frames=4) as envs:
        envs.reset(0)
        played = {0: [], 1: []}
        for _ in range(12):
            for e, end in step(envs, RIGHT).ends.items():
                played[e].append(end["stage"])
    table = [s.state for s in sonic.select(chosen, "")]
    assert played == {e: [table[(e + 2 * k) % 3] for k in range(6)] for e in (0, 1)}


def test_an_act_that_changes_in_the_middle_of_a_stage():
    """As in Icecap 1: x goes back by 4,096 there, the best x and the contest's progress go on."""
    with playing(stages=("IcecapZone.Act1",)) as envs:
        envs.reset(0)
        total, acts, furthest, largest = 0.0, [], 0, 0.0
        while (now := envs.look(0))["x"] < 5_000 or now["act"] == 0:
            got = step(envs, runner(now, columns=(24, 54)))
            assert not got.terminated[0]
            total, largest = total + got.rewards[0], max(largest, got.rewards[0])
            acts.append(now["act"])
            furthest = max(furthest, now["x"])
        assert set(acts) == {0, 1} and furthest == pytest.approx(0x2000, abs=16)
        corrected = now["x"] + 4096
        assert total == pytest.approx(0.01 * (corrected - 96), abs=0.1), "one camera step is lost at the change"
        assert largest <= 0.16 + 1e-6, "no reward for a jump of the coordinates"


REPLAY = """
import json, sys
import numpy as np, stable_retro
from apex_ray.config.schema import EnvConfig
from apex_ray.retro.emulator import Emulator
from apex_ray.retro.games import task
config = EnvConfig(id="retro/Sonic", kwargs={"demo": True, "stages": "GreenHillZone.Act1"})
game = next(iter(task(config).games.values()))
emulator = Emulator(game)
movie = stable_retro.Movie(sys.argv[1])
movie.step()
emulator._core.set_state(movie.get_state())
emulator._core.step()
xs = []
while movie.step():
    emulator.press(np.array([movie.get_key(b, 0) for b in range(12)], np.uint8))
    emulator.frame()
    xs.append(emulator.look()["x"])
print(json.dumps(xs))
"""


def test_the_movie_replays_to_the_same_x(tmp_path, frame_by_frame):
    rng = np.random.default_rng(2)
    frame_by_frame.record(0, tmp_path)
    frame_by_frame.reset(0)
    xs = []
    for i in range(120):
        if i % 10 == 0:
            action = int(rng.integers(7))
        step(frame_by_frame, action)
        xs.append(frame_by_frame.look(0)["x"])
    frame_by_frame.record(0, None)
    assert [p.name for p in tmp_path.iterdir()] == ["0.bk2"]
    done = subprocess.run([sys.executable, "-c", REPLAY, str(tmp_path / "0.bk2")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout) == xs


def test_pictures_show_buttons_and_whose_scores_these_are(green_hill):
    green_hill.reset(0)
    idle = green_hill.render(0)
    step(green_hill, RIGHT)
    running = green_hill.render(0)
    assert idle.shape == (224 + 24, 320, 3) and idle.dtype == np.uint8
    strips = idle[224:], running[224:]
    changed = np.flatnonzero((strips[0] != strips[1]).any(axis=(0, 2)))
    assert 0 < np.ptp(changed) < 24, "exactly one button lights up"
    assert green_hill.spec.scores_of == "the demo cartridge"


def test_a_killed_emulator_is_named_and_the_rest_can_be_closed():
    with playing(2) as envs:
        envs.reset(0)
        envs._processes[1].popen.kill()
        with pytest.raises(ProcessLostError, match=r"environment 1 of retro/Sonic was killed by signal 9"):
            for _ in range(2):
                step(envs, RIGHT)
