"""One console, its game and its buttons. A process can hold one at a time; nothing here knows of observations."""

from __future__ import annotations

import gzip
import tempfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import stable_retro

from apex_ray.retro.cartridge import rom as cartridge
from apex_ray.retro.scenario import Scenario
from apex_ray.types import ByteArray


@dataclass(frozen=True)
class Game:
    """What an emulator loads of a game."""

    id: str  # stable-retro's, such as Airstriker-Genesis-v0
    rom: bytes
    suffix: str  # of the ROM's file, which tells stable-retro the console
    info: str  # path of data.json: where in memory the variables are
    scenario: str  # path of the JSON that says what is rewarded and when an episode is done
    demo: int = 0  # the demo cartridge in its place: which of the Sonic games, 1 to 3, it stands in for


@dataclass(frozen=True)
class Stage:
    """Where in which game an episode starts."""

    game: str
    name: str
    state: str = ""  # path of a saved state; "" is the console being switched on
    zone: int = 0  # for the demo cartridge, which makes its states itself
    act: int = 0


class Emulator:
    """A console with a game in it. RuntimeError when this process has another one.

    A frame is 1/60 s. The ROM goes through a temporary file: stable-retro's own folders are never written to.
    """

    def __init__(self, game: Game) -> None:
        with tempfile.TemporaryDirectory(prefix="apex-ray-") as folder:
            path = Path(folder, f"rom{game.suffix}")
            path.write_bytes(game.rom)
            self._core = stable_retro.RetroEmulator(str(path))
            self._system = stable_retro.get_romfile_system(str(path))
        self.game = game
        self.data = stable_retro.data.GameData()
        self._core.configure_data(self.data)
        self._core.step()
        if not self.data.load(game.info, game.scenario):
            raise RuntimeError(f"stable-retro can't read {game.info} or {game.scenario}")
        self._scenario = Scenario.of(Path(game.scenario))
        self._made: dict[str, bytes] = {}  # the cartridge's states, compressed
        self._movie: stable_retro.Movie | None = None
        self._nothing = np.zeros(len(self.buttons), np.uint8)
        self._booted: bytes = self._core.get_state()

    @property
    def buttons(self) -> list[str | None]:
        """The names of the pad's buttons, in the order of a mask."""
        names: list[str | None] = stable_retro.get_system_info(self._system)["buttons"]
        return names

    def start(self, stage: Stage, movie: Path | None = None) -> None:
        """Go to where the stage starts. With `movie`, all buttons from here on are recorded there, in BK2 format."""
        state = self._start_of(stage)
        self.stop_movie()
        self._core.set_state(state)
        self._core.set_button_mask(self._nothing, 0)
        self._core.step()
        if movie is not None:
            self._movie = stable_retro.Movie(str(movie), True, 1)
            self._movie.configure(self.game.id, self._core)
            self._movie.set_state(state)
            self._movie.step()
        self.data.reset()
        self.data.update_ram()
        if self._scenario is not None:
            self._scenario.begin(self.data.lookup_value)
        self._mask = self._nothing

    def press(self, mask: ByteArray) -> None:
        """Hold exactly these buttons, uint8 [buttons] of 0 and 1, from the next frame on."""
        self._mask = mask
        self._core.set_button_mask(mask, 0)

    def frame(self) -> tuple[float, bool]:
        """One frame: (the scenario's reward, whether the scenario is done)."""
        if self._movie is not None:
            for button, pressed in enumerate(self._mask):
                self._movie.set_key(button, bool(pressed), 0)
            self._movie.step()
        self._core.step()
        if self._scenario is not None:
            return self._scenario.frame(self.data.lookup_value)
        self.data.update_ram()
        return float(self.data.current_reward()), bool(self.data.is_done())

    def screen(self) -> ByteArray:
        """The picture now, uint8 [H, W, 3]."""
        picture: ByteArray = self._core.get_screen()
        return picture

    def look(self) -> dict[str, int]:
        """All variables of data.json and of the scenario's script, now."""
        values: dict[str, int] = self.data.lookup_all()
        return values

    def stop_movie(self) -> None:
        """Finish the file of the movie that is being recorded, if one is."""
        if self._movie is not None:
            self._movie.close()
            self._movie = None

    def close(self) -> None:
        """Leave the process free for another emulator."""
        self.stop_movie()
        del self._core, self.data

    def _start_of(self, stage: Stage) -> bytes:
        if self.game.demo:
            if stage.name not in self._made:
                self._made[stage.name] = zlib.compress(self._play_to(stage), level=1)
            return zlib.decompress(self._made[stage.name])
        if not stage.state:
            return self._booted
        with gzip.open(stage.state) as file:
            return file.read()

    def _play_to(self, stage: Stage) -> bytes:
        """The demo cartridge's state at a stage's start: switched on, the stage chosen in memory, START pressed."""
        self._core.set_state(self._booted)
        self._core.set_button_mask(self._nothing, 0)
        for _ in range(60):
            self._core.step()
        for address, value in (
            (cartridge.GAME, self.game.demo),
            (cartridge.ZONE, stage.zone),
            (cartridge.ACT, stage.act),
        ):
            self.data.memory.assign(address, "|u1", value)
        start = np.array([name == "START" for name in self.buttons], np.uint8)
        for mask, frames in ((start, 2), (self._nothing, 30)):
            self._core.set_button_mask(mask, 0)
            for _ in range(frames):
                self._core.step()
        state: bytes = self._core.get_state()
        return state
