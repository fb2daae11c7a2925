"""What becomes of each space of Gymnasium: leaves, frames, branches and masks."""

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.spaces import Choices, Observed, check_actions, narrowed, random_actions
from apex_ray.types import EnvSpec
from trainkit.errors import UserError


def config(**env):
    return EnvConfig(id="fake", **{"frame_stack": 1, **env})


def observed(space, actions=None, **env):
    env = config(**env)
    return Observed(env, space, Choices(env, actions or spaces.Discrete(3)))


def frames(space, given, **env):
    return dict(observed(space, **env).frames(given, 0, 0))


IMAGE = spaces.Box(0, 255, (6, 7, 3), np.uint8)


@pytest.mark.parametrize(
    ("space", "env", "kind", "shape", "dtype", "scale"),
    [
        (spaces.Box(-1, 1, (4,)), {}, "vector", (4,), "float32", 1),
        (spaces.Box(-np.inf, np.inf, (4,), np.float64), {}, "vector", (4,), "float32", 1),
        (spaces.Box(-1, 1, ()), {}, "vector", (1,), "float32", 1),
        (spaces.Box(0, 9, (5,), np.int64), {}, "vector", (5,), "float32", 1),
        (spaces.Box(0, 255, (128,), np.uint8), {}, "vector", (128,), "uint8", 1 / 255),
        (spaces.Box(-1, 1, (3, 5)), {}, "vector", (3, 5), "float32", 1),
        (spaces.Box(-1, 1, (2, 3, 4, 5)), {}, "vector", (2, 3, 4, 5), "float32", 1),
        (spaces.Box(0, 255, (6, 7), np.uint8), {}, "image", (6, 7), "uint8", 1 / 255),
        (IMAGE, {}, "image", (3, 6, 7), "uint8", 1 / 255),
        (spaces.Box(0, 255, (6, 7, 1), np.uint8), {}, "image", (6, 7), "uint8", 1 / 255),
        (spaces.Box(0, 255, (4, 6, 7), np.uint8), {"channels": "first"}, "image", (4, 6, 7), "uint8", 1 / 255),
        (spaces.Box(0, 255, (1, 6, 7), np.uint8), {"channels": "first"}, "image", (6, 7), "uint8", 1 / 255),
        (spaces.Box(0, 1, (10, 10, 4), bool), {}, "image", (4, 10, 10), "bool", 1),
        (spaces.Box(0, 1, (6, 7, 3), np.float32), {}, "image", (3, 6, 7), "float32", 1),
        (spaces.Box(0, 255, (6, 7, 3), np.float64), {}, "image", (3, 6, 7), "float32", 1 / 255),
        (spaces.Discrete(5, start=-2), {}, "choice", (1,), "int32", 1),
        (spaces.MultiDiscrete([3, 4]), {}, "choice", (2,), "int32", 1),
        (spaces.MultiBinary((2, 3)), {}, "vector", (6,), "uint8", 1),
    ],
)
def test_every_space_becomes_a_leaf_that_holds_its_samples(space, env, kind, shape, dtype, scale):
    (leaf,) = observed(space, **env).leaves.values()
    assert (leaf.kind, leaf.shape, leaf.dtype, leaf.stack) == (kind, shape, dtype, 1)
    assert leaf.scale == pytest.approx(scale)
    space.seed(0)
    for _ in range(3):
        given = space.sample()
        (frame,) = frames(space, given, **env).values()
        assert frame.shape == shape
        stored = frame.astype(dtype)
        if kind == "image" and given.ndim == 3 and env.get("channels") != "first":
            np.testing.assert_allclose(
                stored if stored.ndim == 3 else stored[None], np.moveaxis(given, 2, 0), rtol=1e-6
            )
        elif kind == "choice":
            assert (stored >= 0).all() and (stored < leaf.sizes).all()
            start = np.ravel(space.start) if hasattr(space, "start") else 0
            np.testing.assert_array_equal(stored + start, np.ravel(given))
        else:
            np.testing.assert_allclose(stored.ravel(), np.ravel(given), rtol=1e-6)


def test_a_nested_space_has_a_leaf_for_each_part_and_only_images_are_stacked():
    space = spaces.Dict(
        {"camera": IMAGE, "body": spaces.Tuple((spaces.Box(-1, 1, (2,)), spaces.Discrete(4))), "at": spaces.Discrete(3)}
    )
    leaves = observed(space, frame_stack=4).leaves
    assert {name: leaf.stack for name, leaf in leaves.items()} == {
        "frames.at": 1,
        "frames.body.0": 1,
        "frames.body.1": 1,
        "frames.camera": 4,
    }
    given = {"camera": np.full((6, 7, 3), 9, np.uint8), "body": (np.array([0.5, 1], np.float32), 3), "at": 2}
    found = frames(space, given)
    assert found["frames.body.1"].tolist() == [3] and found["frames.at"].tolist() == [2]
    np.testing.assert_array_equal(found["frames.body.0"], [0.5, 1])
    assert (found["frames.camera"] == 9).all() and found["frames.camera"].shape == (3, 6, 7)


def test_vectors_are_stacked_where_there_is_no_image():
    assert observed(spaces.Box(-1, 1, (4,)), frame_stack=3).leaves["frames"].stack == 3


@pytest.mark.parametrize(
    ("space", "part"),
    [
        (spaces.Text(5), "Text"),
        (spaces.Sequence(spaces.Discrete(3)), "Sequence"),
        (spaces.Dict({"a": spaces.Discrete(2), "words": spaces.Text(3)}), "'words'"),
        (spaces.Box(0, 255, (4, 84, 84, 3), np.uint8), "(4, 84, 84, 3)"),
        (spaces.Box(0, 255, (4, 84, 84), np.uint8), "env.channels=first"),
        (spaces.Dict({}), "at least one array"),
        (spaces.Box(0, 255, (3, 84, 84), np.float32), "env.channels=first"),
        (spaces.Box(-1, 1, (0,)), "expected a Box of numbers"),
        (type("Box", (), {"__module__": "gym.spaces.box"})(), "the old gym has others"),
        (None, "expected a space of gymnasium.spaces"),
    ],
)
def test_what_no_network_can_be_given_is_refused_in_one_line(space, part):
    with pytest.raises(UserError, match="has observations") as info:
        observed(space)
    assert part in str(info.value) and "\n" not in str(info.value)


@pytest.mark.parametrize(
    ("space", "given"),
    [
        (spaces.Discrete(3), 3),
        (spaces.Discrete(3), 1.0),
        (spaces.MultiDiscrete([2, 2]), np.array([0, 2])),
        (spaces.MultiBinary(2), np.array([0, 2], np.int8)),
        (spaces.Dict({"a": spaces.Discrete(2)}), {"b": 1}),
        (spaces.Tuple((spaces.Discrete(2), spaces.Discrete(2))), (1,)),
        (spaces.Box(0, 1, (2, 2, 1), bool), np.full((2, 2, 1), 2, np.uint8)),
    ],
)
def test_an_observation_outside_its_space_is_refused_at_any_step(space, given):
    looks = observed(space)
    space.seed(0)
    for step in range(300):
        looks.frames(space.sample(), 0, step)
    with pytest.raises(UserError, match=r"environment 0, (at )?step 300"):
        looks.frames(given, 0, 300)


def test_what_is_kept_with_fewer_digits_is_said():
    env = config()
    space = spaces.Dict({"a": spaces.Box(-1, 1, (2,), np.float64), "b": spaces.Box(0, 2**30, (2,), np.int64)})
    assert narrowed(env, space) == [
        "env.id = 'fake': its float64 observations 'a' are kept as float32",
        "env.id = 'fake': its int64 observations 'b' are kept as float32",
    ]
    assert not narrowed(env, spaces.Box(0, 9, (2,), np.int64)) and not narrowed(env, IMAGE)


@pytest.mark.parametrize(
    ("space", "branches"),
    [
        (spaces.Discrete(4, start=-1), (4,)),
        (spaces.MultiDiscrete([2, 3]), (6,)),
        (spaces.MultiDiscrete([2, 3], start=[1, -1]), (6,)),
        (spaces.MultiDiscrete([9, 9]), (9, 9)),
        (spaces.MultiDiscrete([[9, 2], [3, 4]]), (9, 2, 3, 4)),
        (spaces.MultiBinary(3), (8,)),
        (spaces.Tuple((spaces.Discrete(2), spaces.Discrete(3, start=5))), (6,)),
        (spaces.Dict({"move": spaces.Discrete(50), "fire": spaces.MultiBinary(2)}), (2, 2, 50)),
    ],
)
def test_every_number_is_an_action_of_the_space_and_no_two_are_the_same(space, branches):
    choices = Choices(config(), space)
    assert choices.branches == branches
    numbers = range(branches[0]) if len(branches) == 1 else np.ndindex(branches)
    actions = [choices.action(np.array(number)) for number in numbers]
    assert all(space.contains(action) for action in actions)
    assert len({str(action) for action in actions}) == len(actions) == np.prod(branches)


def test_continuous_actions_are_refused_with_what_to_do():
    with pytest.raises(UserError, match=r"has actions Box.*a wrapper"):
        Choices(config(), spaces.Box(-1, 1, (2,)))


def test_masks_of_parts_are_joined_as_the_actions_are():
    space = spaces.MultiDiscrete([2, 3])
    joint = Choices(config(), space)
    parts = (np.array([1, 0], np.int8), np.array([0, 1, 1], np.int8))
    legal = joint.mask(parts, "here")
    allowed = [joint.action(i).tolist() for i in np.flatnonzero(legal)]
    assert allowed == [[0, 1], [0, 2]]
    np.testing.assert_array_equal(joint.mask(np.concatenate(parts), "here"), legal)
    np.testing.assert_array_equal(joint.mask(legal, "here"), legal)
    apart = Choices(config(max_joint_actions=5), space)
    np.testing.assert_array_equal(apart.mask(parts, "here"), [True, False, False, True, True])


def test_masks_of_two_parts_of_two_are_not_read_as_one_of_four_actions():
    for space in (spaces.MultiDiscrete([2, 2]), spaces.MultiBinary(2)):
        choices = Choices(config(), space)
        legal = choices.mask((np.array([1, 0]), np.array([1, 1])), "here")
        assert [choices.action(i).tolist() for i in np.flatnonzero(legal)] == [[0, 0], [0, 1]]
        np.testing.assert_array_equal(choices.mask(np.array([1, 0, 1, 1]), "here"), [True, False, True, True])


def test_a_space_of_another_dtype_brings_no_note():
    looks = observed(spaces.MultiDiscrete([3, 4], dtype=np.int32))
    looks.frames(np.array([1, 2], np.int32), 0, 0)
    assert not looks.notes


@pytest.mark.parametrize("given", [np.ones(4), np.array([0, 1, 2]), "all", None, [[1], [0, 1, 1]]])
def test_what_is_no_mask_of_the_actions_is_refused(given):
    with pytest.raises(UserError, match=r"here: the action mask is .*expected 3 entries"):
        Choices(config(), spaces.Discrete(3)).mask(given, "here")


def test_a_mask_in_the_observation_is_a_leaf_of_its_own_unless_it_is_told_to_be_none():
    space = spaces.Dict({"at": spaces.Box(0, 9, (2,)), "action_mask": spaces.MultiBinary(3)})
    leaves = observed(space).leaves
    assert leaves["action_mask"].kind == "mask" and leaves["action_mask"].shape == (3,)
    spec = EnvSpec("fake", leaves, (3,), 1)
    assert spec.masked and list(spec.seen) == ["frames.at"]
    plain = observed(space, action_mask=False).leaves
    assert plain["frames.action_mask"].kind == "vector" and "action_mask" not in plain


def test_random_actions_are_legal_and_all_legal_ones_are_drawn():
    spec = EnvSpec("fake", observed(spaces.Dict({"a": IMAGE, "action_mask": spaces.MultiBinary(5)})).leaves, (2, 3), 1)
    mask = np.array([[[1, 0, 0, 1, 1]], [[0, 1, 1, 0, 0]]], bool)
    rng = np.random.default_rng(0)
    drawn = [random_actions(spec, rng, {"action_mask": mask}) for _ in range(50)]
    assert {tuple(a[0]) for a in drawn} == {(0, 1), (0, 2)} and {tuple(a[1]) for a in drawn} == {(1, 0)}


def test_actions_outside_their_branches_are_a_mistake():
    spec = EnvSpec("fake", {}, (2, 3), 1)
    check_actions(spec, np.array([[1, 2], [9, 9]]), np.array([True, False]))
    with pytest.raises(ValueError, match=r"outside 0\.\.1 or 2"):
        check_actions(spec, np.array([[1, 3]]), np.array([True]))


def test_gymnasiums_own_environments_fit():
    for env_id in ("Taxi", "Blackjack-v1", "FrozenLake-v1", "CliffWalking-v1"):
        env = gymnasium.make(env_id)
        looks = observed(env.observation_space, env.action_space)
        looks.frames(env.reset(seed=0)[0], 0, 0)


def test_parts_that_are_ignored_are_left_out():
    space = spaces.Dict({"image": IMAGE, "mission": spaces.Text(9), "deep": spaces.Dict({"a": spaces.Text(2)})})
    with pytest.raises(UserError, match=r"at 'deep.a' \(env.ignore=\[deep.a\] leaves it out\)"):
        observed(space)
    looks = observed(space, ignore=("mission", "deep.a"))
    assert list(looks.leaves) == ["frames.image"]
    assert [name for name, _ in looks.frames({"image": np.zeros((6, 7, 3), np.uint8)}, 0, 0)] == ["frames.image"]
