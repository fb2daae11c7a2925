"""Environments that step as one: Gymnasium's vector environments of every autoreset mode, EnvPool's, and your own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AsyncVectorEnv, AutoresetMode, VectorEnv
from gymnasium.vector.utils import concatenate, create_empty_array

from apex_ray.config.schema import EnvConfig
from apex_ray.dotted import imported
from apex_ray.envs.checks import checked_flag, checked_reward, no_pictures, picture
from apex_ray.envs.gym import made_to_draw
from apex_ray.envs.observing import Observing
from apex_ray.envs.spaces import check_actions
from apex_ray.types import MASK, BoolArray, ByteArray, IntArray, Observations, Step
from trainkit.errors import UserError, did_you_mean

ENVPOOL = "EnvPool/"
Vector = VectorEnv[Any, Any, Any]


class GymVectorEnvs(Observing):
    """A vector of E environments as a VectorEnv of ours (envs/base.py).

    Where it begins the next episode in the very step that ends one (Gymnasium's SAME_STEP), or when it is told to
    (DISABLED), an episode's final observation and the next one's first come at once. It then has two streams for each
    environment, whose episodes are played in one and the other by turns, so that in each of them the final observation
    is followed by an autoreset step as everywhere else. The one that waits is at autoreset steps all the time.
    """

    def __init__(self, config: EnvConfig, num_envs: int, make: Callable[[int], Vector], seed_at_make: bool) -> None:
        """`make`, called with a seed, gives the vector; with `seed_at_make` it is made anew for each reset."""
        self._make, self._seed_at_make, self._count = make, seed_at_make, num_envs
        self._vector = make(0)
        self._mode = self._vector.metadata.get("autoreset_mode") or AutoresetMode.NEXT_STEP
        self._streams = 1 if self._mode == AutoresetMode.NEXT_STEP else 2  # of each environment
        self._space, self._action_space = (_single(self._vector, f"{of}_space") for of in ("observation", "action"))
        super().__init__(config, num_envs, self._space, self._action_space, self._streams)
        if self._streams == 2:
            self._notes.append(
                f"env.id = {config.id!r} begins episodes in the step that ends one ({self._mode.value}), so each "
                "environment takes two streams of replay; AutoresetMode.NEXT_STEP takes one"
            )

    def _row(self, batch: Any, index: int, space: spaces.Space[Any] | None = None) -> Any:
        """What environment `index` observed, as its space has it."""
        space = space or self._space
        if isinstance(space, spaces.Dict):
            return {name: self._row(batch[name], index, part) for name, part in space.spaces.items()}
        if isinstance(space, spaces.Tuple):
            return tuple(self._row(batch[i], index, part) for i, part in enumerate(space.spaces))
        return batch[index]

    def reset(self, seed: int) -> Observations:
        if self._seed_at_make:
            self._vector.close()
            self._vector = self._make(seed)
        with self._watched(None, "reset()"):
            batch, infos = self._vector.reset() if self._seed_at_make else self._vector.reset(seed=seed)
        self._steps = [0] * self._count
        self._at = np.arange(self._count) * self._streams  # the stream that each environment is in
        self._ended = np.zeros(self._count, bool)  # at the last step: now comes an autoreset step
        self._left = np.zeros(self.num_envs, bool)  # streams that were left at the last step, for the other one
        self._actions = None
        self._look_for_mask(_of(infos, 0))
        for array in self._stacks.arrays.values():
            array[:] = 0
        for e in range(self._count):
            self._stacks.begin(int(self._at[e]), self._frames(e, self._row(batch, e), _of(infos, e)))
        self._check_finite(self._at)
        return self._stacks.arrays

    def send(self, actions: IntArray) -> None:
        of_envs = actions[self._at]
        self._take(of_envs)
        check_actions(self.spec, of_envs, ~self._ended)
        chosen = [self._choices.action(np.where(ended, 0, a)) for a, ended in zip(of_envs, self._ended, strict=True)]
        room: Any = create_empty_array(self._action_space, len(chosen))
        given = concatenate(self._action_space, chosen, room)
        self._answer: Callable[[], Any] = partial(self._vector.step, given)
        if isinstance(self._vector, AsyncVectorEnv):
            start: Callable[[Any], None] = self._vector.step_async
            start(given)
            self._answer = self._vector.step_wait

    def recv(self) -> Step:
        self._taken()
        with self._watched(None, "step()"):
            batch, given, ended, cut, infos = self._answer()
        if self._left.any():
            for array in self._stacks.arrays.values():
                array[self._left] = 0
        count, first = self._count, np.ones(self.num_envs, bool)  # idle streams only wait for an episode
        rewards = np.zeros(self.num_envs, np.float32)
        terminated, truncated = np.zeros(self.num_envs, bool), np.zeros(self.num_envs, bool)
        begins, over = self._ended, np.zeros(count, bool)
        for e in range(count):
            at = int(self._at[e])
            if begins[e]:  # next-step autoreset: the batch has the first observation
                self._steps[e] = 0
                self._stacks.begin(at, self._frames(e, self._row(batch, e), _of(infos, e)))
                continue
            self._steps[e] = step = self._steps[e] + 1
            first[at] = False
            rewards[at] = checked_reward(self.spec.env_id, e, step, given[e])
            terminated[at] = checked_flag(self.spec.env_id, e, step, "terminated", ended[e])
            truncated[at] = checked_flag(self.spec.env_id, e, step, "truncated", cut[e]) and not terminated[at]
            over[e] = terminated[at] | truncated[at]
            own = over[e] and self._mode == AutoresetMode.SAME_STEP
            seen = self._final(infos, e) if own else (self._row(batch, e), _of(infos, e))
            self._stacks.push(at, self._frames(e, *seen))
        if self._streams == 2 and over.any():
            self._change_streams(over, batch, infos)
            over[:] = False
        self._ended = over
        self._check_finite(self._at)
        nothing = np.zeros(self.num_envs, bool)
        two = self._streams == 2
        self._left = (terminated | truncated) if two else nothing
        return Step(self._stacks.arrays, rewards, terminated, truncated, nothing, first, idle=first if two else None)

    def _final(self, infos: Mapping[str, Any], index: int) -> tuple[Any, Mapping[str, Any]]:
        """The final observation of an episode and its info."""
        if "final_obs" not in infos:
            raise UserError(
                f"env.id = {self._config.id!r} begins episodes in the step that ends one, but its infos have no "
                "'final_obs'; without the final observation nothing can be learned from a time limit"
            )
        final = infos["final_obs"]
        one = self._row(final, index) if isinstance(final, dict | tuple) else final[index]
        return one, _of(infos.get("final_info", {}), index)

    def _change_streams(self, over: BoolArray, batch: Any, infos: Mapping[str, Any]) -> None:
        """The episodes of environments whose last one is over begin, each in its environment's other stream."""
        if self._mode == AutoresetMode.DISABLED:
            with self._watched(None, "reset()"):
                batch, infos = self._vector.reset(options={"reset_mask": over})
        for e in np.flatnonzero(over).tolist():
            self._at[e] ^= 1
            self._steps[e] = 0
            self._stacks.begin(int(self._at[e]), self._frames(e, self._row(batch, e), _of(infos, e)))

    def render(self, index: int) -> ByteArray:
        """The picture of the environment of stream `index`. UserError when there is none."""
        pictures: Any = self._vector.render()
        if not isinstance(pictures, tuple | list | np.ndarray) or len(pictures) != self._count:
            raise UserError(no_pictures(self.spec.env_id))
        return picture(self.spec.env_id, np.asarray(pictures[index // self._streams]))

    def close(self) -> None:
        self._vector.close()


def _single(vector: Vector, name: str) -> spaces.Space[Any]:
    """One environment's space; EnvPool's has it by the name of all."""
    space: spaces.Space[Any] = getattr(vector, f"single_{name}", None) or getattr(vector, name)
    return space


def _of(infos: Any, index: int) -> Mapping[str, Any]:
    """What the infos of a vector have of the mask of environment `index`."""
    if not isinstance(infos, Mapping):  # an array of dicts
        return infos[index] or {}
    if MASK not in infos or not infos.get(f"_{MASK}", np.ones(index + 1, bool))[index]:
        return {}
    return {MASK: infos[MASK][index]}


def vector_envs(config: EnvConfig, num_envs: int, render: bool = False) -> GymVectorEnvs:
    """The vector that `env.id`, `env.vector` or `env.processes` ask for. UserError where it can't be had."""
    kwargs = {**config.kwargs, **({"render_mode": "rgb_array"} if render else {})}
    if config.id.startswith(ENVPOOL):
        pool, name = _envpool(), config.id[len(ENVPOOL) :]
        if name not in pool.list_all_envs():
            raise UserError(
                f"env.id = {config.id!r}: EnvPool has no {name!r}.{did_you_mean(name, pool.list_all_envs())}"
            )
        return GymVectorEnvs(
            config, num_envs, lambda seed: pool.make_gymnasium(name, num_envs=num_envs, seed=seed, **kwargs), True
        )
    if config.processes:
        from apex_ray.envs.processes import OwnProcesses

        return GymVectorEnvs(config, num_envs, lambda seed: OwnProcesses(config, num_envs, render), False)

    def one(**kwargs: Any) -> Any:
        if config.make is None:
            return gymnasium.make_vec(config.id, num_envs, vectorization_mode="vector_entry_point", **kwargs)
        return imported(config.make, "env.make")(num_envs=num_envs, **kwargs)

    def make(seed: int) -> Vector:
        try:
            vector = made_to_draw(config.id, one, config.kwargs) if render else one(**config.kwargs)
        except gymnasium.error.Error as error:
            raise UserError(f"env.vector = true: {error}") from error
        if not isinstance(vector, VectorEnv) or vector.num_envs != num_envs:
            raise UserError(
                f"env.vector = true: env.make = {config.make!r} gave {vector!r}; expected a "
                f"gymnasium.vector.VectorEnv of num_envs = {num_envs} environments, with which it was called"
            )
        return vector

    return GymVectorEnvs(config, num_envs, make, False)


def _envpool() -> Any:
    try:
        import envpool
    except ImportError as error:
        raise UserError(
            f"env.id = 'EnvPool/...' needs EnvPool, which can't be imported ({error}): pip install envpool"
        ) from None
    return envpool
