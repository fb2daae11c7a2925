"""The actor's loop: infer, explore, step the environments, and hand over a chunk whenever one is complete."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from apex_ray import rng
from apex_ray.agent.contract import Agent
from apex_ray.agent.exploration import epsilons_now
from apex_ray.agent.policy import Infer
from apex_ray.envs.base import VectorEnv
from apex_ray.envs.seeds import TRAINING, first_seed
from apex_ray.experience.variables import Variables
from apex_ray.experience.window import ExperienceWindow
from apex_ray.types import AnyArray, Chunk, EpisodeEnd, FloatArray, Observations, Step
from trainkit.schedule import Points


class Actor:
    """Steps E environments with one epsilon each. Knows nothing of processes, replay or how weights travel."""

    def __init__(
        self,
        index: int,
        agent: Agent,
        envs: VectorEnv,
        infer: Infer,
        window: ExperienceWindow,
        epsilons: FloatArray,
        variables: Variables,
        seed: Sequence[int],
        schedule: Points = (),
        first_sequence: int = 0,
    ) -> None:
        """`epsilons` [E]: each environment's own; `schedule`: by updates, what all of them have at least;
        `first_sequence`: of its chunks.
        """
        self._index, self._agent, self._envs, self._infer, self._window = index, agent, envs, infer, window
        self._epsilons, self._schedule, self._variables = epsilons, schedule, variables
        self._rng = np.random.default_rng(np.random.SeedSequence([*seed, index]).generate_state(2)[0])
        self._observations = envs.reset(first_seed(TRAINING, envs.num_envs, *seed, index))
        self._state = agent.initial_state(envs.num_envs)
        self._actions = np.zeros((envs.num_envs, *envs.spec.action_shape), np.int64)
        self._returns = np.zeros(envs.num_envs)
        self._lengths = np.zeros(envs.num_envs, np.int64)
        self._sequence = first_sequence
        self._ended: list[EpisodeEnd] = []
        self.steps = 0  # agent steps of all environments, autoreset steps included

    @property
    def version(self) -> int:
        """Of the weights it acts with."""
        return self._variables.version

    def start_step(self) -> Chunk | None:
        """Choose actions and set the environments going.

        Returns a chunk when one is complete: it can be sent while they emulate, and its arrays are valid until
        `finish_step`.
        """
        self._variables.step()
        outputs, self._state = self._infer(self._observations, self._state)
        self._window.observe(self._observations, outputs)
        epsilons = epsilons_now(self._epsilons, self._schedule, self.version)
        self._actions = self._agent.choose(outputs, epsilons, self._rng)
        self._window.decide(self._actions)
        self._envs.send(self._actions)
        chunk = self._window.chunk()  # while the environments emulate
        if chunk is not None:
            chunk.actor, chunk.sequence, chunk.version = self._index, self._sequence, self.version
            self._sequence += 1
        return chunk

    def finish_step(self) -> None:
        """The second half: wait for the environments and note what they answered."""
        step = self._envs.recv()
        self._window.result(step)
        self._observations = step.observations
        self._state = self._agent.next_state(self._state, self._actions, step.rewards, step.first)
        self._count(step)

    def _count(self, step: Step) -> None:
        first = step.first
        self.steps += len(first) if step.idle is None else int(np.count_nonzero(~step.idle))
        self._returns += step.rewards
        self._lengths += 1
        if first.any():
            self._returns[first] = 0.0
            self._lengths[first] = 0
        for e in np.flatnonzero(step.terminated | step.truncated).tolist():
            episode = EpisodeEnd(
                float(self._returns[e]), int(self._lengths[e]), float(self._epsilons[e]), step.ends.get(e)
            )
            self._ended.append(episode)

    def ended_episodes(self) -> list[EpisodeEnd]:
        """Episodes that ended since the last call, returns unclipped."""
        ended, self._ended = self._ended, []
        return ended

    def state_arrays(self) -> dict[str, AnyArray]:
        """Everything but weights and environments that is needed to go on from here, between two steps."""
        return {
            "returns": self._returns,
            "lengths": self._lengths,
            "counts": np.asarray([self._sequence, self.steps], np.int64),
            "rng": rng.state_of(self._rng),
            **{f"observed.{name}": array for name, array in self._observations.items()},
            **{f"state.{name}": array for name, array in self._state.items()},
            **{f"window.{name}": array for name, array in self._window.state_arrays().items()},
        }

    def load_state_arrays(self, state: Mapping[str, AnyArray], observations: Observations) -> None:
        """What `state_arrays` gave, with the environments' observations of now.

        Raises ValueError where these are not those of then.
        """
        if not all(np.array_equal(array, state[f"observed.{name}"]) for name, array in observations.items()):
            raise ValueError("the environments' observations differ")
        self._observations = observations
        self._returns[:], self._lengths[:] = state["returns"], state["lengths"]
        self._sequence, self.steps = (int(n) for n in state["counts"])
        rng.restore(self._rng, state["rng"])
        self._state = {name: np.array(state[f"state.{name}"]) for name in self._state}
        of_window = {n.removeprefix("window."): array for n, array in state.items() if n.startswith("window.")}
        self._window.load_state_arrays(of_window)

    def close(self) -> None:
        self._envs.close()
