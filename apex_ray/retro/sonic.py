"""Sonic the Hedgehog: 58 stages of three games, 7 actions and the sets of the Retro Contest (Nichol et al. 2018)."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from trainkit.errors import UserError, did_you_mean

ID = "retro/Sonic"
SCENARIO = "contest"
ACTIONS = ("RIGHT", "LEFT", "RIGHT+DOWN", "LEFT+DOWN", "DOWN", "DOWN+B", "B")
# In the order in which the demo cartridge numbers them.
GAMES = ("SonicTheHedgehog-Genesis-v0", "SonicTheHedgehog2-Genesis-v0", "SonicAndKnuckles3-Genesis-v0")
SETS = ("all", "train", "test")


@dataclass(frozen=True)
class SonicStage:
    game: str
    state: str  # also the stage's name: no two games share one
    split: str  # train or test
    zone: int  # as the game counts them
    act: int
    x0: int  # where the saved state starts, pixels
    x_end: int  # where the stage is completed


@cache
def table() -> tuple[SonicStage, ...]:
    """All 58 stages, game by game."""
    with Path(__file__).with_name("sonic_stages.csv").open(newline="") as file:
        return tuple(
            SonicStage(
                f"{row['game']}-v0",
                row["state"],
                row["split"],
                int(row["zone"]),
                int(row["act"]),
                int(row["x0"]),
                int(row["xend"]),
            )
            for row in csv.DictReader(file)
        )


def select(words: Sequence[str], key: str) -> tuple[SonicStage, ...]:
    """The stages of sets, names, and patterns over names or game/name, in the table's order, each once; none for all.

    UserError, naming `key`, for a word that selects nothing.
    """
    chosen: set[str] = set()
    for word in words or ("all",):
        found = {s.state for s in table() if _matches(s, word)}
        if not found:
            hint = did_you_mean(word, [*SETS, *(s.state for s in table())])
            raise UserError(
                f"{key}: no stage {word!r}; expected train, test, all, one of the {len(table())} names or a pattern "
                f"such as GreenHill*.{hint}"
            )
        chosen |= found
    return tuple(s for s in table() if s.state in chosen)


def _matches(stage: SonicStage, word: str) -> bool:
    if word in SETS:
        return word in ("all", stage.split)
    return fnmatchcase(f"{stage.game}/{stage.state}" if "/" in word else stage.state, word)
