"""Atari 2600 games on ALE's C++ vector environment, with DQN's preprocessing (Mnih et al. 2015)."""

from __future__ import annotations

import os
from pathlib import Path

import ale_py
import gymnasium
import numpy as np
from ale_py import roms
from ale_py.vector_env import AtariVectorEnv

from apex_ray.config.schema import EnvConfig
from apex_ray.types import AnyArray, ByteArray, EnvSpec, IntArray, Step
from cluster.errors import UserError, did_you_mean

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
    folder = Path(os.environ.get("ALE_ROMS_DIR") or Path(roms.__file__).parent)
    try:
        roms.get_rom_path(name)
    except OSError as error:
        raise UserError(
            f"env.id = {env_id!r}: its ROM can't be read; expected the file {folder / f'{name}.bin'}, which ale-py "
            f"brings unless ALE_ROMS_DIR names another folder ({error})"
        ) from error
    return name


class AtariEnvs:
    """E games in `threads` threads of ALE's own. Observations [E, S, image_size, image_size] uint8.

    Each step brings a fresh array, which ALE does not write again: it may be kept without a copy. A reset plays up to
    `noop_max` no-ops. Rewards are unclipped: clipping belongs to the learning target. A lost life is reported beside
    the game's own end and never resets the game. The time limit counts emulator frames after the no-ops, so that a
    truncated episode has max_episode_frames / frame_skip steps.
    """

    def __init__(self, config: EnvConfig, num_envs: int, threads: int = 1) -> None:
        if config.kwargs:
            raise UserError(
                f"env.kwargs = {config.kwargs} has no effect on {config.id!r}: kwargs go to gymnasium.make, and ALE's "
                "vector environment is set by the keys of env (frame_skip, sticky_actions, ...)"
            )
        self._ale = AtariVectorEnv(
            rom_name(config.id),
            num_envs,
            num_threads=threads,
            max_num_frames_per_episode=config.max_episode_frames,
            repeat_action_probability=config.sticky_actions,
            full_action_space=config.full_action_space,
            img_height=config.image_size,
            img_width=config.image_size,
            stack_num=config.frame_stack,
            frameskip=config.frame_skip,
            noop_max=config.noop_max,
            use_fire_reset=config.fire_reset,
            reward_clipping=False,
            episodic_life=False,
            life_loss_info=False,
        )
        self.num_envs = num_envs
        self.spec = EnvSpec(
            env_id=config.id,
            frame_shape=(config.image_size, config.image_size),
            frame_dtype="uint8",
            stack=config.frame_stack,
            num_actions=len(self._ale.ale.get_action_set()),
            frame_skip=config.frame_skip,
        )
        self._ended = np.zeros(num_envs, bool)
        self._lives = np.zeros(num_envs, np.int64)
        self._newest: ByteArray = np.zeros((num_envs, 1, 1, 1), np.uint8)  # the observations last returned

    def reset(self, seed: int) -> AnyArray:
        # ALE takes 31-bit seeds; environment e gets seed + e.
        self._newest, info = self._ale.reset(seed=seed % (2**31 - self.num_envs))
        self._ended[:] = False
        self._lives = info["lives"]
        return self._newest

    def send(self, actions: IntArray) -> None:
        # ALE waits forever for a thread that met an action outside its set (seen with ale-py 0.12.1).
        if actions.min() < 0 or actions.max() >= self.spec.num_actions:
            raise ValueError(f"actions {actions} outside 0..{self.spec.num_actions - 1} of {self.spec.env_id}")
        self._ale.send(actions)

    def recv(self) -> Step:
        observations, rewards, terminated, truncated, info = self._ale.recv()
        first, ended = self._ended, terminated | truncated
        lost = (info["lives"] < self._lives) & ~ended & ~first
        self._ended, self._lives, self._newest = ended, info["lives"], observations
        return Step(observations, rewards.astype(np.float32), terminated, truncated & ~terminated, lost, first)

    def render(self, index: int) -> ByteArray:
        """The newest frame as the agent sees it, enlarged four times: ALE's vector environment has no colours."""
        gray: ByteArray = self._newest[index, -1].repeat(4, axis=0).repeat(4, axis=1)
        return np.repeat(gray[:, :, None], 3, axis=2)

    def close(self) -> None:
        self._ale.close()
        vars(self._ale).pop("ale", None)  # ALE's threads end with this object, not with close()
