"""`apex-ray sonic`: which ROMs are there, which of the 58 stages they can play, and the table of the stages."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass

import numpy as np

from apex_ray.config.schema import EnvConfig
from apex_ray.retro import sonic
from apex_ray.retro.cartridge import rom as cartridge
from apex_ray.retro.envs import RetroEnvs
from apex_ray.retro.games import hashes_of, title_words
from apex_ray.retro.roms import Shelf, look_through
from trainkit.errors import UserError
from trainkit.words import plural

SECOND_STEPS = 15


@dataclass(frozen=True)
class Finding:
    """One game: can it be played?"""

    game: str
    status: str  # found, wrong hash, missing or broken
    details: tuple[str, ...]


def doctor(roms: str | None, demo: bool) -> int:
    """Print what is found for each of the three games. Exit code 2 when none can be played."""
    shelf = look_through(roms, "--roms") if roms is not None and not demo else None
    if shelf is not None:
        print(f"{shelf.folder}: {plural(shelf.looked_at, 'file')} looked at")
        for problem in shelf.unreadable:
            print(f"  can't be read: {problem}")
    elif demo:
        print(f"{cartridge.NAME}, which stands in for all three games")
    else:
        print("no --roms: the ROMs that stable-retro itself was given")
    stages = 0
    for game in sonic.GAMES:
        finding = examine(game, roms, shelf, demo)
        count = sum(s.game == game for s in sonic.table())
        stages += count if finding.status == "found" else 0
        print(f"{game:30} {finding.status:11}" + (f" {count} stages" if finding.status == "found" else ""))
        for detail in finding.details:
            print(f"    {detail}")
    print(f"{stages} of the {len(sonic.table())} stages can be played")
    return 0 if stages else 2


def examine(game: str, roms: str | None, shelf: Shelf | None, demo: bool) -> Finding:
    """Look for a game's ROM and play a second of its first stage."""
    hashes, first = hashes_of(game), next(s for s in sonic.table() if s.game == game)
    details = []
    if shelf is not None:
        rom = shelf.find(hashes)
        if rom is None:
            wrong = shelf.resembling(title_words(game))
            expected = f"expected SHA-1 {' or '.join(hashes)}"
            if wrong:
                return Finding(game, "wrong hash", (*(f"{r.place}: SHA-1 {r.sha1}" for r in wrong), expected))
            return Finding(game, "missing", (expected,))
        details.append(rom.place)
    settings = {"stages": first.state, "roms": None if demo else roms, "demo": demo, "reward": "delta"}
    config = EnvConfig(id=sonic.ID, kwargs=settings, noop_max=0)
    try:
        before, after = a_second_of_right(config)
    except UserError as error:
        return Finding(game, "missing", (str(error),))
    except RuntimeError as error:
        return Finding(game, "broken", (*details, str(error)))
    details.append(f"{first.state}, a second of RIGHT: x {before} -> {after}")
    return Finding(game, "found" if after > before else "broken", tuple(details))


def a_second_of_right(config: EnvConfig) -> tuple[int, int]:
    """X at the start of the configured stage and after a second of RIGHT."""
    with closing(RetroEnvs(config, 1, in_order=True)) as envs:
        envs.reset(0)
        before = envs.look(0)["x"]
        for _ in range(SECOND_STEPS):
            envs.send(np.array([sonic.ACTIONS.index("RIGHT")]))
            envs.recv()
        return before, envs.look(0)["x"]


def stage_list(words: Sequence[str]) -> str:
    """The selected stages as text, a line each."""
    chosen = sonic.select(words, "command line")
    lines = [f"{'game':30} {'stage':26} {'set':5}  zone act  x from     to"]
    lines += [f"{s.game:30} {s.state:26} {s.split:5}  {s.zone:4} {s.act:3}  {s.x0:6} {s.x_end:6}" for s in chosen]
    count = {split: sum(s.split == split for s in chosen) for split in ("train", "test")}
    return "\n".join([*lines, f"{len(chosen)} stages: {count['train']} train, {count['test']} test"])
