"""The table of the 58 stages against stable-retro's own files and, on the real emulator, its saved states."""

import json
import re
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from stable_retro.data import Integrations, get_file_path

from apex_ray.retro import sonic
from trainkit.errors import UserError

STATES = """
import gzip, json
from apex_ray.retro.cartridge.rom import build_rom
from apex_ray.retro import sonic
from apex_ray.retro.emulator import Emulator
from apex_ray.retro.games import load_game
from stable_retro.data import Integrations, get_file_path
found, emulator = {}, None
for stage in sonic.table():
    if emulator is None or emulator.game.id != stage.game:
        if emulator is not None:
            emulator.close()
        # any cartridge will do: a state brings memory and registers, and no frame is played
        emulator = Emulator(load_game(stage.game, "contest", None, demo=True))
    with gzip.open(get_file_path(stage.game, stage.state + ".state", Integrations.STABLE)) as file:
        emulator._core.set_state(file.read())
    emulator.data.reset()
    emulator.data.update_ram()
    values = emulator.look()
    found[stage.state] = [values[name] for name in ("zone", "act", "x", "lives")]
print(json.dumps(found))
"""


def test_58_stages_split_47_to_11():
    table = sonic.table()
    assert Counter(s.split for s in table) == {"train": 47, "test": 11}
    assert list(Counter(s.game for s in table).items()) == list(zip(sonic.GAMES, (17, 18, 23), strict=True))
    assert len({s.state for s in table}) == 58


def test_every_shipped_state_is_where_the_table_says():
    done = subprocess.run([sys.executable, "-c", STATES], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found == {s.state: [s.zone, s.act, s.x0, 3] for s in sonic.table()}


@pytest.mark.parametrize("game", sonic.GAMES)
def test_ends_are_those_of_the_contests_script(game):
    script = Path(get_file_path(game, "script.lua", Integrations.STABLE)).read_text()
    ends = {}
    for zone, act, end in re.findall(r'^\s*\["zone=(\d+),act=(\d+)"\]\s*=\s*([^,]+),', script, flags=re.MULTILINE):
        ends[int(zone), int(act)] = sum(int(part, 16) for part in end.split("+"))
    ours = {(s.zone, s.act): s.x_end for s in sonic.table() if s.game == game}
    assert ours == ends


@pytest.mark.parametrize(
    ("words", "count"),
    [
        ((), 58),
        (("all",), 58),
        (("train",), 47),
        (("test",), 11),
        (("train", "test"), 58),
        (("GreenHill*",), 3),
        (("*.Act3",), 6),
        (("GreenHillZone.Act1",), 1),
        (("GreenHillZone.Act1", "GreenHill*"), 3),
        (("SonicTheHedgehog2-Genesis-v0/*",), 18),
    ],
)
def test_words_select_these_many_stages(words, count):
    assert len(sonic.select(words, "env.kwargs.stages")) == count


def test_a_misspelt_stage_names_the_nearest():
    with pytest.raises(UserError, match=r"env.kwargs.stages: no stage 'GreenHilZone.Act1'.* mean 'GreenHillZone.Act1'"):
        sonic.select(("train", "GreenHilZone.Act1"), "env.kwargs.stages")
    with pytest.raises(UserError, match=r"Did you mean 'train'"):
        sonic.select(("trian",), "env.kwargs.stages")
