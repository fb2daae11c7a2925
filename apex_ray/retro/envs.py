"""Any game of stable-retro, one emulator a process, stepped together."""

from __future__ import annotations

import mmap
import os
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from apex_ray.config.schema import EnvConfig
from apex_ray.envs.base import ProcessLostError
from apex_ray.envs.checks import checked_reward
from apex_ray.envs.watchdog import Watched
from apex_ray.retro import games, pad
from apex_ray.retro.emulator_link import Answer, Link
from apex_ray.retro.settings import REPORTER, settings_of
from apex_ray.types import FRAMES, ByteArray, EnvSpec, EpisodeValues, IntArray, Observations, Step

CLOSE_S = 5.0


class RetroEnvs:
    """E games in E processes. Observations [E, S, image_size, image_size] uint8, gray.

    A process holds one emulator and stepping it holds Python's lock, so every environment has a process of its own:
    started anew, not forked, since an emulator does not survive that. Frames come through shared memory.

    Which stage an episode plays: with `in_order`, episode k of environment e plays stage (e + k E) modulo their number,
    so that N episodes shared out evenly play the first N of the stages in turn. Otherwise every environment goes
    through all stages in an order of its own, again and again, so that stages and epsilons do not go together.

    The time limit counts emulator frames after the no-ops. Emulators have no randomness: with one seed all is the same.
    """

    movie_suffix = ".bk2"  # BizHawk's format; stable-retro's playback script takes it too

    def __init__(self, config: EnvConfig, num_envs: int, in_order: bool = False) -> None:
        self.task = games.task(config)
        self.num_envs, self._in_order = num_envs, in_order
        size = config.image_size
        self.spec = EnvSpec.of_frames(
            config.id,
            (size, size),
            "uint8",
            config.frame_stack,
            num_actions=len(self.task.buttons),
            frame_skip=config.frame_skip,
            scores_of=settings_of(config).scores_of,
            reporter=REPORTER,
        )
        self._memory = os.memfd_create("apex-ray-frames")
        os.ftruncate(self._memory, num_envs * size * size)
        self._frames = np.frombuffer(mmap.mmap(self._memory, 0), np.uint8).reshape(num_envs, size, size)
        self._observations = np.zeros((num_envs, config.frame_stack, size, size), np.uint8)
        self._processes = [_start(self._memory) for _ in range(num_envs)]
        for e, process in enumerate(self._processes):
            process.link.ask(self.task, e)
        self._ended = np.zeros(num_envs, bool)
        self._actions: IntArray | None = None
        self._steps = [0] * num_envs  # of the episode
        self._watched = Watched(config.id, config.step_limit_s)
        self._pressed = [frozenset[str]()] * num_envs

    def reset(self, seed: int) -> Observations:
        self._orders = [np.random.default_rng([seed, e]) for e in range(self.num_envs)]
        self._waiting: list[list[int]] = [[] for _ in range(self.num_envs)]
        self._episodes = [0] * self.num_envs
        for e in range(self.num_envs):
            self._ask(e, "seed", seed + e)
            self._answer(e)
        self._steps = [0] * self.num_envs
        for e in range(self.num_envs):
            self._begin(e)
        self._observations[:] = 0
        for e in range(self.num_envs):
            self._answer(e)
            self._observations[e, -1] = self._frames[e]
        self._ended[:] = False
        self._actions = None
        return {FRAMES: self._observations}

    def send(self, actions: IntArray) -> None:
        if self._actions is not None:
            raise RuntimeError("send() twice without recv()")
        if actions.min() < 0 or actions.max() >= self.spec.num_actions:
            raise ValueError(f"actions {actions} outside 0..{self.spec.num_actions - 1} of {self.spec.env_id}")
        self._actions = actions
        for e, action in enumerate(actions.tolist()):
            if self._ended[e]:
                self._begin(e)
            else:
                self._pressed[e] = self.task.buttons[action]
                self._ask(e, "step", action)

    def recv(self) -> Step:
        if self._actions is None:
            raise RuntimeError("recv() without send()")
        self._actions = None
        first, count = self._ended, self.num_envs
        rewards = np.zeros(count, np.float32)
        terminated, truncated, life_lost = (np.zeros(count, bool) for _ in range(3))
        ends: dict[int, EpisodeValues] = {}
        for e in reversed(
            range(count)
        ):  # the last to be asked is likely the last to answer: the others wait for no one
            answer: Answer | None = self._answer(e)
            if answer is None:  # the start of an episode
                self._steps[e] = 0
                self._observations[e] = 0
                self._observations[e, -1] = self._frames[e]
                continue
            self._observations[e, :-1] = self._observations[e, 1:]
            self._observations[e, -1] = self._frames[e]
            self._steps[e] += 1
            # A scenario's script can divide by zero.
            rewards[e] = checked_reward(self.spec.env_id, e, self._steps[e], answer.reward)
            terminated[e] = answer.terminated
            truncated[e], life_lost[e] = answer.truncated, answer.life_lost
            if answer.end is not None:
                ends[e] = answer.end.values
        self._ended = terminated | truncated
        seen = {FRAMES: self._observations}
        return Step(seen, rewards, terminated, truncated, life_lost, first, ends)

    def render(self, index: int) -> ByteArray:
        """The game's screen, with the buttons that are pressed below it and what stands in for the game, if so."""
        self._ask(index, "screen")
        return pad.draw(self._answer(index), self._pressed[index], self.task.buttons, self.spec.scores_of)

    def look(self, index: int) -> dict[str, int]:
        """The game's variables now (stable-retro's info)."""
        self._ask(index, "look")
        values: dict[str, int] = self._answer(index)
        return values

    def record(self, index: int, folder: Path | None) -> None:
        """As RecordsMovies says."""
        self._ask(index, "record", str(folder.absolute()) if folder else "")
        self._answer(index)

    def close(self) -> None:
        for process in self._processes:
            process.link.close()
        for process in self._processes:
            try:
                process.popen.wait(CLOSE_S)
            except subprocess.TimeoutExpired:
                process.popen.kill()
                process.popen.wait()
        if self._memory >= 0:
            os.close(self._memory)
            self._memory = -1

    def _begin(self, e: int) -> None:
        """Ask for the next episode of environment e."""
        count = len(self.task.stages)
        if self._in_order:
            stage = (e + self._episodes[e] * self.num_envs) % count
        else:
            if not self._waiting[e]:
                self._waiting[e] = self._orders[e].permutation(count).tolist()
            stage = self._waiting[e].pop()
        self._episodes[e] += 1
        self._pressed[e] = frozenset()
        self._ask(e, "begin", stage)

    def _ask(self, e: int, *command: Any) -> None:
        """A command with its arguments, or an agent step: `step` and the action."""
        link = self._processes[e].link
        try:
            if command[0] == "step":
                link.step(command[1])
            else:
                link.ask(*command)
        except OSError:
            raise self._lost(e) from None

    def _answer(self, e: int) -> Any:
        try:
            with self._watched(e, "the emulator"):
                answer = self._processes[e].link.answer()
        except (EOFError, OSError):
            raise self._lost(e) from None
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    def _lost(self, e: int) -> ProcessLostError:
        code = self._processes[e].popen.wait()
        how = f"was killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
        return ProcessLostError(f"the emulator's process of environment {e} of {self.spec.env_id} {how}")


@dataclass(frozen=True)
class _Process:
    """An emulator's process and the way to talk to it."""

    popen: subprocess.Popen[bytes]
    link: Link


def _start(memory: int) -> _Process:
    """A process of retro/emulator_process.py. It ends when this one does, since its socket then ends."""
    ours, theirs = socket.socketpair()
    with theirs:
        program = f"from apex_ray.retro.emulator_process import serve; serve({theirs.fileno()}, {memory})"
        popen = subprocess.Popen(
            [sys.executable, "-c", program],
            stdin=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(), memory),
            # A job's folder is on this process's path only; Ctrl-C is the parent's to answer.
            env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
            process_group=0,
        )
    return _Process(popen, Link(ours))
