"""Every command in the README is one that exists, with settings that are valid."""

import re
import shlex
import subprocess
from pathlib import Path

import pytest

import cluster.cli
import lstm.cli
import lstm.config
import wavenet.cli
from apex_ray.cli import commands, main
from apex_ray.config.load import load

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
BLOCKS = re.findall(r"```bash\n(.*?)```", README, flags=re.DOTALL)
LINES = [line.split("#")[0].strip() for block in BLOCKS for line in block.splitlines()]
COMMAND_LINES = [line for line in LINES if line.startswith("apex-ray ")]
WAVENET_LINES = [line for line in LINES if line.startswith("apex-wavenet ")]
LSTM_LINES = [line for line in LINES if line.startswith("apex-lstm ")]
CLUSTER_LINES = [line for line in LINES if line.startswith(("apex-cluster ", "ray job "))]
MAKE_TARGETS = sorted({line.split()[1] for line in LINES if line.startswith("make ")})


def test_what_commands_write_into_a_clone_is_not_of_the_clone():
    """Else a clone in which somebody followed the docs is full of files that git lists."""
    pages = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    named = {name for page in pages for name in re.findall(r"--out ([\w.-]+)", page.read_text(encoding="utf-8"))}
    written = [*(name for name in named if name.strip("-") and name.islower()), "comparison.png", "recordings"]
    told = subprocess.run(
        ["git", "check-ignore", *(f"{name}/" if "." not in name else name for name in written)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    if told.returncode == 128:
        pytest.skip("no clone")
    assert set(written) - {name.rstrip("/") for name in told.stdout.split()} == set()


def test_there_are_commands_to_check():
    assert len(COMMAND_LINES) >= 9 and len(CLUSTER_LINES) >= 3 and "train" in MAKE_TARGETS and "test" in MAKE_TARGETS


WANT_A_RUN = ("evaluate", "record", "plot", "doctor", "export", "generate", "speak", "forecast", "sample")


def run_named(words):
    """The run that a command of one of the trainers is about; None where it is about none."""
    if "--resume" in words:
        return words[words.index("--resume") + 1]
    return words[1] if words[0] in WANT_A_RUN else None


@pytest.mark.parametrize("block", [block for block in BLOCKS if "apex-" in block], ids=lambda b: b.split("\n")[0][:40])
def test_a_block_names_no_run_that_it_has_not_made(block):
    """`latest` is the one; a reader must invent none, and one of that trainer was started above it."""
    trained = set()
    for line in (line.split("#")[0] for line in block.splitlines()):
        trainer, *words = shlex.split(line)
        if trainer not in ("apex-ray", "apex-wavenet", "apex-lstm"):
            continue
        if (named := run_named(words)) is not None:
            assert named == "latest" and trainer in trained, line
        if words[0] == "train" and "--resume" not in words:
            trained.add(trainer)


def test_the_blocks_name_runs():
    named = [run_named(shlex.split(line)[1:]) for line in COMMAND_LINES + WAVENET_LINES + LSTM_LINES]
    assert named.count("latest") >= 9


@pytest.mark.parametrize("line", COMMAND_LINES)
def test_an_apex_ray_command(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    _, command, *words = shlex.split(line)
    assert command in commands([command, *words])
    if run_named([command, *words]):
        # there is no run here: what matters is that nothing else is wrong
        assert main([command, *words]) == 2
        assert "'runs/latest' does not exist; expected the folder of an earlier run" in capsys.readouterr().err
    elif command == "sonic":
        assert main([command, *words]) == 2
        assert "--roms = 'my-roms': the folder does not exist" in capsys.readouterr().err
    elif command == "runs":
        assert main([command, *words]) == 2
        assert "runs folder 'runs' does not exist" in capsys.readouterr().err
    else:
        load(words[0], [w for w in words[1:] if w not in ("--demo", "--roms", "my-roms")])


@pytest.mark.parametrize("line", WAVENET_LINES)
def test_an_apex_wavenet_command(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = shlex.split(line)[1:]
    if words[0] == "data":
        assert wavenet.cli.main([*words, "--sentences", "1"]) == 0
        return
    # neither the folder nor the run is there: what matters is that nothing else is wrong
    assert wavenet.cli.main(words) == 2
    assert "does not exist; expected " in capsys.readouterr().err


@pytest.mark.parametrize("line", LSTM_LINES)
def test_an_apex_lstm_command(line, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    if line == "apex-lstm train co2":
        assert lstm.config.PRESETS.load("co2")
        return
    assert lstm.cli.main(shlex.split(line)[1:]) == 2
    assert "does not exist; expected " in capsys.readouterr().err


@pytest.mark.parametrize("line", CLUSTER_LINES)
def test_an_apex_cluster_command(line):
    words, trailing = shlex.split(line), []
    if "--" in words:
        words, trailing = words[: words.index("--")], words[words.index("--") + 1 :]
        assert trailing[:2] == ["apex-ray", "train"]
        load(trailing[2], trailing[3:])
    if words[0] == "apex-cluster":
        assert words[1] in cluster.cli.COMMANDS
    if words[1] == "plan":
        assert load(words[2], words[3:])


@pytest.mark.parametrize("target", MAKE_TARGETS)
def test_a_make_target(target):
    done = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_python_example_runs(tmp_path):
    """As it stands, but for a shorter run: a few updates in this process."""
    (example,) = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)
    short = ["seed=3", "mode=serial", "stop.after_updates=3", "evaluation.episodes=1", f"runs_dir={tmp_path}"]
    short += ["learner.compile=false", "evaluation.video=false", "replay.min_transitions=200", "learner.batch_size=16"]
    assert '["seed=3"]' in example
    names: dict[str, object] = {}
    exec(example.replace('["seed=3"]', repr(short)), names)
    assert names["observations"]["frames"].shape == (4, 1, 4)


def lines_of_make(*words):
    """What make would run, with no environment set up."""
    done = subprocess.run(["make", "-n", *words, "VENV=none"], cwd=ROOT, capture_output=True, text=True, check=True)
    return done.stdout.splitlines()


def test_training_installs_what_training_needs_and_tests_the_rest():
    """And what is downloaded is said before the first download."""
    train, test = lines_of_make("train"), lines_of_make("test")
    (install,) = (line for line in train if "pip install" in line)
    assert install == "none/bin/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[standard]'"
    assert any("'.[dev]'" in line for line in test)
    for lines in (train, test):
        said = [at for at, line in enumerate(lines) if "to download" in line]
        assert said and said[0] < next(at for at, line in enumerate(lines) if "pip install" in line)


def test_torch_can_come_from_an_index_of_its_own():
    lines = [line for line in lines_of_make("setup", "TORCH_INDEX=https://index.example/cpu") if "pip install" in line]
    assert re.search(r"--no-deps --index-url https://index.example/cpu torch==[\d.]+$", lines[0])
    assert lines[1].endswith("-c constraints.txt -e '.[standard]'")


@pytest.mark.parametrize("path", sorted(set(re.findall(r"\]\(((?!http)[^)#]+)", README))))
def test_a_linked_file_exists(path):
    assert (ROOT / path).exists()
