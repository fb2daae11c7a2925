"""Any Gymnasium environment, E copies stepped in this process."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import gymnasium
import numpy as np

from apex_ray.config.schema import EnvConfig
from apex_ray.dotted import imported
from apex_ray.envs.checks import LARGEST, checked_answer, checked_flag, checked_reward, no_pictures, picture
from apex_ray.envs.observing import Observing
from apex_ray.envs.spaces import check_actions
from apex_ray.types import ByteArray, IntArray, Observations, Step
from trainkit.errors import UserError


class GymEnvs(Observing):
    """E copies, stepped one after the other; envs/spaces.py says what becomes of observations and actions.

    The observations are arrays that each `recv` overwrites: copy what must last longer. Gymnasium's time limit is a
    truncation; where the environment has none, `max_episode_frames` is one. What an environment raises in reset or step
    is not caught. UserError, naming environment and step, for observations that are not in its space, for what is not
    finite and for ends that are no bool.
    """

    def __init__(
        self, config: EnvConfig, num_envs: int, render: bool = False, given: gymnasium.Env[Any, Any] | None = None
    ) -> None:
        """`given`: an environment that is there, instead of `num_envs` new ones."""
        self._envs = [make_env(config, render) for _ in range(num_envs)] if given is None else [given]
        super().__init__(config, num_envs, self._envs[0].observation_space, self._envs[0].action_space)
        self._ended = np.zeros(num_envs, bool)

    def _begin(self, index: int, seed: int | None) -> None:
        with self._watched(index, "reset()"):
            answer = self._envs[index].reset(seed=seed)
        observation, info = checked_answer(self.spec.env_id, index, "reset()", answer)
        self._steps[index] = 0
        self._look_for_mask(info)
        self._stacks.begin(index, self._frames(index, observation, info))

    def reset(self, seed: int) -> Observations:
        for e in range(self.num_envs):
            self._begin(e, seed + e)
        self._check_finite()
        self._ended[:] = False
        self._actions = None
        return self._stacks.arrays

    def send(self, actions: IntArray) -> None:
        self._take(actions)

    def recv(self) -> Step:
        actions = self._taken()
        first, count = self._ended.copy(), self.num_envs
        rewards = np.zeros(count, np.float32)
        terminated, truncated = np.zeros(count, bool), np.zeros(count, bool)
        check_actions(self.spec, actions, ~first)
        for e in range(count):
            if first[e]:
                self._begin(e, None)
                continue
            action = self._choices.action(actions[e])
            with self._watched(e, "step()"):
                answer = self._envs[e].step(action)
            observation, reward, ended, cut, info = checked_answer(self.spec.env_id, e, "step()", answer)
            self._steps[e] = at = self._steps[e] + 1
            if type(reward) is not float or not -LARGEST <= reward <= LARGEST:
                reward = checked_reward(self.spec.env_id, e, at, reward)
            if type(ended) is not bool or type(cut) is not bool:
                ended = checked_flag(self.spec.env_id, e, at, "terminated", ended)
                cut = checked_flag(self.spec.env_id, e, at, "truncated", cut)
            self._stacks.push(e, self._frames(e, observation, info))
            rewards[e], terminated[e], truncated[e] = reward, ended, cut and not ended
        self._check_finite()
        self._ended = terminated | truncated
        return Step(self._stacks.arrays, rewards, terminated, truncated, np.zeros(count, bool), first)

    def render(self, index: int) -> ByteArray:
        """The environment's own picture. UserError when it draws none, or one of another form."""
        return picture(self.spec.env_id, self._envs[index].render())

    def close(self) -> None:
        for env in self._envs:
            close: Callable[[], None] = env.close
            close()


def make_env(config: EnvConfig, render: bool) -> gymnasium.Env[Any, Any]:
    """One environment. UserError when pictures are asked of one that draws none."""
    make, kwargs = _maker(config)
    if not render:  # render_mode is not named then: an environment need not take it
        return make(**kwargs)
    _draw_without_a_screen()
    env: gymnasium.Env[Any, Any] = made_to_draw(config.id, make, kwargs)
    if "rgb_array" not in env.metadata.get("render_modes", []):
        raise UserError(no_pictures(config.id))
    return env


def made_to_draw(env_id: str, make: Callable[..., Any], kwargs: Mapping[str, Any]) -> Any:
    """What `make` gives when it is asked for pictures. UserError where it takes no render_mode."""
    try:
        return make(**{**kwargs, "render_mode": "rgb_array"})
    except TypeError as error:
        # Whether it is of render_mode, neither its text nor a signature with **kwargs says.
        make(**kwargs).close()
        raise UserError(no_pictures(env_id, "it takes no render_mode")) from error


def _maker(config: EnvConfig) -> tuple[Callable[..., gymnasium.Env[Any, Any]], dict[str, Any]]:
    """What makes the environment, and what it is called with."""
    limit = config.max_episode_frames
    if config.make is not None:
        own = imported(config.make, "env.make")

        def make(**kwargs: Any) -> gymnasium.Env[Any, Any]:
            env = own(**kwargs)
            if not isinstance(env, gymnasium.Env):
                raise UserError(f"env.make = {config.make!r} gave {type(env).__name__}; expected a gymnasium.Env")
            return gymnasium.wrappers.TimeLimit(env, limit)

        return make, config.kwargs
    kwargs = {"disable_env_checker": True, **config.kwargs}  # envs/checks.py looks closer, and does not only warn
    if gymnasium.spec(config.id).max_episode_steps is None:
        kwargs.setdefault("max_episode_steps", limit)
    return partial(gymnasium.make, config.id), kwargs


def _draw_without_a_screen() -> None:
    """Keep SDL, which Gymnasium's own environments draw with, from looking for a screen and a sound card: it complains
    where there is none.
    """
    os.environ.setdefault("SDL_AUDIODRIVER", "dummy")
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")
