"""From environments that count, through actor and replay, to the learner: every transition once, frames and all."""

import numpy as np
import pytest

from apex_ray.agent.build import build_agent
from apex_ray.agent.split_states import split_states
from apex_ray.config.schema import ApexConfig, EnvConfig, TdConfig
from apex_ray.experience.actor import Actor
from apex_ray.experience.variables import VariableClient
from apex_ray.experience.window import ExperienceWindow
from apex_ray.replay import shards
from apex_ray.replay.memory import PrioritizedReplay
from tests.fakes import CountingEnvs, Episode, Mark, decode, reward_of

SCRIPTS = [
    [Episode(4), Episode(1), Episode(9, "truncated")],
    [Episode(2, "truncated"), Episode(6, lives_lost_at=(2, 5))],
    [Episode(1000)],
]
N, GAMMA, HORIZON = 3, 0.5, 5


class NoSource:
    def request(self, newer_than):
        pass

    def poll(self):
        return None


def fill(image, stack, chunks, life):
    """A replay filled by one actor, and the actions that the environments were given."""
    envs = CountingEnvs(SCRIPTS, stack=stack, image=image)
    td = TdConfig(n_step=N, discount=GAMMA, reward_clip=1.0)
    agent = build_agent(ApexConfig(env=EnvConfig(id="counting"), td=td), envs.spec)
    window = ExperienceWindow(envs.spec, agent.fields, agent.outputs, agent.priorities, 3, HORIZON, td, life)
    infer = lambda o, state: ({"q_values": np.tile(np.float32([0, 1, 2]), (3, 1))}, state)  # noqa: E731
    epsilons, variables = np.full(3, 0.5, np.float32), VariableClient(NoSource(), 10, None)
    actor = Actor(0, agent, envs, infer, window, epsilons, variables, seed=(1,))
    memory = PrioritizedReplay(agent.fields, 3 * HORIZON * chunks, HORIZON, 0.6, seed=0)
    stored = 0
    while stored < chunks:
        chunk = actor.start_step()
        if chunk is not None:
            memory.add(chunk)
            stored += 1
        actor.finish_step()
    return memory, envs, actor


def expected_transition(env, episode, step, counter, life):
    """(clipped return, discount, m) of the transition that leaves this state, from the script alone."""
    script = SCRIPTS[env][episode % len(SCRIPTS[env])]
    total, m = 0.0, 0
    for k in range(N):
        total += GAMMA**k * np.clip(reward_of(env, counter + k + 1), -1, 1)
        m = k + 1
        if life and step + m in script.lives_lost_at:
            return total, 0.0, m
        if step + m == script.length:
            return total, 0.0 if script.end == "terminated" else GAMMA**m, m
    return total, GAMMA**m, m


@pytest.mark.parametrize("life", [False, True])
@pytest.mark.parametrize(("image", "stack"), [(False, 1), (False, 4), (True, 1), (True, 4)])
def test_what_the_learner_gets_is_what_happened(image, stack, life):
    chunks = 20
    memory, envs, _ = fill(image, stack, chunks, life)
    every = np.flatnonzero(memory._tree.get(np.arange(memory.capacity)))
    memory._tree.sample = lambda count, rng: every  # all of them, once each
    drawn = memory.sample(len(every))
    fields = shards.merge([(0, 1.0, drawn)]).fields
    import torch

    states, after = split_states(torch.from_numpy(fields["frames"]), torch.from_numpy(fields["steps"]), stack)
    seen = [[] for _ in SCRIPTS]
    for b in range(len(every)):
        env, episode, step, counter = decode(states[b, -1].numpy())
        seen[env].append((episode, step))
        total, discount, m = expected_transition(env, episode, step, counter, life)
        assert tuple(fields[name][b] for name in ("returns", "discounts", "steps")) == (total, discount, m)
        # the action the environment got when it showed this observation (one is sent for every counter from 1)
        assert fields["actions"][b] == envs.actions[counter - 1][env]
        for k in range(stack):
            back = stack - 1 - k
            old = states[b, k].numpy()
            assert decode(old) == Mark(env, episode, step - back, counter - back) if back <= step else not old.any()
            new, at = after[b, k].numpy(), step + m - back
            assert decode(new) == Mark(env, episode, at, counter + m - back) if at >= 0 else not new.any()
    for env, states_seen in enumerate(seen):
        wanted, episode, step = [], 0, 0
        slots = chunks * HORIZON  # an autoreset takes a slot
        while slots:
            wanted.append((episode, step))
            step, slots = step + 1, slots - 1
            if step == SCRIPTS[env][episode % len(SCRIPTS[env])].length:
                episode, step, slots = episode + 1, 0, max(slots - 1, 0)
        assert states_seen == wanted, f"environment {env}: a transition was lost, doubled or out of order"


def test_training_episodes_are_counted_unclipped():
    _, _, actor = fill(False, 1, 20, False)
    ended = [(e.episode_return, e.length_steps) for e in actor.ended_episodes()]
    expected = []
    for env, script in enumerate(SCRIPTS):
        counter, episode = 1, 0
        while True:
            length = script[episode % len(script)].length
            if counter + length > actor.steps // 3 + 1:
                break
            expected.append((sum(reward_of(env, counter + k) for k in range(1, length + 1)), length))
            counter, episode = counter + length + 1, episode + 1
    assert sorted(ended) == sorted(expected) and len(ended) > 20
    assert actor.ended_episodes() == []
