"""What is one actor process on Ray, in the serial run: actors, their weights and their environments."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from apex_ray.agent.contract import Agent
from apex_ray.config.schema import ApexConfig
from apex_ray.envs.action_log import ActionLog
from apex_ray.envs.base import VectorEnv
from apex_ray.experience.variables import VariableClient
from apex_ray.parts import build_actors, build_inference
from apex_ray.types import AnyArray, EnvSpec, Weights


class LearnerSource:
    """One actor's source of weights: the newest that the learner has published, at once."""

    def __init__(self, newest: Callable[[], Weights]) -> None:
        self._newest = newest
        # For weights newer than this version. The first are there at once, as on Ray: nobody acts with those that its
        # network begins with.
        self.requested: int | None = -1

    def request(self, newer_than: int) -> None:
        self.requested = newer_than

    def poll(self) -> Weights | None:
        requested, self.requested = self.requested, None
        newest = self._newest()
        return newest if requested is not None and newest.version > requested else None


@dataclass(frozen=True)
class ProcessState:
    """What a process needs, beside the environments' seeds, to be where it was."""

    weights: Weights  # version -1: those that the networks start with
    steps: int  # of its variable client
    requested: int | None
    actors: list[dict[str, AnyArray]]  # Actor.state_arrays and "log", the actions of its environments


class SerialProcess:
    def __init__(
        self,
        config: ApexConfig,
        spec: EnvSpec,
        agent: Agent,
        index: int,
        processes: int,
        generation: int,
        newest: Callable[[], Weights],
    ) -> None:
        self._network, self._seed, self._index = build_inference(config, agent), config.seed, index
        self._source = LearnerSource(newest)
        self._weights = Weights(-1, {})
        every = config.actors.weights_every_steps * config.actors.groups
        self._variables = VariableClient(self._source, every, self._load_weights)
        self._logs: list[ActionLog] = []
        inference = self._network, self._variables
        self.actors = build_actors(config, spec, agent, index, processes, inference, generation, around=self._logged)

    def _load_weights(self, weights: Weights) -> None:
        self._network.load(weights.params, (self._seed, weights.version, self._index))
        self._weights = weights

    def _logged(self, envs: VectorEnv) -> VectorEnv:
        self._logs.append(ActionLog(envs))
        return self._logs[-1]

    def state(self) -> ProcessState:
        """Of now, between two steps."""
        actors = [a.state_arrays() | {"log": log.actions} for a, log in zip(self.actors, self._logs, strict=True)]
        return ProcessState(self._weights, self._variables.steps, self._source.requested, actors)

    def load(self, state: ProcessState, played: Callable[[int], None] = lambda steps: None) -> None:
        """Go on from `state`, with the generation of then; `played` as ActionLog.play_again says.

        Raises KeyError or ValueError where the configuration is another or the environments don't repeat themselves.
        """
        if len(state.actors) != len(self.actors):
            raise ValueError(f"actors.groups was {len(state.actors)} and is {len(self.actors)}")
        if state.weights.version >= 0:
            self._load_weights(state.weights)
        self._variables.version, self._variables.steps = state.weights.version, state.steps
        self._source.requested = state.requested
        for actor, log, saved in zip(self.actors, self._logs, state.actors, strict=True):
            if saved["log"].shape[1] != log.num_envs:
                raise ValueError("the number of environments differs")
            actor.load_state_arrays(saved, log.play_again(saved["log"], played))

    def close(self) -> None:
        for actor in self.actors:
            actor.close()
