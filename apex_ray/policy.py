"""A run's weights as a function: what to do in environments of one's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from apex_ray.agent.build import build_agent
from apex_ray.agent.contract import State
from apex_ray.agent.network import Inference
from apex_ray.agent.policy import AgentPlayer
from apex_ray.config.load import TRAINER, load_run_config
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.base import VectorEnv
from apex_ray.envs.checks import described, misfit
from apex_ray.envs.make import make_envs, probe
from apex_ray.evaluation import evaluation_env
from apex_ray.learner.checkpoint import load_policy_weights
from apex_ray.types import AnyArray, EnvSpec, IntArray
from trainkit.errors import UserError
from trainkit.runs import open_run


class Policy:
    """Trained weights as a function: what to do in each of E environments, or in one."""

    def __init__(self, spec: EnvSpec, config: ApexConfig, params: dict[str, AnyArray]) -> None:
        self.spec, self._config, agent = spec, config, build_agent(config, spec)
        network = Inference(agent)
        network.load(params)
        self._player, self._rng = AgentPlayer(agent, network), np.random.default_rng(config.seed)
        self.initial_state = agent.initial_state

    def __call__(self, observations: AnyArray) -> IntArray:
        """Greedy actions int64 [E] for observations [E, S, *F] as `make_envs` gives them, [] for one [S, *F].

        An agent with a state, such as a memory, is asked by `act` instead.

        Where S is 1 its axis may be left out, and one observation is *F alone: [1, *F] has E = 1. UserError, with its
        shape, dtype and range, for anything else: frames of another size, or numbers from 0 to 1 where the network was
        trained on pixels from 0 to 255.
        """
        given, spec = np.asarray(observations), self.spec
        one: tuple[int, ...] = (spec.stack, *spec.frame_shape)
        axes = len(spec.frame_shape)
        if spec.stack == 1 and given.ndim <= axes + 1 and given.shape[-axes:] == spec.frame_shape:
            given = np.expand_dims(given, -axes - 1)
        alone = given.ndim == len(one)
        batch = given[None] if alone else given
        if problem := misfit(batch, np.dtype(spec.frame_dtype), (len(batch) if batch.ndim else 0, *one)):
            span = ", 0 to 255" if spec.frame_dtype == "uint8" else ""
            lone = "one of the frame's shape" if spec.stack == 1 else "one without E"
            raise UserError(
                f"policy of {spec.env_id}: observations are {described(np.asarray(observations))} ({problem}); "
                f"expected {spec.frame_dtype} [E, {', '.join(map(str, one))}]{span}, as make_envs gives them, or {lone}"
            )
        if self.initial_state(1):
            raise UserError(f"policy of {spec.env_id} has a state; expected act(observations, state)")
        actions, _ = self.act(batch.astype(spec.frame_dtype), {})
        return actions.reshape(()) if alone else actions

    def act(self, observations: AnyArray, state: State) -> tuple[IntArray, State]:
        """Greedy actions [E] for observations [E, S, *F] in a state, and the state after them.

        `initial_state(E)` is that of environments whose episodes begin; agent.contract.begun puts some of them back.
        """
        greedy = np.zeros(len(observations), np.float32)
        return self._player.act(observations, state, greedy, self._rng)

    def make_envs(self, num_envs: int = 1, render: bool = False) -> VectorEnv:
        """Environments with the preprocessing and the time limit of the run's evaluations (envs/base.py says how to
        use them). With `render` they draw pictures.
        """
        return make_envs(evaluation_env(self._config), num_envs, render=render, in_order=True)


def load_policy(run: Path | str, checkpoint: str = "best") -> Policy:
    """The policy of a run folder's checkpoint: best, latest or a folder's name. UserError when it does not read."""
    folder = open_run(run, TRAINER)
    config = load_run_config(folder).config
    params, _ = load_policy_weights(folder, checkpoint)
    return Policy(probe(config.env), config, params)
