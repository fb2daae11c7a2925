"""Scripted players on a corridor that can be worked out by hand."""

import numpy as np

from apex_ray.retro.stage_end import StageEnd
from apex_ray.types import EnvSpec, Step
from benchmarks.scripted_players import Jerk, Mixture

RIGHT, LEFT, JUMP = range(3)


class Corridor:
    """A wall at 20 that only a jump passes; episodes of 300 steps; 1 for each new furthest position."""

    num_envs = 1
    spec = EnvSpec.of_frames("corridor", (1,), "float32", 1, 3, 1)

    def reset(self, seed):
        self.x = self.best = self.steps = 0
        self.ended = False
        return np.zeros((1, 1, 1), np.float32)

    def send(self, actions):
        self.action = int(actions[0])

    def recv(self):
        no = np.zeros(1, bool)
        if self.ended:
            self.reset(0)
            return Step(np.zeros((1, 1, 1), np.float32), np.zeros(1, np.float32), no, no, no, ~no)
        self.steps += 1
        if self.action == LEFT:
            self.x = max(self.x - 1, 0)
        elif self.x != 20 or self.action == JUMP:
            self.x += 1
        reward, self.best = float(self.x > self.best), max(self.best, self.x)
        self.ended = self.steps == 300
        ends = {0: StageEnd("corridor", float(self.best), float(self.best), False, 300).values} if self.ended else {}
        return Step(
            np.zeros((1, 1, 1), np.float32), np.array([reward], np.float32), no, np.array([self.ended]), no, no, ends
        )


def test_mixture_draws_with_its_probabilities():
    player = Mixture([0.8, 0.0, 0.2], seed=1)
    actions, _ = player.act(np.zeros((10_000, 1, 1)), {}, np.zeros(10_000), np.random.default_rng(0))
    shares = np.bincount(actions, minlength=3) / 10_000
    assert shares[1] == 0 and abs(shares[0] - 0.8) < 0.02, "5 standard deviations are 0.02"


def test_jerk_repeats_what_did_best():
    envs = Corridor()
    jerk = Jerk(envs, RIGHT, LEFT, JUMP, seed=2)
    ends = jerk.play(20_000)
    best = max(jerk.sequences, key=lambda s: s.mean)
    assert len(best.returns) > 20, "towards the end it nearly always repeats"
    assert len(set(best.returns[1:])) == 1, "the corridor is not random: a sequence repeats exactly"
    assert best.mean > 100 and len(ends) == -(-jerk.steps // 300)
    first, last = [e.score for e in ends[:10]], [e.score for e in ends[-10:]]
    assert np.mean(last) > np.mean(first)


def test_jerk_is_the_same_with_one_seed():
    runs = [Jerk(Corridor(), RIGHT, LEFT, JUMP, seed=4).play(3_000) for _ in range(2)]
    assert runs[0] == runs[1] and len(runs[0]) == 10
