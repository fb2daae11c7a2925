"""A process around one emulator, started by retro/envs.py.

It takes (command, *arguments) from its link, answers each, and ends when the link does. The agent's frames go to
shared memory. This file imports neither torch nor Ray.
"""

from __future__ import annotations

import mmap
import os
import socket
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from apex_ray.retro.emulator import Emulator, Game, Stage
from apex_ray.retro.emulator_link import Answer, Link
from apex_ray.retro.stage_end import StageEnd
from apex_ray.types import ByteArray

REWARD_SCALE = 0.01  # of one pixel, or of one point of the contest


@dataclass(frozen=True)
class Task:
    """What all emulator processes of a vector environment play, and how."""

    games: dict[str, Game]
    stages: tuple[Stage, ...]
    buttons: tuple[frozenset[str], ...]  # of each action
    frame_skip: int
    sticky_actions: float
    noop_max: int
    max_frames: int
    image_size: int
    reward: str  # scenario, delta, flat or contest


def agent_frame(screen: ByteArray, size: int) -> ByteArray:
    """A screen, uint8 [H, W, 3], as the agent sees it: luma, averaged over areas down to uint8 [size, size]."""
    gray = Image.fromarray(screen).convert("L").resize((size, size), Image.Resampling.BOX)
    return np.asarray(gray)


class Player:
    """Plays one episode after the other on whatever emulator the stage needs."""

    def __init__(self, task: Task, frame: ByteArray) -> None:
        """`frame`: uint8 [size, size] in shared memory, where the newest frame is put."""
        self._task, self._frame = task, frame
        self._rng = np.random.default_rng()
        self._movies: Path | None = None
        self._episodes = 0
        self._emulator: Emulator | None = None

    def seed(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)

    def record(self, folder: str) -> None:
        """Record the episodes that start from now on in this folder, as 0.bk2, 1.bk2 ...; "" for none any more."""
        self._movies, self._episodes = (Path(folder) if folder else None), 0
        if self._emulator is not None:
            self._emulator.stop_movie()

    def begin(self, index: int) -> None:
        """Start an episode of stage `index`."""
        stage = self._task.stages[index]
        emulator = self._emulator_of(stage.game)
        emulator.start(stage, self._movies and self._movies / f"{self._episodes}.bk2")
        self._episodes += 1
        for _ in range(int(self._rng.integers(1, self._task.noop_max + 1)) if self._task.noop_max else 0):
            emulator.frame()
        values = emulator.look()
        self._variables = set(values)
        self._held: ByteArray | None = None
        self._stage, self._frames = stage, 0
        self._x0, self._lives = values.get("x", 0), values.get("lives", 0)
        self._score = self._best_score = 0.0
        self._best = 0
        self._show(emulator)

    def step(self, action: int) -> Answer:
        """One agent step: the action held for frame_skip frames, or until the scenario is done.

        Sticky frame skip (Nichol et al. 2018, arXiv 1804.03720): with probability `sticky_actions` the first frame of a
        step still has the buttons of the step before. An episode's first step always acts at once.
        """
        task, emulator = self._task, self._emulator
        assert emulator is not None
        wanted = self._masks[action]
        late = self._held is not None and task.sticky_actions > 0 and self._rng.random() < task.sticky_actions
        before, best_score, scenario, done = self._best, self._best_score, 0.0, False
        for substep in range(task.frame_skip):
            if substep > 0 or not late:
                if self._held is not wanted:
                    emulator.press(wanted)
                self._held = wanted
            reward, done = emulator.frame()
            scenario += reward
            self._frames += 1
            self._best = max(self._best, self._position(emulator))
            if done:
                break
        self._score += scenario
        self._best_score = max(self._best_score, self._score)
        rewards = {
            "scenario": scenario,
            "delta": REWARD_SCALE * (self._best - before),
            "flat": REWARD_SCALE * (self._best > before),
            "contest": REWARD_SCALE * (self._best_score - best_score),
        }
        lives, self._lives = self._lives, self._read(emulator, "lives")
        truncated = not done and self._frames >= task.max_frames
        self._show(emulator)
        lost_life = self._lives < lives and not done
        end = self._end(emulator) if done or truncated else None
        return Answer(rewards[task.reward], done, truncated, lost_life, end)

    def screen(self) -> ByteArray:
        assert self._emulator is not None
        return self._emulator.screen()

    def look(self) -> dict[str, int]:
        assert self._emulator is not None
        return self._emulator.look()

    def _position(self, emulator: Emulator) -> int:
        """How far the player is from where it started, pixels.

        The contest's script keeps `offset_x`, which is minus the start's x and grows where an act of Sonic 3 & Knuckles
        goes over into the next and x starts anew.
        """
        if "x" not in self._variables:
            return 0
        offset = self._read(emulator, "offset_x") if "offset_x" in self._variables else -self._x0
        return self._read(emulator, "x") + offset

    def _read(self, emulator: Emulator, name: str) -> int:
        return int(emulator.data.lookup_value(name)) if name in self._variables else 0

    def _end(self, emulator: Emulator) -> StageEnd:
        best_x = float(self._x0 + self._best) if "x" in self._variables else None
        completed = self._read(emulator, "prev_progress") >= 1  # of the contest's script
        return StageEnd(self._stage.name, best_x, self._score, completed, self._frames)

    def _show(self, emulator: Emulator) -> None:
        self._frame[:] = agent_frame(emulator.screen(), self._task.image_size)

    def _emulator_of(self, game: str) -> Emulator:
        """The emulator with this game in it: the one that is there, or a new one in its place."""
        if self._emulator is None or self._emulator.game.id != game:
            if self._emulator is not None:
                self._emulator.close()
            self._emulator = Emulator(self._task.games[game])
            names = self._emulator.buttons
            self._masks = [np.array([name in wanted for name in names], np.uint8) for wanted in self._task.buttons]
        return self._emulator


def serve(descriptor: int, memory: int) -> None:
    """Answer commands until the other side is gone. An exception is the answer to the command that raised it."""
    # Emulators do not interrupt each other or the actor, which has the most to do for the least time.
    os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
    link = Link(socket.socket(fileno=descriptor))
    task, index = link.command()
    size = task.image_size
    frame = np.frombuffer(mmap.mmap(memory, 0), np.uint8, size * size, offset=index * size * size).reshape(size, size)
    player = Player(task, frame)
    commands: dict[str, Callable[..., Any]] = {
        name: getattr(player, name) for name in ("seed", "record", "begin", "step", "screen", "look")
    }
    while True:
        try:
            command, *arguments = link.command()
        except (EOFError, OSError):
            return
        try:
            answer = commands[command](*arguments)
        except Exception as error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            answer = RuntimeError(f"{type(error).__name__}: {error} ({Path(place.filename).name}:{place.lineno})")
        link.reply(answer)
