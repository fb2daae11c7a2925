"""From a configuration to what the emulators load: game, ROM, states and scenario, each checked before any starts.

stable-retro itself is silent about most mistakes: a wrong ROM shows garbage, an unknown scenario rewards nothing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

import stable_retro
from stable_retro.data import Integrations, get_file_path

from apex_ray.config.plugins import KWARGS
from apex_ray.config.schema import EnvConfig
from apex_ray.retro import sonic
from apex_ray.retro.cartridge import rom as cartridge
from apex_ray.retro.emulator import Game, Stage
from apex_ray.retro.emulator_link import MAX_ACTIONS
from apex_ray.retro.emulator_process import Task
from apex_ray.retro.roms import Shelf, look_through, rom_sha1
from apex_ray.retro.settings import settings_of
from trainkit.errors import UserError, did_you_mean
from trainkit.words import plural

PREFIX = "retro/"
STAGES = f"{KWARGS}.stages"
VERSION = "-v0"  # how stable-retro's ids end; gym-retro's had none
NO_BUTTON = "NONE"
MENU_BUTTONS = ("START", "SELECT", "MODE")


def task(config: EnvConfig) -> Task:
    """What an environment of stable-retro plays. UserError for everything about it that is wrong or missing."""
    settings, is_sonic = settings_of(config), config.id == sonic.ID
    if is_sonic:
        table = sonic.select(settings.stages, STAGES)
        names: Sequence[str] = list(dict.fromkeys(s.game for s in table))
    else:
        names = [game_name(config.id)]
    if settings.demo and not set(names) <= set(sonic.GAMES):
        raise UserError(f"{KWARGS}.demo: the demo cartridge stands in for Sonic only, not for {config.id!r}")
    scenario = settings.scenario or (sonic.SCENARIO if is_sonic else "scenario")
    shelf = look_through(settings.roms) if settings.roms is not None and not settings.demo else None
    games = _load_games(names, scenario, shelf, settings.demo)
    if settings.reward in ("delta", "flat") and any("x" not in variables(g) for g in games.values()):
        raise UserError(
            f"{KWARGS}.reward = {settings.reward!r}: {config.id!r} has no variable x; expected {KWARGS}.reward=scenario"
        )
    if is_sonic:
        stages = [Stage(s.game, s.state, _state(s.game, s.state), s.zone, s.act) for s in table]
    elif settings.demo:
        known = {s.state: s for s in sonic.table() if s.game == names[0]}
        chosen = _states(known, names[0], settings.stages)
        stages = [Stage(names[0], s, "", known[s].zone, known[s].act) for s in chosen]
    else:
        states = stable_retro.data.list_states(names[0], Integrations.STABLE)
        stages = [Stage(names[0], s, _state(names[0], s)) for s in _states(states, names[0], settings.stages)]
    return Task(
        games=games,
        stages=tuple(stages),
        buttons=_actions(settings.actions or (sonic.ACTIONS if is_sonic else ()), games[names[0]]),
        frame_skip=config.frame_skip,
        sticky_actions=config.sticky_actions,
        noop_max=config.noop_max,
        max_frames=config.max_episode_frames,
        image_size=config.image_size,
        reward=settings.reward,
    )


def _load_games(names: Sequence[str], scenario: str, shelf: Shelf | None, demo: bool) -> dict[str, Game]:
    """All of them, or a UserError that also says what can be played without those that are missing."""
    games: dict[str, Game] = {}
    problem: UserError | None = None
    for name in names:
        try:
            games[name] = load_game(name, scenario, shelf, demo)
        except UserError as error:
            problem = problem or error
    if problem is not None and games:
        there = ", ".join(f"{name}/*" for name in games)
        raise UserError(f"{problem}; what is there can be played with {STAGES}=[{there}]")
    if problem is not None:
        raise problem
    return games


def game_name(env_id: str) -> str:
    """stable-retro's name of a game: retro/Airstriker-Genesis and retro/Airstriker-Genesis-v0 are the same one."""
    name = env_id.removeprefix(PREFIX)
    known = stable_retro.data.list_games(Integrations.STABLE)
    for wanted in (name, name + VERSION):
        if wanted in known:
            return wanted
    hint = did_you_mean(name, [sonic.ID.removeprefix(PREFIX), *known], cutoff=0.6)
    raise UserError(f"env.id = {env_id!r} is no game of the {len(known)} that stable-retro knows.{hint}")


def hashes_of(name: str) -> list[str]:
    """The SHA-1 sums that a game's ROM may have."""
    return Path(_file(name, "rom.sha")).read_text().split()


def load_game(name: str, scenario: str, shelf: Shelf | None, demo: bool) -> Game:
    """A game with its ROM: the demo cartridge, one of `shelf`, or where stable-retro has it. UserError for none."""
    path = get_file_path(name, f"{scenario}.json", Integrations.STABLE)
    if path is None:
        known = stable_retro.data.list_scenarios(name, Integrations.STABLE)
        raise UserError(
            f"{KWARGS}.scenario = {scenario!r}: {name} has none of that name; expected one of {', '.join(known)}."
            f"{did_you_mean(scenario, known)}"
        )
    info = _file(name, "data.json")
    if demo:
        return Game(name, cartridge.build_rom(), ".md", info, path, demo=sonic.GAMES.index(name) + 1)
    rom, suffix = _rom(name, shelf)
    return Game(name, rom, suffix, info, path)


def _rom(name: str, shelf: Shelf | None) -> tuple[bytes, str]:
    """(bytes, suffix of its file) of a game's ROM, which has the right SHA-1."""
    hashes = hashes_of(name)
    if shelf is None:
        try:
            path = Path(stable_retro.data.get_romfile_path(name, Integrations.STABLE))
        except FileNotFoundError:
            raise UserError(_missing(name, hashes, "stable-retro has not been given it")) from None
        data = path.read_bytes()
        if (sha1 := rom_sha1(data)) not in hashes:
            raise UserError(f"the ROM {path} of {name} has SHA-1 {sha1}; expected {' or '.join(hashes)}")
        return data, path.suffix
    found = shelf.find(hashes)
    if found is not None:
        return found.read(), _suffix(name)
    wrong = shelf.resembling(title_words(name))
    if wrong:
        raise UserError(
            f"{KWARGS}.roms = {str(shelf.folder)!r}: {wrong[0].place} has SHA-1 {wrong[0].sha1}; {name} "
            f"needs the ROM with {' or '.join(hashes)}"
        )
    raise UserError(
        _missing(
            name,
            hashes,
            f"{KWARGS}.roms = {str(shelf.folder)!r} holds no such ROM ({plural(shelf.looked_at, 'file')} looked at)",
        )
    )


def _missing(name: str, hashes: Iterable[str], why: str) -> str:
    demo = "; --demo plays without any" if name in sonic.GAMES else ""
    return f"{name} needs its ROM, with SHA-1 {' or '.join(hashes)}: {why}; expected --roms FOLDER with it in it{demo}"


def title_words(name: str) -> list[str]:
    """Words that the title of a game's ROM, or its file's name, has."""
    known = {
        sonic.GAMES[0]: ["SONIC", "HEDGEHOG"],
        sonic.GAMES[1]: ["SONIC", "2"],
        sonic.GAMES[2]: ["SONIC", "KNUCKLES"],
    }
    return known.get(name, [name.split("-")[0].upper()])


def _suffix(name: str) -> str:
    """Of the files of a game's console: 'X-Genesis-v0' -> '.md'."""
    system = name.removesuffix(VERSION).rpartition("-")[2]
    suffixes: dict[str, str] = stable_retro.data.EMU_EXTENSIONS
    return next(suffix for suffix, of in suffixes.items() if of == system)


def variables(game: Game) -> set[str]:
    """Of a game's data.json."""
    return set(json.loads(Path(game.info).read_text())["info"])


def _file(name: str, file: str) -> str:
    path: str | None = get_file_path(name, file, Integrations.STABLE)
    if path is None:
        raise UserError(f"stable-retro's files of {name} lack {file}: install it again with pip")
    return path


def _state(name: str, state: str) -> str:
    return _file(name, f"{state}.state") if state else ""


def _states(known: Iterable[str], name: str, words: Sequence[str]) -> list[str]:
    """The names of the states that `words`, names or patterns, select; without any: the game's own start."""
    known = list(known)
    chosen: list[str] = []
    for word in words:
        found = [s for s in known if fnmatchcase(s, word)]
        if not found:
            raise UserError(
                f"{STAGES}: {name} has no state {word!r}; expected one of {', '.join(known)}."
                f"{did_you_mean(word, known)}"
            )
        chosen += [s for s in found if s not in chosen]
    if chosen:
        return chosen
    metadata: dict[str, Any] = json.loads(Path(_file(name, "metadata.json")).read_text())
    default = metadata.get("default_player_state", [metadata.get("default_state")])[0]
    return [default or ""]


def _actions(words: Sequence[str], game: Game) -> tuple[frozenset[str], ...]:
    """The buttons of each action; without any words: none, then each button of the pad alone, menus aside."""
    system = stable_retro.data.EMU_EXTENSIONS[game.suffix]
    names = [b for b in stable_retro.get_system_info(system)["buttons"] if b is not None]
    if not words:
        return (frozenset(), *(frozenset({b}) for b in names if b not in MENU_BUTTONS))
    if len(words) > MAX_ACTIONS:
        raise UserError(f"{KWARGS}.actions: {len(words)} actions; expected at most {MAX_ACTIONS}")
    actions: list[frozenset[str]] = []
    for word in words:
        pressed = frozenset(() if word == NO_BUTTON else word.split("+"))
        for button in pressed - set(names):
            raise UserError(
                f"{KWARGS}.actions: {word!r}: no button {button!r}; expected {NO_BUTTON} or a combination of "
                f"{', '.join(names)} such as RIGHT+B.{did_you_mean(button, names)}"
            )
        actions.append(pressed)
    return tuple(actions)
