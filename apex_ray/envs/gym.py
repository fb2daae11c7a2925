"""Any Gymnasium environment with Discrete actions and Box observations, E copies stepped in this process."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces

from apex_ray.config.schema import EnvConfig
from apex_ray.dotted import imported
from apex_ray.envs.checks import LARGEST, ObservationCheck, checked_flag, checked_reward, described, not_finite
from apex_ray.envs.watchdog import Watched
from apex_ray.types import AnyArray, ByteArray, EnvSpec, IntArray, Step
from trainkit.errors import UserError


def frame_format(env_id: str, space: spaces.Space[Any]) -> tuple[tuple[int, ...], str]:
    """(frame shape, dtype) that an observation space becomes. UserError for one that is not supported."""
    if isinstance(space, spaces.Box):
        shape = space.shape
        if len(shape) == 1:
            return shape, "float32"
        if len(shape) == 2 and space.dtype == np.uint8:
            return shape, "uint8"
        # Colours are the last axis and few; (4, 84, 84) is a stack of frames, which would be read as 84 colours.
        if len(shape) == 3 and space.dtype == np.uint8 and shape[2] <= min(shape[:2]):
            height, width, colours = shape
            return (height, width) if colours == 1 else (colours, height, width), "uint8"
    raise UserError(
        f"env.id = {env_id!r} has observations {space}; expected a Box: a vector [D], or a uint8 image [H, W] or "
        "[H, W, C] with C colours (env.frame_stack stacks frames, so the environment should not)"
    )


class GymEnvs:
    """E copies, stepped one after the other. Vectors become float32 frames (D,), images stay uint8.

    Gray images are frames (H, W), colour images (C, H, W). The observations [E, S, *F] are one array that each
    `recv` overwrites: copy what must last longer. Actions count from 0 whatever the environment's own first one is.
    Gymnasium's time limit is a truncation; where the environment has none, `max_episode_frames` is one. What an
    environment raises in reset or step is not caught. UserError, naming environment and step, for observations that are
    not in its space, for what is not finite and for ends that are no bool.
    """

    def __init__(self, config: EnvConfig, num_envs: int, render: bool = False) -> None:
        self._envs = [_make(config, render) for _ in range(num_envs)]
        actions = self._envs[0].action_space
        if not isinstance(actions, spaces.Discrete):
            raise UserError(f"env.id = {config.id!r} has actions {actions}; expected Discrete")
        space = self._envs[0].observation_space
        shape, dtype = frame_format(config.id, space)
        assert isinstance(space, spaces.Box)  # else frame_format had refused it
        self._checks = [ObservationCheck(config.id, space) for _ in range(num_envs)]
        self._watched = Watched(config.id, config.step_limit_s)
        self._steps = [0] * num_envs  # of the episode
        self._first_action = int(actions.start)
        self.num_envs = num_envs
        self.spec = EnvSpec(config.id, shape, dtype, config.frame_stack, int(actions.n), frame_skip=1)
        self._observations = np.zeros((num_envs, config.frame_stack, *shape), dtype)
        self._ended = np.zeros(num_envs, bool)
        self._actions: IntArray | None = None

    @staticmethod
    def _frame(observation: AnyArray) -> AnyArray:
        """An environment's observation as a frame [*F]: colours first, a lone colour dropped."""
        if observation.ndim == 3:
            return observation[:, :, 0] if observation.shape[2] == 1 else np.moveaxis(observation, 2, 0)
        return observation

    @property
    def notes(self) -> list[str]:
        """What is not as the environment says and does no harm."""
        return [check.note for check in self._checks if check.note]

    def _begin(self, index: int, seed: int | None) -> None:
        self._watched.begin(index, "reset()")
        try:
            observation, _ = self._envs[index].reset(seed=seed)
        finally:
            self._watched.end()
        self._steps[index] = 0
        self._observations[index] = 0
        self._observations[index, -1] = self._frame(self._checks[index].checked(observation, index, 0))

    def reset(self, seed: int) -> AnyArray:
        for e in range(self.num_envs):
            self._begin(e, seed + e)
        self._check_finite()
        self._ended[:] = False
        self._actions = None
        return self._observations

    def send(self, actions: IntArray) -> None:
        if self._actions is not None:
            raise RuntimeError("send() twice without recv()")
        self._actions = actions

    def recv(self) -> Step:
        if self._actions is None:
            raise RuntimeError("recv() without send()")
        first, count = self._ended.copy(), self.num_envs
        rewards = np.zeros(count, np.float32)
        terminated, truncated = np.zeros(count, bool), np.zeros(count, bool)
        for e in range(count):
            if first[e]:
                self._begin(e, None)
                continue
            action = int(self._actions[e])
            if not 0 <= action < self.spec.num_actions:
                raise ValueError(f"action {action} outside 0..{self.spec.num_actions - 1} of {self.spec.env_id}")
            self._watched.begin(e, "step()")
            try:
                observation, reward, ended, cut, _ = self._envs[e].step(action + self._first_action)
            finally:
                self._watched.end()
            self._steps[e] = at = self._steps[e] + 1
            if type(reward) is not float or not -LARGEST <= reward <= LARGEST:
                reward = checked_reward(self.spec.env_id, e, at, reward)
            if type(ended) is not bool or type(cut) is not bool:
                ended = checked_flag(self.spec.env_id, e, at, "terminated", ended)
                cut = checked_flag(self.spec.env_id, e, at, "truncated", cut)
            self._observations[e, :-1] = self._observations[e, 1:]
            self._observations[e, -1] = self._frame(self._checks[e].checked(observation, e, at))
            rewards[e], terminated[e], truncated[e] = reward, ended, cut and not ended
        self._check_finite()
        self._actions = None
        self._ended = terminated | truncated
        return Step(self._observations, rewards, terminated, truncated, np.zeros(count, bool), first)

    def _check_finite(self) -> None:
        newest = self._observations[:, -1]
        if newest.dtype == np.float32 and not np.isfinite(newest).all():
            raise not_finite(self.spec.env_id, newest, self._steps)

    def render(self, index: int) -> ByteArray:
        """The environment's own picture. UserError when it draws none, or one of another form."""
        picture: Any = self._envs[index].render()
        if not isinstance(picture, np.ndarray):
            raise UserError(_no_pictures(self.spec.env_id))
        if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
            raise UserError(
                f"env.id = {self.spec.env_id!r} draws pictures of {described(picture)}; expected uint8 [H, W, 3] (red, "
                "green, blue), so there can be no video of it"
            )
        return picture

    def close(self) -> None:
        for env in self._envs:
            env.close()


def _make(config: EnvConfig, render: bool) -> gymnasium.Env[Any, Any]:
    """One environment. UserError when pictures are asked of one that draws none."""
    make, kwargs = _maker(config)
    if not render:  # render_mode is not named then: an environment need not take it
        return make(**kwargs)
    _draw_without_a_screen()
    try:
        env = make(**{**kwargs, "render_mode": "rgb_array"})
    except TypeError as error:
        if "render_mode" not in str(error):
            raise
        raise UserError(_no_pictures(config.id)) from error
    if "rgb_array" not in env.metadata.get("render_modes", []):
        raise UserError(_no_pictures(config.id))
    return env


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
    """Keep SDL, which Gymnasium's own environments draw with, from looking for a screen, which it complains of."""
    if not any(os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "XDG_RUNTIME_DIR")):
        os.environ.setdefault("SDL_VIDEODRIVER", "dummy")


def _no_pictures(env_id: str) -> str:
    return f"env.id = {env_id!r} draws no pictures (render_mode 'rgb_array'), so there can be no video of it"
