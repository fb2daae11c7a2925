"""Vector environments of every autoreset mode, in processes of their own, and EnvPool's."""

import os
import signal
import time

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, SyncVectorEnv

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig, EnvConfig
from apex_ray.envs.base import ProcessLostError
from apex_ray.envs.make import make_envs, probe
from apex_ray.experience.window import ExperienceWindow
from tests.fakes import CountingEnv, decode, reward_of
from trainkit.errors import UserError

HERE = f"{__name__}"
LENGTHS = (5, 3, 1, 4)


class Episodes(CountingEnv):
    """Episodes of these lengths in turn, every other one cut; a seeded reset starts anew."""

    def __init__(self, masked: bool = False, hangs: bool = False) -> None:
        super().__init__()
        self._masked, self._hangs = masked, hangs

    def reset(self, **kwargs):
        observation, info = super().reset(**kwargs)
        self._length = LENGTHS[self.mark.episode % len(LENGTHS)]
        self._end = "truncated" if self.mark.episode % 2 else "terminated"
        return observation, self._info(info)

    def step(self, action):
        if self._hangs and self.mark.counter == 4:
            time.sleep(60)
        *result, info = super().step(action)
        return *result, self._info(info)

    def _info(self, info):
        if not self._masked:
            return info
        return {**info, "action_mask": np.arange(3) != self.mark.counter % 3}


class Raising(Episodes):
    def step(self, action):
        if self.mark.counter == 4:
            raise RuntimeError("boom")
        return super().step(action)


def vector(num_envs, mode="NextStep", **kwargs):
    return SyncVectorEnv([lambda: Episodes(**kwargs)] * num_envs, autoreset_mode=AutoresetMode(mode))


def config(**env):
    return EnvConfig(id="fake", frame_stack=2, **env)


def of_mode(mode, **kwargs):
    return config(make=f"{HERE}:vector", vector=True, kwargs={"mode": mode, **kwargs})


def steps(envs, count):
    """`count` steps of every environment, all by action 0."""
    for _ in range(count):
        envs.send(np.zeros(envs.num_envs, np.int64))
        envs.recv()


COPIES = config(make=f"{HERE}:Episodes")


def transitions(env, steps=120, num_envs=3):
    """What replay is given of each transition, by (environment, episode, step)."""
    spec = probe(env)
    whole = ApexConfig(env=env, td={"n_step": 2, "discount": 0.5, "reward_clip": None})
    agent = build_agent(whole, spec)
    envs = make_envs(env, num_envs)
    window = ExperienceWindow(
        spec, agent.fields, agent.outputs, agent.priorities, envs.num_envs, 4, whole.td, terminal_on_life_loss=False
    )
    observations, found, steps_made = envs.reset(7), {}, 0
    for _ in range(steps):
        window.observe(observations, {"q_values": observations["frames"][:, -1, 1:].copy()})
        actions = np.zeros(envs.num_envs, np.int64)
        window.decide(actions)
        chunk = window.chunk()
        for row, t in np.argwhere(chunk.valid).tolist() if chunk else ():
            states = chunk.fields["frames"][row, t : t + 4]
            state = decode(states[1])
            m = int(chunk.fields["steps"][row, t])
            key = (row // spec.streams, state.episode, state.step)
            assert key not in found, "a transition was doubled"
            found[key] = (
                float(chunk.fields["returns"][row, t]),
                float(chunk.fields["discounts"][row, t]),
                decode(states[1 + m])[1:],
                int(chunk.fields["ages"][row, t]),
                float(chunk.priorities[row, t]),
            )
        envs.send(actions)
        step = envs.recv()
        window.result(step)
        observations = step.observations
        steps_made += len(step.first) if step.idle is None else int((~step.idle).sum())
    envs.close()
    return found, steps_made


@pytest.fixture(scope="module")
def expected():
    return transitions(COPIES)


def test_the_transitions_are_as_by_hand(expected):
    found, _ = expected
    for (_, episode, at), (returned, discount, bootstrap, age, _) in found.items():
        length, cut = LENGTHS[episode % 4], episode % 2 == 1
        before = sum(LENGTHS[i % 4] + 1 for i in range(episode))  # observations of earlier episodes
        m = min(2, length - at)
        rewards = [reward_of(0, before + at + k + 2) for k in range(m)]
        assert returned == sum(0.5**k * r for k, r in enumerate(rewards))
        assert discount == (0 if at + m == length and not cut else 0.5**m)
        assert bootstrap == (episode, at + m, before + at + m + 1), "the final observation of a cut episode is there"
        assert age == min(at, 1)
    last = max(episode for _, episode, _ in found)
    for e in range(3):
        every = [(e, i, t) for i in range(last) for t in range(LENGTHS[i % 4])]
        assert all(key in found for key in every), "a transition was lost"


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_every_autoreset_mode_gives_the_same_transitions(expected, mode):
    found, steps = transitions(of_mode(mode))
    alone, _ = expected
    last = min(max(episode for _, episode, _ in each) for each in (found, alone))
    mine, theirs = ({k: v for k, v in each.items() if k[1] < last} for each in (found, alone))
    assert mine == theirs and len(mine) > 150
    assert steps == 3 * 120, "streams that wait are no steps"


def test_processes_of_their_own_give_the_same_transitions(expected):
    found, _ = transitions(config(make=f"{HERE}:Episodes", processes=True))
    assert found == expected[0]


def test_two_streams_are_said_and_take_their_room():
    spec = probe(of_mode("SameStep"))
    assert spec.streams == 2 and "takes two streams of replay" in " ".join(spec.notes)
    assert probe(of_mode("NextStep")).streams == 1 and not probe(of_mode("NextStep")).notes


@pytest.mark.parametrize("mode", ["NextStep", "SameStep", "Disabled"])
def test_masks_in_the_infos_of_a_vector_are_those_of_the_observation(mode):
    env = of_mode(mode, masked=True)
    assert probe(env).masked
    envs = make_envs(env, 2)
    observations, rng = envs.reset(0), np.random.default_rng(0)
    for _ in range(60):
        idle = observations["frames"][:, -1, 3] == 0
        for row in np.flatnonzero(~idle):
            counter = decode(observations["frames"][row, -1]).counter
            np.testing.assert_array_equal(observations["action_mask"][row, 0], np.arange(3) != counter % 3)
        envs.send(rng.integers(3, size=envs.num_envs))
        observations = envs.recv().observations


def test_a_process_that_is_killed_is_named():
    envs = make_envs(config(make=f"{HERE}:Episodes", processes=True), 3)
    envs.reset(0)
    os.kill(envs._vector.processes[1].pid, signal.SIGKILL)
    with pytest.raises(ProcessLostError, match=r"environment 1 of fake was killed by signal 9"):
        steps(envs, 3)
    envs.close()


def test_an_environment_that_hangs_is_named_and_killed():
    hangs = config(make=f"{HERE}:Episodes", processes=True, step_limit_s=1.0, kwargs={"hangs": True})
    envs = make_envs(hangs, 1)
    envs.reset(0)
    with pytest.raises(ProcessLostError, match=r"environment 0 of fake has been in step\(\) for 1 s .*was killed"):
        steps(envs, 9)
    envs.close()


def test_what_an_environment_raises_in_its_process_goes_on_with_its_words():
    envs = make_envs(config(make=f"{HERE}:Raising", processes=True), 2)
    envs.reset(0)
    with pytest.raises(RuntimeError, match="boom"):
        steps(envs, 9)
    envs.close()


class NotFinite(Episodes):
    def observation(self):
        return super().observation() * (np.nan if self.mark.counter == 3 else 1)


def last_of(num_envs, mode=None):
    """Of these environments only the last has a fault."""
    return SyncVectorEnv([Episodes] * (num_envs - 1) + [NotFinite], autoreset_mode=AutoresetMode.SAME_STEP)


def test_a_fault_names_the_environment_and_not_its_stream():
    envs = make_envs(config(make=f"{HERE}:last_of", vector=True), 3)
    envs.reset(0)
    with pytest.raises(UserError, match="environment 2, at step 2 of its episode: the observation is not"):
        steps(envs, 3)


class WrongInOne(Episodes):
    def observation(self):
        wrong = self.np_random_seed == 2 and self.mark.step == 1  # the third environment's, of seed 0 + 2
        return super().observation().reshape(2, 2) if wrong else super().observation()


def test_a_process_names_its_own_environment():
    envs = make_envs(config(make=f"{HERE}:WrongInOne", processes=True), 3)
    envs.reset(0)
    with pytest.raises(UserError, match="environment 2, at step 1 of its episode"):
        envs.send(np.zeros(3, np.int64))
        envs.recv()
    envs.close()


def test_ctrl_c_is_left_to_the_parent():
    envs = make_envs(config(make=f"{HERE}:Episodes", processes=True), 2)
    envs.reset(0)
    for process in envs._vector.processes:
        os.kill(process.pid, signal.SIGINT)
    for _ in range(3):
        envs.send(np.zeros(2, np.int64))
        assert np.isfinite(envs.recv().rewards).all()
    envs.close()


def test_gymnasiums_own_vector_of_an_id():
    spec = probe(EnvConfig(id="CartPole-v1", frame_stack=1, vector=True))
    assert spec.leaf.shape == (4,) and spec.num_actions == 2


@pytest.mark.parametrize(
    ("env", "part"),
    [
        ({"id": "Blackjack-v1", "vector": True}, "env.vector = true"),
        ({"id": "fake", "vector": True, "make": f"{HERE}:Episodes", "kwargs": {}}, "num_envs"),
        ({"id": "ALE/Pong-v5", "processes": True}, "env.processes = true has no effect"),
        ({"id": "EnvPool/Pnog-v5"}, "Did you mean 'Pong-v5'"),
        ({"id": "EnvPool/Pong-v5", "processes": True}, "env.processes = true has no effect"),
    ],
)
def test_vectors_that_can_not_be_had_are_refused(env, part):
    with pytest.raises(UserError) as info:
        probe(EnvConfig(**env))
    assert part in str(info.value)


def test_envpool_plays_the_same_episodes_again_from_a_seed():
    env = EnvConfig(id="EnvPool/CartPole-v1", frame_stack=1)
    envs = make_envs(env, 2)

    def played():
        seen = [envs.reset(5)["frames"].copy()]
        for _ in range(30):
            envs.send(np.zeros(2, np.int64))
            step = envs.recv()
            seen.append(step.observations["frames"].copy())
        return np.stack(seen)

    first = played()
    np.testing.assert_array_equal(played(), first)
    assert np.isfinite(first).all() and len(np.unique(first[0, :, 0, 0])) == 2
    envs.close()


def test_envpools_atari_keeps_each_frame_once():
    env = EnvConfig(id="EnvPool/Pong-v5", frame_stack=4, channels="first", kwargs={"stack_num": 1})
    spec = probe(env)
    assert (spec.leaf.shape, spec.leaf.stack, spec.leaf.dtype) == ((84, 84), 4, "uint8")


def test_a_dict_of_a_vector_reaches_each_leaf():
    space = spaces.Dict({"a": spaces.Box(0, 1e6, (4,), np.float32), "b": spaces.Discrete(7)})

    class Both(CountingEnv):
        def __init__(self):
            super().__init__()
            self.observation_space = space

        def observation(self):
            return {"a": super().observation(), "b": self.mark.counter % 7}

    both = EnvConfig(id="both", frame_stack=1, vector=True, make=f"{HERE}:both")
    globals()["both"] = lambda num_envs: SyncVectorEnv([Both] * num_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    envs = make_envs(both, 2)
    observations = envs.reset(0)
    for _ in range(20):
        live = observations["frames.a"][:, 0, 3] > 0
        np.testing.assert_array_equal(
            observations["frames.b"][live, 0, 0], observations["frames.a"][live, 0, 3].astype(int) % 7
        )
        assert live.sum() in (2, 4)
        envs.send(np.zeros(4, np.int64))
        observations = envs.recv().observations
    assert gymnasium.vector.VectorEnv.__name__ in str(type(envs._vector).__mro__)
