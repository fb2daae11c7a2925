"""A run's weights as a function: what to do in environments of one's own."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.agent.contract import State
from apex_ray.agent.network import Inference
from apex_ray.agent.policy import AgentPlayer
from apex_ray.config.load import TRAINER, load_run_config
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.base import VectorEnv
from apex_ray.envs.checks import described, misfit
from apex_ray.envs.gym import GymEnvs
from apex_ray.envs.make import make_envs, probe
from apex_ray.envs.rollout import Episodes, play_episodes
from apex_ray.evaluation import evaluation_env
from apex_ray.learner.checkpoint import load_policy_weights
from apex_ray.types import FRAMES, MASK, AnyArray, EnvSpec, FloatArray, IntArray, Leaf, Observations
from trainkit.errors import UserError
from trainkit.runs import open_run


class Policy:
    """Trained weights as a function: what to do in each of E environments, or in one.

    Observations are given as the environment's own: one array, or a dict or tuple of arrays, nested as its space is.
    Each is [E, S, *F], or [S, *F] for one environment alone; where S is 1 its axis may be left out. Images have their
    colours first. Legal actions, where the environment says which are, come as `action_mask` [E, A], beside the other
    parts or as an argument. UserError, with shape, dtype and range, for anything else: frames of another size, or
    numbers from 0 to 1 where the network was trained on pixels from 0 to 255.
    """

    def __init__(self, spec: EnvSpec, config: ApexConfig, params: dict[str, AnyArray]) -> None:
        self.spec, self.config, self.agent = spec, config, build_agent(config, spec)
        self._inference = Inference(self.agent)
        self._inference.load(params)
        self.network = self._inference.network
        self._player, self._rng = AgentPlayer(self.agent, self._inference), np.random.default_rng(config.seed)
        self.initial_state, self.next_state = self.agent.initial_state, self.agent.next_state

    def __call__(self, observations: Any, action_mask: Any = None) -> IntArray:
        """Greedy actions int64 [E], [] for one environment alone; [..., K] where actions have K branches.

        UserError for an agent with a state, such as a memory: it is asked by `act` instead.
        """
        batch, alone = self.batch(observations, action_mask)
        self._refuse_state()
        actions, _ = self.act(batch, {})
        return actions[0] if alone else actions

    def q_values(self, observations: Any, action_mask: Any = None) -> FloatArray:
        """The value of each action, float32 [E, A], or [A] for one environment alone; -inf for illegal ones."""
        batch, alone = self.batch(observations, action_mask)
        self._refuse_state()
        outputs, _ = self._inference(batch, {})
        if "q_values" not in outputs:
            raise UserError(f"policy of {self.spec.env_id}: its agent gives {', '.join(outputs)}; expected q_values")
        values: FloatArray = outputs["q_values"]
        return values[0] if alone else values

    def act(self, observations: Any, state: State, action_mask: Any = None) -> tuple[IntArray, State]:
        """Greedy actions [E] for observations of E environments in a state, and the state after them.

        `initial_state(E)` is that of environments whose episodes begin. For the observations that follow it is
        `next_state(state, actions, rewards [E], first [E])`, with those `first` whose episodes begin anew.
        """
        batch, alone = self.batch(observations, action_mask)
        if alone:
            raise UserError(f"policy of {self.spec.env_id}: act is for observations [E, ...]; one alone has E = 1")
        greedy = np.zeros(len(next(iter(batch.values()))), np.float32)
        return self._player.act(batch, state, greedy, self._rng)

    def infer(self, observations: Observations, state: State) -> tuple[dict[str, AnyArray], State]:
        """What the agent's network gives by name [E, ...] for leaves that `batch` gave, and the state after them."""
        return self._inference(observations, state)

    def make_envs(self, num_envs: int = 1, render: bool = False) -> VectorEnv:
        """Environments with the preprocessing and the time limit of the run's evaluations (envs/base.py says how to
        use them). With `render` they draw pictures.
        """
        return make_envs(evaluation_env(self.config), num_envs, render=render, in_order=True)

    def evaluate(
        self, env: gymnasium.Env[Any, Any] | None = None, episodes: int = 20, epsilon: float = 0.0, seed: int = 0
    ) -> Episodes:
        """Play whole episodes in `env`, or in environments as those of the run's evaluations; unclipped returns."""
        if env is None:
            with closing(self.make_envs(min(episodes, self.config.evaluation.envs))) as envs:
                return play_episodes(envs, self._player, episodes, epsilon, seed)
        return play_episodes(GymEnvs(self.config.env, 1, given=env), self._player, episodes, epsilon, seed)

    def _refuse_state(self) -> None:
        if self.initial_state(1):
            raise UserError(f"policy of {self.spec.env_id} has a state; expected act(observations, state)")

    def batch(self, observations: Any, action_mask: Any = None) -> tuple[Observations, bool]:
        """The leaves [E, S, *F] of what may be given, and whether it was one environment alone."""
        leaves = self.spec.observation
        named = isinstance(observations, Mapping) and observations.keys() <= leaves.keys()  # as make_envs names them
        found = dict(observations) if named else dict(_flat(observations))
        if self.spec.masked and f"{FRAMES}.{MASK}" in found:
            found[MASK] = found.pop(f"{FRAMES}.{MASK}")
        if action_mask is not None:
            found[MASK] = action_mask
        ignored = {f"{FRAMES}.{name}" for name in self.config.env.ignore}
        found = {name: part for name, part in found.items() if name not in ignored}
        if found.keys() != leaves.keys():
            raise UserError(
                f"policy of {self.spec.env_id}: observations have {', '.join(found) or 'nothing'}; expected "
                f"{', '.join(leaves)}"
            )
        both = {name: self._leaf(name, leaf, _array(found[name])) for name, leaf in leaves.items()}
        batch = {name: array for name, (array, _) in both.items()}
        counts = {name: "one alone" if alone else f"E = {len(array)}" for name, (array, alone) in both.items()}
        if len(set(counts.values())) > 1:
            raise UserError(f"policy of {self.spec.env_id}: environments differ in number: {counts}")
        return batch, any(alone for _, alone in both.values())

    def _leaf(self, name: str, leaf: Leaf, given: AnyArray) -> tuple[AnyArray, bool]:
        shaped, one = given, (leaf.stack, *leaf.shape)
        axes = len(leaf.shape)
        if leaf.kind == "choice" and len(leaf.sizes) == 1 and given.ndim < 2:
            shaped = given[..., None]  # numbers as a Discrete space has them, one or a batch
        if leaf.stack == 1 and shaped.ndim <= axes + 1 and shaped.shape[-axes:] == leaf.shape:
            shaped = np.expand_dims(shaped, -axes - 1)
        alone = shaped.ndim == len(one)
        batch = shaped[None] if alone else shaped
        if problem := misfit(batch, np.dtype(leaf.dtype), (len(batch) if batch.ndim else 0, *one)):
            span = ", 0 to 255" if leaf.dtype == "uint8" else ""
            lone = "one of the frame's shape" if leaf.stack == 1 else "one without E"
            what = "observations" if name == FRAMES else name
            raise UserError(
                f"policy of {self.spec.env_id}: {what} are {described(given)} ({problem}); expected {leaf.dtype} "
                f"[E, {', '.join(map(str, one))}]{span}, as make_envs gives them, or {lone}"
            )
        return batch.astype(leaf.dtype), alone


def _array(given: Any) -> AnyArray:
    """Lists of unequal length are no array of numbers, which `_leaf` refuses."""
    try:
        return np.asarray(given)
    except ValueError:
        return np.asarray(None)


def _flat(given: Any, name: str = FRAMES) -> list[tuple[str, Any]]:
    """Nested observations as leaves by name."""
    if isinstance(given, Mapping):
        pairs = list(given.items())
    elif isinstance(given, tuple):
        pairs = list(enumerate(given))
    else:
        return [(name, given)]
    return [leaf for key, part in pairs for leaf in _flat(part, f"{name}.{key}")]


def load_policy(run: Path | str, checkpoint: str = "best") -> Policy:
    """The policy of a run folder's checkpoint: best, latest or a folder's name. UserError when it does not read."""
    folder = open_run(run, TRAINER)
    config = load_run_config(folder).config
    params, _ = load_policy_weights(folder, checkpoint)
    return Policy(probe(config.env), config, params)
