"""The actor's window against a script whose every observation names itself: no transition lost or doubled."""

import numpy as np
import pytest

from apex_ray.agent.build import build_agent
from apex_ray.config.schema import ApexConfig, EnvConfig, TdConfig
from apex_ray.experience.window import ExperienceWindow
from apex_ray.fields import Field
from apex_ray.types import EnvSpec, Step
from trainkit.errors import UserError

GAMMA = 0.5


class Script:
    """Streams of steps made by hand: `ends[e]` lists (episode length, how it ends), repeated for ever."""

    def __init__(self, ends, stack):
        self.ends, self.stack = ends, stack
        self.episode, self.t = [0] * len(ends), [0] * len(ends)
        self.pending_reset = [False] * len(ends)

    def frame(self, e):
        return np.array([e, self.episode[e], self.t[e]], np.float32)

    def observations(self):
        out = np.zeros((len(self.ends), self.stack, 3), np.float32)
        for e in range(len(self.ends)):
            for k in range(min(self.t[e] + 1, self.stack)):
                out[e, -1 - k] = [e, self.episode[e], self.t[e] - k]
        return out

    def step(self):
        count = len(self.ends)
        rewards = np.zeros(count, np.float32)
        flags = {k: np.zeros(count, bool) for k in ("terminated", "truncated", "life_lost", "first")}
        for e in range(count):
            if self.pending_reset[e]:
                self.pending_reset[e] = False
                self.episode[e] += 1
                self.t[e] = 0
                flags["first"][e] = True
                continue
            self.t[e] += 1
            rewards[e] = self.reward(e, self.episode[e], self.t[e])
            length, kind = self.ends[e][self.episode[e] % len(self.ends[e])]
            if self.t[e] == length:
                flags[kind][e] = True
                self.pending_reset[e] = True
        return Step({"frames": self.observations()}, rewards, **flags)

    @staticmethod
    def reward(e, episode, t):
        return float((e + 2 * episode + 3 * t) % 5) / 8


def run(script, spec, chunks, horizon, n, life=False):
    """Chunks (deep copies) of a run with action t % 3 and Q-values that encode the observation."""
    td = TdConfig(n_step=n, discount=GAMMA, reward_clip=1.0)
    agent = build_agent(ApexConfig(env=EnvConfig(id="script"), td=td), spec)
    streams = len(script.ends)
    window = ExperienceWindow(spec, agent.fields, agent.outputs, agent.priorities, streams, horizon, td, life)
    observations, out, t = {"frames": script.observations()}, [], 0
    while len(out) < chunks:
        window.observe(observations, {"q_values": q_of(observations["frames"][:, -1])})
        window.decide(np.full(len(script.ends), t % 3))
        chunk = window.chunk()
        if chunk is not None:
            chunk.fields = {name: array.copy() for name, array in chunk.fields.items()}
            out.append(chunk)
        step = script.step()
        window.result(step)
        observations, t = step.observations, t + 1
    return out


def q_of(frames):
    """Q-values [E, 3] that a test can recompute from a frame alone."""
    base = frames[..., 0] + 0.25 * frames[..., 1] + 0.5 * frames[..., 2]
    return np.stack([base, base + 1, base - 1], axis=-1).astype(np.float32)


@pytest.mark.parametrize("stack", [1, 4])
@pytest.mark.parametrize(("horizon", "n"), [(1, 1), (2, 1), (2, 2), (5, 1), (5, 3), (8, 3), (3, 3)])
def test_every_transition_exactly_once_with_the_right_return(stack, horizon, n):
    ends = [[(4, "terminated"), (1, "terminated")], [(6, "truncated"), (2, "truncated")], [(10**6, "terminated")]]
    spec = EnvSpec.of_frames("script", (3,), "float32", stack, 3, 1)
    chunks = run(Script(ends, stack), spec, chunks=40 // horizon, horizon=horizon, n=n)
    seen = [[] for _ in ends]
    for chunk in chunks:
        for e in range(len(ends)):
            for t in range(horizon):
                if chunk.valid[e, t]:
                    seen[e].append(check(chunk, e, t, ends, stack, n))
    for e, states in enumerate(seen):
        expected = list(first_states(ends[e], len(states)))
        assert states == expected, f"stream {e} lost, doubled or reordered a transition"
        assert len(states) > 20


def first_states(ends, count):
    """(episode, t) of the first `count` states that an action was taken in: never an episode's final observation."""
    episode, t = 0, 0
    for _ in range(count):
        yield episode, t
        t += 1
        if t == ends[episode % len(ends)][0]:
            episode, t = episode + 1, 0


def check(chunk, e, t, ends, stack, n):
    """Recompute one stored transition from the script; returns (episode, t) of its state."""
    at, fields = stack - 1 + t, chunk.fields
    _, episode, now = (int(x) for x in fields["frames"][e, at])
    length, kind = ends[e][episode % len(ends[e])]
    m = min(n, length - now)
    rewards = [Script.reward(e, episode, now + k + 1) for k in range(m)]
    terminal = kind == "terminated" and now + m == length
    discount = 0.0 if terminal else GAMMA**m
    assert fields["steps"][e, t] == m
    assert fields["returns"][e, t] == sum(GAMMA**k * r for k, r in enumerate(rewards))
    assert fields["discounts"][e, t] == discount
    # the frames after it up to the bootstrap state, and those before it back to the episode's first
    for k in range(-min(now, stack - 1), m + 1):
        assert tuple(fields["frames"][e, at + k]) == (e, episode, now + k)
    assert fields["ages"][e, t] == min(now, stack - 1)
    state, bootstrap = q_of(fields["frames"][e, at]), q_of(fields["frames"][e, at + m])
    error = (
        sum(GAMMA**k * r for k, r in enumerate(rewards)) + discount * bootstrap.max() - state[fields["actions"][e, t]]
    )
    np.testing.assert_allclose(chunk.priorities[e, t], abs(error), rtol=1e-6)
    return episode, now


def test_rewards_are_clipped_but_only_in_the_returns():
    script = Script([[(10**6, "terminated")]], 1)
    script.reward = lambda e, episode, t: 400.0 if t == 1 else 0.0  # type: ignore[method-assign]
    (chunk,) = run(script, EnvSpec.of_frames("script", (3,), "float32", 1, 3, 1), chunks=1, horizon=4, n=3)
    np.testing.assert_array_equal(chunk.fields["returns"][0], [1.0, 0.0, 0.0, 0.0])


@pytest.mark.parametrize("terminal", [False, True])
def test_a_lost_life_ends_the_window_only_when_asked_to(terminal):
    class LosesALife(Script):
        def step(self):
            step = super().step()
            step.life_lost[:] = self.t[0] == 2  # on the second step; the episode goes on
            return step

    script = LosesALife([[(10**6, "terminated")]], 1)
    (chunk,) = run(script, EnvSpec.of_frames("script", (3,), "float32", 1, 3, 1), 1, horizon=4, n=3, life=terminal)
    np.testing.assert_array_equal(chunk.fields["steps"][0], [2, 1, 3, 3] if terminal else [3, 3, 3, 3])
    np.testing.assert_array_equal(chunk.fields["discounts"][0] == 0, [terminal, terminal, False, False])


@pytest.mark.parametrize(
    ("field", "told"),
    [
        ({"returns": Field("float32", before=1)}, "'returns' has before = 1; expected at most 0"),
        ({"actions": Field("int32", before=300)}, "'actions' has before = 300; expected at most 254"),
    ],
)
def test_a_field_that_a_chunk_has_no_room_for_is_refused(field, told):
    spec, td = EnvSpec.of_frames("script", (3,), "float32", 1, 3), TdConfig(n_step=3)
    with pytest.raises(UserError) as info:
        ExperienceWindow(spec, field, {}, lambda window: None, 2, 5, td, False)
    assert told in str(info.value)
