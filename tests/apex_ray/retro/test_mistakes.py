"""What can be wrong with a game of stable-retro is found before any emulator starts, and said in one line."""

import hashlib
import shutil
import zipfile
from pathlib import Path

import pytest
import stable_retro

from apex_ray.cli import main
from apex_ray.config.schema import EnvConfig
from apex_ray.retro import doctor, games, sonic
from apex_ray.retro.cartridge.rom import build_rom
from apex_ray.retro.games import task
from apex_ray.retro.roms import look_through, rom_sha1
from tests.apex_ray.retro.config import game
from trainkit.errors import UserError

AIRSTRIKER = Path(stable_retro.data.get_romfile_path("Airstriker-Genesis-v0", stable_retro.data.Integrations.STABLE))
SONIC_1 = "69e102855d4389c3fd1a8f3dc7d193f8eee5fe5b"


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"id": "retro/Airstrike-Genesis"}, ["is no game of the", "Did you mean 'Airstriker-Genesis-v0'?"]),
        ({"id": "retro/Sonik"}, ["'retro/Sonik' is no game", "Did you mean 'Sonic'?"]),
        ({"stages": ("Level2",)}, ["has no state 'Level2'", "Did you mean 'Level1'?"]),
        ({"scenario": "senario"}, ["env.kwargs.scenario = 'senario'", "Did you mean 'scenario'?"]),
        ({"actions": ("LEFT+C", "LEFD")}, ["'LEFD'", "Did you mean 'LEFT'?"]),
        ({"reward": "delta"}, ["env.kwargs.reward = 'delta'", "has no variable x", "env.kwargs.reward=scenario"]),
        ({"demo": True}, ["demo cartridge stands in for Sonic only"]),
        (
            {"kwargs": {"render_mode": "human"}},
            ["env.kwargs.render_mode = 'human'", "stages, actions, scenario, reward"],
        ),
        ({"kwargs": {"stage": "Level1"}}, ["env.kwargs.stage = 'Level1'", "Did you mean 'stages'?"]),
        ({"reward": "delt"}, ["env.kwargs.reward = 'delt': expected 'scenario', ", "Did you mean 'delta'?"]),
        ({"demo": "perhaps"}, ["env.kwargs.demo = 'perhaps': expected a valid boolean"]),
        ({"id": "retro/Sonic"}, ["SonicTheHedgehog-Genesis-v0 needs its ROM", SONIC_1, "--roms FOLDER", "--demo"]),
        ({"id": "retro/Sonic", "demo": True, "stages": ("GreenHilZone.Act1",)}, ["Did you mean 'GreenHillZone.Act1'?"]),
        ({"id": "retro/SonicTheHedgehog-Genesis", "demo": True, "stages": ("x",)}, ["has no state 'x'", "MarbleZone"]),
    ],
)
def test_a_mistake_in_the_settings(settings, parts):
    with pytest.raises(UserError) as caught:
        if "kwargs" in settings:
            task(EnvConfig(id="retro/Airstriker-Genesis-v0", **settings))
        env_id = settings.get("id", "retro/Airstriker-Genesis-v0")
        task(game(env_id, **{name: value for name, value in settings.items() if name != "id"}))
    message = str(caught.value)
    assert [p for p in parts if p not in message] == [] and "\n" not in message


@pytest.mark.parametrize("name", ["Airstriker-Genesis", "Airstriker-Genesis-v0"])
def test_old_and_new_names_are_the_same_game(name):
    found = task(EnvConfig(id=f"retro/{name}"))
    assert list(found.games) == ["Airstriker-Genesis-v0"]
    assert [s.name for s in found.stages] == ["Level1"], "the game's own start"
    assert found.buttons[:2] == (frozenset(), frozenset({"B"})) and frozenset({"START"}) not in found.buttons


def zipped(path, name, content):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)


def test_a_renamed_rom_in_a_zip_is_found_by_its_hash(tmp_path):
    (tmp_path / "deep").mkdir()
    zipped(tmp_path / "deep" / "backup.zip", "things/old stuff.dat", AIRSTRIKER.read_bytes())
    (tmp_path / "notes.txt").write_text("no ROM")
    (tmp_path / "broken.zip").write_bytes((tmp_path / "deep" / "backup.zip").read_bytes()[:-40])
    before = {p: p.stat().st_mtime_ns for p in AIRSTRIKER.parent.iterdir()}
    found = task(game("retro/Airstriker-Genesis", roms=str(tmp_path)))
    assert found.games["Airstriker-Genesis-v0"].rom == AIRSTRIKER.read_bytes()
    assert {p: p.stat().st_mtime_ns for p in AIRSTRIKER.parent.iterdir()} == before, "nothing is written there"


def test_a_wrong_rom_is_named_with_both_hashes(tmp_path):
    damaged = bytearray(AIRSTRIKER.read_bytes())
    damaged[1000] ^= 1
    (tmp_path / "Airstriker (World).md").write_bytes(damaged)
    with pytest.raises(
        UserError, match=r"Airstriker \(World\).md has SHA-1 [0-9a-f]{40}; .* needs the ROM with [0-9a-f]"
    ):
        task(game("retro/Airstriker-Genesis", roms=str(tmp_path)))


def test_a_folder_without_it_and_no_folder(tmp_path):
    (tmp_path / "roms").mkdir()
    with pytest.raises(UserError, match=r"holds no such ROM \(0 files looked at\)"):
        task(game("retro/Airstriker-Genesis", roms=str(tmp_path / "roms")))
    with pytest.raises(
        UserError, match=r"env.kwargs.roms = .*roms2': the folder does not exist. Did you mean '.*/roms'"
    ):
        task(game("retro/Airstriker-Genesis", roms=str(tmp_path / "roms2")))
    with pytest.raises(UserError, match=r"is a file; expected the folder"):
        task(game("retro/Airstriker-Genesis", roms=str(AIRSTRIKER)))


def test_with_one_of_three_games_there_the_message_says_what_can_be_played(tmp_path, monkeypatch):
    accept_cartridge(monkeypatch)
    (tmp_path / "one.bin").write_bytes(build_rom())
    with pytest.raises(
        UserError, match=r"2-Genesis-v0 needs its ROM.*env.kwargs.stages=\[SonicTheHedgehog-Genesis-v0/\*\]"
    ):
        task(game("retro/Sonic", roms=str(tmp_path)))
    found = task(game("retro/Sonic", roms=str(tmp_path), stages=("GreenHill*",)))
    assert [s.name for s in found.stages] == ["GreenHillZone.Act1", "GreenHillZone.Act2", "GreenHillZone.Act3"]


def accept_cartridge(monkeypatch):
    """Take the demo cartridge for the right ROM of Sonic 1: the real one can't be in a test."""
    import hashlib

    right = {sonic.GAMES[0]: [hashlib.sha1(build_rom()).hexdigest()]}
    for module in (games, doctor):
        real = games.hashes_of
        monkeypatch.setattr(module, "hashes_of", lambda name, real=real: right.get(name) or real(name))


def test_doctor_without_roms(capsys, tmp_path):
    assert main(["sonic", "doctor", "--roms", str(tmp_path)]) == 2
    out = capsys.readouterr().out
    assert out.count("missing") == 3 and SONIC_1 in out and "0 of the 58 stages can be played" in out
    assert main(["sonic", "doctor"]) == 2
    assert "0 of the 58" in capsys.readouterr().out
    assert main(["sonic", "doctor", "--roms", str(tmp_path / "nowhere")]) == 2
    assert "--roms = " in capsys.readouterr().err


def test_doctor_finds_a_renamed_rom_in_a_zip_and_tells_a_wrong_hash(capsys, tmp_path, monkeypatch):
    (tmp_path / "sonic 2 (beta).bin").write_bytes(b"\0" * 1024)
    shutil.copy(AIRSTRIKER, tmp_path)
    zipped(tmp_path / "mine.zip", "a.bin", build_rom())
    accept_cartridge(monkeypatch)
    assert main(["sonic", "doctor", "--roms", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    assert "SonicTheHedgehog2-Genesis-v0   wrong hash" in out and "beta).bin: SHA-1 " in out
    assert "expected SHA-1 8bca5dcef1af3e00098666fd892dc1c2a76333f9" in out
    assert "SonicTheHedgehog-Genesis-v0    found       17 stages" in out and "mine.zip!a.bin" in out
    assert "GreenHillZone.Act1, a second of RIGHT: x " in out and "17 of the 58 stages can be played" in out
    assert "SonicAndKnuckles3-Genesis-v0   missing" in out


def test_doctor_of_the_demo_cartridge(capsys):
    assert main(["sonic", "doctor", "--demo"]) == 0
    out = capsys.readouterr().out
    assert out.count("a second of RIGHT: x 96 -> 183") == 3 and "58 of the 58 stages" in out
    assert out.startswith("the demo cartridge, which stands in for all three games")


@pytest.mark.parametrize(
    ("line", "part"),
    [
        ("sonic doctr", "Did you mean 'doctor'?"),
        ("sonic doctor GreenHill*", "takes no stages"),
        ("sonic stages GreenHilZone.Act2", "Did you mean 'GreenHillZone.Act2'?"),
        ("train sonic --roms {tmp}/nowhere", "the folder does not exist"),
        ("train sonic --roms {tmp}", "needs its ROM"),
        ("train --demo sonic env.kwargs.stages=GreenHilZone.Act1", "Did you mean 'GreenHillZone.Act1'?"),
        ("train sonic --demo evaluation.env_kwargs.stages=tset", "evaluation.env_kwargs.stages: no stage 'tset'"),
        ("train airstriker --demo", "stands in for Sonic only"),
        ("train cartpole --demo", "env.kwargs.demo=true has no effect on 'CartPole-v1'; expected env.id=retro/..."),
        ("train cartpole evaluation.env_kwargs.stages=test", "evaluation.env_kwargs = {'stages': 'test'}: "),
        ("train pong env.kwargs.stages=a", "env.kwargs = {'stages': 'a'} has no effect on 'ALE/Pong-v5'"),
        ("train sonic --demo evaluation.env_kwargs.actions=[A,B]", "num_actions is 2; expected 7, as in training"),
        ("train sonic --demo env.stages=train", "unknown key 'env.stages'. It is now 'env.kwargs.stages', for retro/"),
        ("config pong evaluation.stages=test", "It is now 'evaluation.env_kwargs.stages', for retro/... only"),
        ("config sonic env.kwargs.reward=delt", "Did you mean 'delta'?"),
        (
            "config sonic env.kwargs.rewards=delta",
            "unknown key 'env.kwargs.rewards'. Did you mean 'env.kwargs.reward'?",
        ),
        (
            "config sonic evaluation.env_kwargs.stage=a",
            "evaluation.env_kwargs.stage = 'a': unknown key; expected one of",
        ),
    ],
)
def test_on_the_command_line(line, part, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(line.format(tmp=tmp_path).split()) == 2
    err = capsys.readouterr().err
    assert part in err and err.count("\n") == 1
    assert list(tmp_path.iterdir()) == [], "no run folder is left behind"


def test_the_table_of_stages(capsys):
    assert main(["sonic", "stages", "test"]) == 0
    out = capsys.readouterr().out
    assert "11 stages: 0 train, 11 test" in out and "Icecap" not in out and "HydrocityZone.Act1" in out


def test_a_nes_rom_is_known_by_what_follows_its_header(tmp_path, monkeypatch):
    """As stable-retro knows it, in a folder, in a zip file and imported; the emulator gets the header too."""
    body = bytes(range(256)) * 128
    rom = tmp_path / "game.nes"
    rom.write_bytes(b"NES\x1a\x02\x01" + bytes(10) + body)
    with rom.open("rb") as file:
        stored, sha1 = stable_retro.data.groom_rom(str(rom), file)
    assert stored == rom.read_bytes()
    assert look_through(str(tmp_path)).find([sha1]).read() == stored
    (tmp_path / "zipped").mkdir()
    with zipfile.ZipFile(tmp_path / "zipped" / "game.zip", "w") as archive:
        archive.write(rom, "game.nes")
    assert look_through(str(tmp_path / "zipped")).find([sha1]).read() == stored
    monkeypatch.setattr(games, "hashes_of", lambda name: [sha1])
    monkeypatch.setattr(games.stable_retro.data, "get_romfile_path", lambda name, kind: str(rom))
    assert games._rom("SuperMarioBros-Nes-v0", None) == (stored, ".nes")


def test_a_dump_of_super_magic_drive_is_put_in_order(tmp_path):
    """512 bytes of header, then blocks of 16 KiB with the odd bytes in front: the ROM itself is found and played."""
    plain = AIRSTRIKER.read_bytes()
    plain += bytes(-len(plain) % 0x4000)
    dump = bytes(8) + b"\xaa\xbb\x06" + bytes(501)
    for at in range(0, len(plain), 0x4000):
        block = plain[at : at + 0x4000]
        dump += block[1::2] + block[0::2]
    (tmp_path / "game.smd").write_bytes(dump)
    assert look_through(str(tmp_path)).find([hashlib.sha1(plain).hexdigest()]).read() == plain


def test_other_files_are_known_by_all_their_bytes(tmp_path):
    for data in (b"NES", bytes(8) + b"\xaa\xbb" + bytes(600), bytes(0x4000 + 512)):
        assert rom_sha1(data) == hashlib.sha1(data).hexdigest()
