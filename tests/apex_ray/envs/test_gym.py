"""GymEnvs on fakes with known frames: formats, actions, time limits, errors. The contract itself is in test_make.py."""

import gymnasium
import numpy as np
import pytest

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.checks import picture
from apex_ray.envs.gym import GymEnvs
from apex_ray.envs.make import probe
from tests.fakes import FAKES, decode, reward_of
from trainkit.errors import UserError


def make(name, num_envs=1, render=False, **settings):
    env_id = name if "-v" in name else f"apex-tests/{name}-v0"
    return GymEnvs(EnvConfig(id=env_id, **{"frame_stack": 1, **settings}), num_envs, render)


def steps(envs, count, action=0, seed=0):
    envs.reset(seed)
    for _ in range(count):
        envs.send(np.full(envs.num_envs, action))
        yield envs.recv()


def test_an_episode_step_by_step():
    """Length 2, stack 2: (episode, step, counter) of both frames at each step, against the table by hand."""
    envs = make("Counting", frame_stack=2, kwargs={"length": 2})
    zeros = (0, 0, 0)
    start = [decode(f)[1:] for f in envs.reset(0)["frames"][0]]
    seen = [
        (
            [decode(f)[1:] for f in s.observations["frames"][0]],
            float(s.rewards[0]),
            bool(s.terminated[0]),
            bool(s.first[0]),
        )
        for s in steps(envs, 4)
    ]
    assert start == [zeros, (0, 0, 1)]
    assert seen == [
        ([(0, 0, 1), (0, 1, 2)], reward_of(0, 2), False, False),
        ([(0, 1, 2), (0, 2, 3)], reward_of(0, 3), True, False),
        ([zeros, (1, 0, 4)], 0.0, False, True),
        ([(1, 0, 4), (1, 1, 5)], reward_of(0, 5), False, False),
    ]


@pytest.mark.parametrize(("end", "flags"), [("terminated", (True, False)), ("truncated", (False, True))])
def test_the_kind_of_end_is_kept(end, flags):
    *_, last = steps(make("Counting", kwargs={"length": 3, "end": end}), 3)
    assert (last.terminated[0], last.truncated[0]) == flags


def test_terminal_and_cut_at_once_is_terminal():
    """Gymnasium's TimeLimit may set truncated at a step that terminates: its state has no value to bootstrap."""
    *_, last = steps(make("Counting", kwargs={"length": 3, "max_episode_steps": 3}), 3)
    assert last.terminated[0] and not last.truncated[0]


def truncations(envs, count):
    return [t for t, s in enumerate(steps(envs, count), start=1) if s.truncated[0]]


def test_time_limits():
    endless = {"length": 10**6}
    assert truncations(make("Counting", max_episode_frames=4, kwargs=endless), 10) == [4, 9]
    own = {**endless, "max_episode_steps": 6}
    assert truncations(make("Counting", max_episode_frames=4, kwargs=own), 8) == [6], "the user's own limit wins"
    assert truncations(make("MountainCar-v0", max_episode_frames=4), 201) == [200], "the environment's own limit wins"


def test_actions_count_from_zero():
    envs = make("Counting", kwargs={"first_action": -1, "length": 10})
    assert envs.spec.num_actions == 3
    list(steps(envs, 1, action=0))
    envs.send(np.array([2]))
    envs.recv()
    assert envs._envs[0].unwrapped.actions == [-1, 1]
    for wrong in (3, -1):
        with pytest.raises(ValueError, match=r"outside 0..2 of apex-tests/Counting-v0"):
            list(steps(envs, 1, action=wrong))


def test_each_copy_gets_its_own_actions():
    envs = make("Counting", num_envs=3, kwargs={"length": 10})
    list(steps(envs, 2))
    assert [len(e.unwrapped.actions) for e in envs._envs] == [2, 2, 2]


def test_colours_come_first():
    envs = make("Colour", frame_stack=2)
    assert envs.spec.leaf.shape == (3, 6, 8) and envs.spec.leaf.dtype == "uint8"
    frame = envs.reset(0)["frames"][0, -1]
    assert [set(colour.ravel()) for colour in frame] == [{11}, {111}, {211}]


@pytest.mark.parametrize("shape", [(6, 7), (6, 7, 1)])
def test_gray_images_have_two_axes(shape):
    envs = make("Image", kwargs={"shape": shape})
    assert envs.spec.leaf.shape == (6, 7)
    np.testing.assert_array_equal(envs.reset(0)["frames"], np.full((1, 1, 6, 7), 11))


def test_vectors_of_any_number_become_float32():
    envs = make("Image", kwargs={"shape": (5,), "dtype": "int32"})
    assert envs.spec.leaf.shape == (5,) and envs.spec.leaf.dtype == "float32"
    assert envs.reset(0)["frames"].dtype == np.float32


@pytest.mark.parametrize(
    ("name", "kwargs", "message"),
    [
        ("Continuous", {}, r"Continuous-v0' has actions Box.*expected Discrete.*a wrapper"),
        ("Image", {"shape": (2, 3, 4, 5)}, r"\(2, 3, 4, 5\).*expected a Box"),
        ("Image", {"shape": (4, 84, 84)}, r"\(4, 84, 84\).*env.channels=first.*env.frame_stack"),
    ],
)
def test_what_is_not_supported_is_said(name, kwargs, message):
    with pytest.raises(UserError, match=message):
        make(name, kwargs=kwargs)


def test_an_error_inside_an_environment_goes_on_unchanged():
    with pytest.raises(RuntimeError, match=r"^boom at step 7$"):
        list(steps(make("Raises", num_envs=2), 10))
    with pytest.raises(RuntimeError, match=r"^boom at step 3$"):
        list(steps(make("Raises", kwargs={"at": 3}), 10))
    with pytest.raises(RuntimeError, match=r"^boom on reset$"):
        make("RaisesOnReset").reset(0)


def test_send_and_recv_alternate():
    envs = make("Counting")
    envs.reset(0)
    with pytest.raises(RuntimeError, match="without send"):
        envs.recv()
    envs.send(np.zeros(1, np.int64))
    with pytest.raises(RuntimeError, match="twice"):
        envs.send(np.zeros(1, np.int64))
    envs.reset(0)  # after an evaluation that was broken off
    envs.send(np.zeros(1, np.int64))
    assert decode(envs.recv().observations["frames"][0, -1]).step == 1


def test_pictures_when_asked():
    envs = make("Counting", render=True)
    list(steps(envs, 3))
    picture = envs.render(0)
    assert picture.shape == (128, 128, 3) and picture.dtype == np.uint8 and (picture == 3).all()


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_no_pictures_is_said_before_the_first_step():
    with pytest.raises(UserError, match=r"Raises-v0' draws no pictures.*no video"):
        make("Raises", render=True)
    if "apex-tests/Blind-v0" not in gymnasium.registry:
        entry = type("Blind", (gymnasium.registry["apex-tests/Counting-v0"].entry_point,), {"metadata": {}})
        gymnasium.register("apex-tests/Blind-v0", entry_point=entry)
    with pytest.raises(UserError, match=r"Blind-v0' draws no pictures"):
        make("Blind", render=True)


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_pictures_that_were_not_asked_for():
    envs = make("Counting")
    envs.reset(0)
    with pytest.raises(UserError, match="draws no pictures"):
        envs.render(0)


@pytest.mark.parametrize(
    ("picture", "told"),
    [
        (np.zeros((8, 8), np.uint8), "uint8 [8, 8], 0 to 0"),
        (np.zeros((8, 8, 4), np.uint8), "uint8 [8, 8, 4]"),
        (np.full((8, 8, 3), 1.5), "float64 [8, 8, 3], 1.5 to 1.5"),
    ],
)
def test_pictures_that_are_no_rgb_are_found_before_training(monkeypatch, picture, told):
    monkeypatch.setattr(FAKES["apex-tests/Counting-v0"][0], "render", lambda self: picture)
    spec = probe(EnvConfig(id="apex-tests/Counting-v0", frame_stack=1), pictures=True)
    assert not spec.draws and f"draws pictures of {told}" in spec.notes[0]
    assert "expected uint8 [H, W, 3]" in spec.notes[0] and "no video" in spec.notes[0]


def test_a_board_of_floats_is_drawn_in_bytes_and_larger():
    board = np.zeros((10, 10, 3))
    board[2, 3] = (1.0, 0.5, 0.0)
    drawn = picture("board", board)
    assert drawn.shape == (130, 130, 3) and drawn.dtype == np.uint8
    assert drawn[2 * 13, 3 * 13].tolist() == [255, 128, 0] and not drawn[0].any()
    large = np.zeros((200, 300, 3), np.uint8)
    assert picture("screen", large).shape == large.shape


def test_close_closes_each(monkeypatch):
    closed = []
    envs = make("Counting", num_envs=3)
    monkeypatch.setattr(gymnasium.Env, "close", lambda self: closed.append(self))
    envs.close()
    assert len(closed) == 3
