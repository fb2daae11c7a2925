"""Atari 2600 games on ALE's C++ vector environment, with DQN's preprocessing (Mnih et al. 2015)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import ale_py
import gymnasium
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.watchdog import Watched
from apex_ray.types import FRAMES, BoolArray, ByteArray, EnvSpec, IntArray, Observations, Step
from trainkit.errors import UserError, did_you_mean

PREFIX = "ALE/"


def games() -> dict[str, str]:
    """Every ALE id, 'ALE/<Game>-v5', with the name of its ROM."""
    gymnasium.register_envs(ale_py)
    return {k: s.kwargs["game"] for k, s in gymnasium.registry.items() if k.startswith(PREFIX) and "game" in s.kwargs}


def rom_name(env_id: str) -> str:
    """The ROM of an ALE id. UserError for an id that is none, or when the ROM's file is missing or damaged."""
    known = games()
    if env_id not in known:
        raise UserError(f"env.id = {env_id!r} is no game of ale-py's {len(known)}.{did_you_mean(env_id, known)}")
    name = known[env_id]
    folder = _rom_folder()
    try:
        roms.get_rom_path(name)
    except OSError as error:
        raise UserError(
            f"env.id = {env_id!r}: its ROM can't be read; expected the file {folder / f'{name}.bin'}, which ale-py "
            f"brings unless ALE_ROMS_DIR names another folder ({error})"
        ) from error
    return name


def of_ram(config: EnvConfig) -> EnvConfig:
    """The settings with which Gymnasium's own Atari environment gives a game's 128 bytes of memory, env.kwargs.obs_type
    = ram. A lost life is not reported.
    """
    kwargs = {
        "frameskip": config.frame_skip,
        "repeat_action_probability": config.sticky_actions,
        "full_action_space": config.full_action_space,
        "max_num_frames_per_episode": config.max_episode_frames,
    }
    return config.model_copy(update={"kwargs": kwargs | config.kwargs})


def _rom_folder() -> Path:
    return Path(os.environ.get("ALE_ROMS_DIR") or Path(roms.__file__).parent)


class AtariEnvs:
    """E games in `threads` threads of ALE's own. Observations [E, S, image_size, image_size] uint8.

    Each step brings a fresh array, which ALE does not write again: it may be kept without a copy. A reset plays 1 to
    `noop_max` frames of no-ops, as dqn_zoo does; where FIRE is pressed it is the first of them. Rewards are unclipped:
    clipping belongs to the learning target. A lost life is reported beside the game's own end and never resets it. The
    time limit counts emulator frames after the no-ops, so that a truncated episode has max_episode_frames /
    frame_skip steps.
    """

    def __init__(self, config: EnvConfig, num_envs: int, threads: int = 1) -> None:
        if config.kwargs:
            raise UserError(
                f"env.kwargs = {config.kwargs} has no effect on {config.id!r}: kwargs go to gymnasium.make, and ALE's "
                "vector environment is set by the keys of env (frame_skip, sticky_actions, ...)"
            )
        size = config.image_size
        self._ale = _Games(config, num_envs, threads, height=size, width=size, stack_num=config.frame_stack)
        self._config, self.num_envs = config, num_envs
        self._watched = Watched(config.id, config.step_limit_s)
        self._filmed: tuple[int, _Games] | None = None  # (environment, its twin in colours)
        self._picture: ByteArray | None = None
        self.spec = EnvSpec.of_frames(
            config.id, (size, size), "uint8", config.frame_stack, self._ale.num_actions, config.frame_skip
        )
        self._ended = np.zeros(num_envs, bool)
        self._lives = np.zeros(num_envs, np.int64)
        self._newest: ByteArray = np.zeros((num_envs, 1, 1, 1), np.uint8)  # the observations last returned

    def reset(self, seed: int) -> Observations:
        # ALE takes 31-bit seeds; environment e gets seed + e.
        first = seed % (2**31 - self.num_envs)
        with self._watched(None, "reset()"):
            self._newest, self._lives = self._ale.reset(first)
            if self._filmed is not None:
                index, twin = self._filmed
                self._picture = twin.reset(first + index)[0][0, -1]
        self._ended[:] = False
        return {FRAMES: self._newest}

    def send(self, actions: IntArray) -> None:
        # ALE waits forever for a thread that met an action outside its set (seen with ale-py 0.12.1).
        if actions.min() < 0 or actions.max() >= self.spec.num_actions:
            raise ValueError(f"actions {actions} outside 0..{self.spec.num_actions - 1} of {self.spec.env_id}")
        self._ale.send(actions)
        if self._filmed is not None:
            index, twin = self._filmed
            twin.send(actions[index : index + 1])

    def recv(self) -> Step:
        first = self._ended
        with self._watched(None, "step()"):
            observations, rewards, terminated, truncated, lives = self._ale.recv(first)
            if self._filmed is not None:
                index, twin = self._filmed
                self._picture = twin.recv(first[index : index + 1])[0][0, -1]
        lost = (lives < self._lives) & ~terminated & ~first
        self._ended, self._lives, self._newest = terminated | truncated, lives, observations
        seen = {FRAMES: observations}
        return Step(seen, rewards.astype(np.float32), terminated, truncated & ~terminated, lost, first)

    def film(self, index: int | None) -> None:
        """As FilmsOne says. ALE draws gray or colours: a second game with the same seed and actions draws the colours.

        All randomness, of no-ops and sticky actions, comes from the seed, so that it is the same game.
        """
        if self._filmed is not None:
            self._filmed[1].close()
        self._filmed = self._picture = None
        if index is not None:
            height, width = _screen(self.spec.env_id)
            self._filmed = (
                index,
                _Games(self._config, 1, threads=1, height=height, width=width, stack_num=1, grayscale=False),
            )

    def render(self, index: int) -> ByteArray:
        """The game's screen in its colours, twice its size, where `film` asked for it; else what the agent sees."""
        if self._picture is not None and self._filmed is not None and self._filmed[0] == index:
            return self._picture.repeat(2, axis=0).repeat(2, axis=1)
        gray: ByteArray = self._newest[index, -1].repeat(4, axis=0).repeat(4, axis=1)
        return np.repeat(gray[:, :, None], 3, axis=2)

    def close(self) -> None:
        self._ale.close()
        self.film(None)


def _screen(env_id: str) -> tuple[int, int]:
    """(height, width) of a game's screen, pixels: 210 x 160 of most."""
    ale = ale_py.ALEInterface()
    ale.loadROM(_rom_folder() / f"{rom_name(env_id)}.bin")
    height, width = ale.getScreenDims()
    return int(height), int(width)


class _Games:
    """ALE's vector environment with the settings of `config`, and dqn_zoo's 1 to `noop_max` no-ops.

    ALE itself plays 0 to noop_max - 1: it is given one more, and a game that none were played in is begun again.
    """

    def __init__(
        self,
        config: EnvConfig,
        num_envs: int,
        threads: int,
        height: int,
        width: int,
        stack_num: int,
        grayscale: bool = True,
    ) -> None:
        self._ale = AtariVectorEnv(
            rom_name(config.id),
            num_envs,
            num_threads=threads,
            max_num_frames_per_episode=config.max_episode_frames,
            repeat_action_probability=config.sticky_actions,
            full_action_space=config.full_action_space,
            img_height=height,
            img_width=width,
            stack_num=stack_num,
            frameskip=config.frame_skip,
            noop_max=config.noop_max + 1 if config.noop_max else 0,
            use_fire_reset=config.fire_reset,
            reward_clipping=False,
            episodic_life=False,
            life_loss_info=False,
            grayscale=grayscale,
        )
        self._noops = config.noop_max > 0
        self.num_actions = len(self._ale.ale.get_action_set())
        self.send = self._ale.send

    def reset(self, seed: int) -> tuple[ByteArray, IntArray]:
        """(observations, lives) of new games."""
        observations: ByteArray
        observations, info = self._ale.reset(seed=seed)
        return self._started(observations, info, np.ones(len(observations), bool))

    def recv(self, first: BoolArray) -> tuple[ByteArray, IntArray, BoolArray, BoolArray, IntArray]:
        """(observations, rewards, terminated, truncated, lives); `first`: where a new game begins."""
        observations: ByteArray
        observations, rewards, terminated, truncated, info = self._ale.recv()
        observations, lives = self._started(observations, info, first)
        return observations, rewards, terminated, truncated, lives

    def _started(self, observations: ByteArray, info: dict[str, Any], first: BoolArray) -> tuple[ByteArray, IntArray]:
        while self._noops and first.any() and (again := first & (info["episode_frame_number"] == 0)).any():
            # Without a seed its random numbers go on.
            observations, info = self._ale.reset(options={"reset_mask": again})
        self.frames: IntArray = info["episode_frame_number"]  # [E] of their games, no-ops included
        return observations, info["lives"]

    def close(self) -> None:
        self._ale.close()
        vars(self._ale).pop("ale", None)  # ALE's threads end with this object, not with close()
        vars(self).pop("send", None)
