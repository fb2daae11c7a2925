"""Memories: what an actor's network says step by step is what the learner's says of the stored sequences."""

import dataclasses
from copy import deepcopy

import numpy as np
import pytest
import torch

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import Inference, new_network
from apex_ray.agent.recurrent import mixed, stacked
from apex_ray.config.schema import ApexConfig
from apex_ray.experience.window import ExperienceWindow
from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.td import rescaled, td_target, unrescaled
from apex_ray.types import EnvSpec
from tests.apex_ray.experience.test_window import Script
from trainkit.errors import UserError

ENDS = [[(3, "terminated"), (11, "truncated")], [(50, "terminated")], [(1, "terminated"), (2, "truncated")]]
KWARGS = {"lstm": {"units": 8, "layers": 2}, "wavenet": {"layers_per_cycle": 3, "residual": 6, "skip": 8}}
REACH = 7  # of that WaveNet: 1 + 2 + 4


def config_of(memory, stack=1, burn_in=REACH, horizon=24, embedding=0, **td):
    return ApexConfig(
        env={"id": "script", "frame_stack": stack},
        td={"n_step": 3, "discount": 0.9, "reward_clip": None, **td},
        network={
            "mlp_layers": [8],
            "hidden": 8,
            "memory": memory,
            "memory_kwargs": KWARGS[memory] | {"embedding": embedding},
        },
        sequences={"burn_in_steps": burn_in, "length_steps": 10, "period_steps": 6, "eta": 0.9},
        actors={"chunk_transitions": horizon},
        learner={"batch_size": 8, "device": "cpu"},
    )


def spec_of(stack=1):
    return EnvSpec.of_frames("script", (3,), "float32", stack, 4)


class Played:
    """A script played by an agent as an actor plays: its chunks, and the Q-values of each step, by its observation."""

    def __init__(self, config, chunks=4):
        stack, td, horizon = config.env.frame_stack, config.td, config.actors.chunk_transitions
        self.spec, self.said = spec_of(stack), {}
        self.agent = agent = build_agent(config, self.spec)
        script, count = Script(ENDS, stack), len(ENDS)
        self.window = window = ExperienceWindow(
            self.spec, agent.fields, agent.outputs, agent.priorities, count, horizon, td, False, agent.stride
        )
        self.infer, rng = Inference(agent, seed=5), np.random.default_rng(0)
        self.memory = PrioritizedReplay(agent.fields, 10_000, horizon, 0.6, 0, stride=agent.stride)
        state, self.chunks = agent.initial_state(count), []
        while len(self.chunks) < chunks:
            observations = {"frames": script.observations()}
            outputs, state = self.infer(observations, state)
            window.observe(observations, outputs)
            actions = agent.choose(outputs, np.full(count, 0.5, np.float32), rng)
            window.decide(actions)
            for e in range(count):
                self.said[tuple(script.frame(e))] = outputs["q_values"][e]
            if (chunk := window.chunk()) is not None:
                self.chunks.append(deepcopy(chunk))
                self.memory.add(chunk)
            step = script.step()
            window.result(step)
            state = agent.next_state(state, actions, step.rewards, step.first)

    def batch(self, count=64):
        return {name: torch.as_tensor(array) for name, array in self.memory.sample(count).fields.items()}


@pytest.mark.parametrize("stack", [1, 3])
@pytest.mark.parametrize("memory", ["lstm", "wavenet"])
def test_the_learner_s_q_values_are_the_actor_s(memory, stack):
    """Of every step of every sequence, also where it begins in the middle of an episode, over ends and resets."""
    config = config_of(memory, stack, embedding=4)
    played = Played(config)
    batch, agent = played.batch(), played.agent
    with torch.no_grad():
        found = played.infer.network(*agent._sequences(batch), REACH)[..., 0].numpy()
    frames = batch["frames"].numpy()[:, stack - 1 + REACH :]
    assert found.shape == (64, 10 + 3, 4) and len(np.unique(frames[..., 1])) > 5, "many episodes are seen"
    for b in range(len(found)):
        for p in range(found.shape[1]):
            np.testing.assert_allclose(found[b, p], played.said[tuple(frames[b, p])], atol=1e-5)


def test_without_a_burn_in_an_lstm_goes_on_from_the_stored_state_and_a_wavenet_from_none():
    for memory in KWARGS:
        played = Played(config_of(memory, burn_in=0))
        batch = played.batch()
        with torch.no_grad():
            found = played.infer.network(*played.agent._sequences(batch), 0)[:, 0, :, 0].numpy()
        said = np.stack([played.said[tuple(frame)] for frame in batch["frames"].numpy()[:, 0]])
        begins = batch["frames"].numpy()[:, 0, 2] == 0
        assert begins.any() and not begins.all()
        np.testing.assert_allclose(found[begins], said[begins], atol=1e-5)
        assert np.allclose(found[~begins], said[~begins], atol=1e-5) == (memory == "lstm")


@pytest.mark.parametrize("memory", ["lstm", "wavenet"])
def test_gradients_end_at_the_burn_in(memory):
    played = Played(config_of(memory))
    seen, state, first = played.agent._sequences(played.batch(4))
    seen["frames"] = seen["frames"].clone().requires_grad_()
    played.infer.network.requires_grad_(True)
    played.infer.network(seen, state, first, REACH).square().sum().backward()
    moved = seen["frames"].grad.abs().sum(dim=(0, 2, 3))
    assert (moved[:REACH] == 0).all() and (moved[REACH:] > 0).all()


@pytest.mark.parametrize("rescaling", [None, 1e-3])
@pytest.mark.parametrize("memory", ["lstm", "wavenet"])
def test_losses_and_priorities_are_those_of_single_steps(memory, rescaling):
    """Against plain loops over the actor's own Q-values; the target network says others."""
    config = config_of(memory, value_rescaling=rescaling)
    played = Played(config)
    agent, online = played.agent, played.infer.network
    target = new_network(agent, seed=9)
    batch = played.batch(16)
    loss = agent.loss(online, target, batch)
    with torch.no_grad():
        later = target(*agent._sequences(batch), REACH)[..., 0].numpy()
    arrays = {name: tensor.numpy() for name, tensor in batch.items()}
    for b in range(16):
        errors = []
        for k in range(10):
            p = REACH + k
            if arrays["kinds"][b, p] == 3:  # an autoreset step
                continue
            m = int(arrays["steps"][b, p])
            own = [played.said[tuple(arrays["frames"][b, q])] for q in (p, p + m)]
            best = later[b, k + m, own[1].argmax()]
            inner = best if rescaling is None else unrescaled(best, rescaling)
            goal = arrays["returns"][b, p] + arrays["discounts"][b, p] * inner
            goal = goal if rescaling is None else rescaled(goal, rescaling)
            errors.append(goal - own[0][arrays["actions"][b, p]])
        errors = np.abs(errors)
        np.testing.assert_allclose(loss.priorities[b], 0.9 * errors.max() + 0.1 * errors.mean(), rtol=1e-4)
        huber = np.where(errors <= 1, 0.5 * errors**2, errors - 0.5)
        np.testing.assert_allclose(loss.losses[b].detach(), huber.mean(), rtol=1e-4)


def test_the_actor_s_priorities_are_the_learner_s_with_its_own_weights():
    """Where one network is online and target: then both know the same."""
    played = Played(config_of("lstm"))
    agent, network = played.agent, played.infer.network
    for chunk in played.chunks:
        memory = PrioritizedReplay(agent.fields, 100, 24, 1.0, 0, floor=0.0, stride=agent.stride)
        memory.add(chunk)
        sample = memory.sample(40)
        batch = {name: torch.as_tensor(array) for name, array in sample.fields.items()}
        np.testing.assert_allclose(agent.loss(network, network, batch).priorities, sample.masses, rtol=1e-3, atol=1e-5)


def test_priorities_by_a_table():
    errors = np.array([[1.0, 4.0, 2.0, 1.0], [3.0, 9.0, 5.0, 7.0], [6.0, 6.0, 6.0, 6.0]])
    valid = np.array([[True] * 4, [True, False, True, False], [False] * 4])
    expected = [0.9 * 4 + 0.1 * 2, 0.9 * 5 + 0.1 * 4, 0.0]
    np.testing.assert_allclose(mixed(np, errors, valid, 0.9), expected)
    np.testing.assert_allclose(mixed(torch, torch.tensor(errors), torch.tensor(valid), 0.9), expected)


def test_stacks_within_a_sequence_by_hand():
    """Frames 10, 11, ... of a stream; the first sampled step has one step of its episode before it."""
    frames = torch.arange(10, 18)[None, :, None]
    frames[0, 0] = 0  # S = 3: two frames stand before; the older one is of the episode before
    first = torch.tensor([[False, False, True, False, False, True]])
    found = stacked(frames, 3, torch.tensor([1]), first)[0, :, :, 0]
    assert found.tolist() == [[0, 11, 12], [11, 12, 13], [0, 0, 14], [0, 14, 15], [14, 15, 16], [0, 0, 17]]


def test_chunks_hold_a_state_a_sequence_and_few_steps_twice():
    played = Played(config_of("lstm"))
    chunk = played.chunks[0]
    assert chunk.fields["before.hidden"].shape == (3, 4, 2, 8), "24 steps, a sequence every 6"
    assert chunk.fields["frames"].shape == (3, 24 + REACH + 10 + 3 - 1, 3)
    assert chunk.valid.shape == chunk.priorities.shape == (3, 4)
    assert all(chunk.valid.all() for chunk in played.chunks), "those that begin at an autoreset step too"
    assert any((chunk.fields["kinds"][:, :24:6] == 3).any() for chunk in played.chunks), "there are such"
    wavenet = Played(config_of("wavenet")).agent
    assert "before.past" not in wavenet.fields and "before.last_action" in wavenet.fields


def test_targets_of_rescaled_values():
    returns, discounts, values = (np.float32(x) for x in ([1.0, -2.0], [0.9, 0.0], [3.0, 5.0]))
    inner = [1 + 0.9 * unrescaled(np.float64(3.0), 0.01), -2.0]
    np.testing.assert_allclose(td_target(returns, discounts, values, 0.01), rescaled(np.array(inner), 0.01), rtol=1e-6)


@pytest.mark.parametrize(
    ("network", "branches", "told"),
    [
        ({"memory": "gru"}, (4,), "network.memory = 'gru': expected one of lstm, wavenet"),
        ({"memory": "lstm", "memory_kwargs": {"unit": 3}}, (4,), "network.memory_kwargs.unit = 3: unknown key"),
        ({"memory": "lstm"}, (40, 50), "network.memory = 'lstm': expected none where actions have 2 parts"),
        ({}, (4,), "agent = 'recurrent': network.memory is none; expected one of lstm, wavenet"),
    ],
)
def test_what_can_not_remember_is_refused(network, branches, told):
    agent = "q_learning" if network else "recurrent"
    config = ApexConfig(env={"id": "script"}, network=network, agent=agent)
    with pytest.raises(UserError) as info:
        build_agent(config, dataclasses.replace(spec_of(), branches=branches))
    assert told in str(info.value)
