"""A plain install is enough for Ape-X, a command that needs more says what to install, and the version is one."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Sequence
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
import yaml

import apex_ray
from trainkit.errors import EXTRAS
from trainkit.errors import not_installed as not_installed_error

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
# What only extras bring. For Python it is not there when sys.modules has None for it.
ABSENT = (*EXTRAS, "scipy", "sklearn", "tensorboardX", "tree")
WITHOUT = """
import importlib, sys
absent, program, *words = sys.argv[1:]
sys.modules.update(dict.fromkeys(absent.split(",")))
sys.exit(importlib.import_module(program).main(words))
"""


def run(folder: Path, *words: str, absent: Sequence[str] = ABSENT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", WITHOUT, ",".join(absent), *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)


def not_installed(extra: str) -> set[str]:
    """What may be said: which of an extra's modules is looked for first is of no interest."""
    modules = {module for module, its in EXTRAS.items() if its == extra}
    return {f"error: {module} is not installed; expected pip install 'apex-ray[{extra}]'\n" for module in modules}


def names(requirements: list[str]) -> set[str]:
    """The packages that requirements name."""
    return {re.split(r"[\[<>=]", requirement)[0].lower() for requirement in requirements}


def test_a_plain_install_trains_evaluates_draws_and_records(tmp_path: Path) -> None:
    short = ["mode=serial", "stop.after_updates=5", "evaluation.episodes=1", "learner.compile=false"]
    for words in (["train", "cartpole", *short], ["evaluate", "latest", "--episodes", "1"], ["plot", "latest"]):
        done = run(tmp_path, "apex_ray.cli", *words)
        assert done.returncode == 0, done.stdout + done.stderr
    (run_folder,) = (path for path in (tmp_path / "runs").iterdir() if not path.is_symlink())
    assert (run_folder / "videos/best.mp4").stat().st_size and (run_folder / "learning_curve.png").stat().st_size
    assert any((run_folder / "tensorboard").iterdir())


@pytest.mark.parametrize(
    ("words", "extra"),
    [
        ("apex_ray.cli train airstriker", "retro"),
        ("apex_ray.cli sonic doctor", "retro"),
        ("apex_ray.cli train cartpole runs_dir=s3://bucket/runs", "store"),
        ("lstm.cli train co2", "lstm"),
        ("wavenet.cli train small data.folder=.", "audio"),
        ("wavenet.cli data speech --out made", "audio"),
    ],
)
def test_a_missing_extra_is_named_in_one_line(words: str, extra: str, tmp_path: Path) -> None:
    done = run(tmp_path, *words.split())
    assert done.returncode == 2 and done.stderr in not_installed(extra), done.stderr


@pytest.mark.parametrize(
    ("module", "absent", "said"),
    [
        ("apex_ray.rllib", "tree", "ray.rllib is not installed; expected pip install 'apex-ray[rllib]'"),
        ("apex_ray.rllib", "pandas", "ray.rllib is not installed; expected pip install 'apex-ray[rllib]'"),
        ("apex_ray.tuning.trainable", "pandas", "ray.tune is not installed; expected pip install 'apex-ray[tune]'"),
    ],
)
def test_a_module_that_needs_an_extra_says_which_as_it_is_imported(module: str, absent: str, said: str) -> None:
    done = run(ROOT, module, absent=[absent])
    assert done.returncode == 1 and done.stderr.endswith(f"NotInstalledError: {said}\n"), done.stderr


def test_a_library_that_is_missing_is_an_import_error_too() -> None:
    with pytest.raises(ImportError, match=r"^pykakasi is not installed; expected pip install .*, or text in kana$"):
        raise not_installed_error("pykakasi", "text in kana")


def test_what_the_lstm_does_with_series_needs_no_sound(tmp_path: Path) -> None:
    done = run(tmp_path, "lstm.cli", "find-rate", "co2", "--updates", "2", absent=("librosa", "soundfile"))
    assert done.returncode == 0 and (tmp_path / "rates.png").exists(), done.stdout + done.stderr
    done = run(tmp_path, "lstm.cli", "train", "speech", "speech.folder=.", absent=("librosa", "soundfile"))
    assert done.returncode == 2 and done.stderr in not_installed("audio"), done.stderr


def test_a_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    """But for Markdown. Built elsewhere: what pip leaves in a tree would be taken for sources the next time."""
    tree, packages = tmp_path / "tree", ("apex_ray", "cluster", "lstm", "trainkit", "wavenet")
    for package in packages:
        shutil.copytree(ROOT / package, tree / package, ignore=shutil.ignore_patterns("__pycache__", "*.nbi", "*.nbc"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "MANIFEST.in"):
        shutil.copy(ROOT / name, tree)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(tmp_path)]
    there = {path.relative_to(tree).as_posix() for package in packages for path in (tree / package).rglob("*.*")}
    subprocess.run([*build, str(tree)], check=True)
    (wheel,) = tmp_path.glob("*.whl")
    missing = there - set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in missing if not name.endswith(".md")} == set()


def test_an_extra_brings_what_it_is_named_for() -> None:
    plain, extras = names(PROJECT["dependencies"]), PROJECT["optional-dependencies"]
    for module, extra in EXTRAS.items():
        package, _, part = module.partition(".")
        brings = {name.lower() for name in packages_distributions()[package]}
        if part:  # a part of a package that is there, with an extra for what it needs
            assert any(line.startswith(f"{package}[{part}]") for line in extras[extra]), module
        else:
            assert brings & names(extras[extra]) and not brings & plain, module


def test_every_extra_is_on_the_page_about_installing() -> None:
    page = (ROOT / "docs/how_to/install.md").read_text(encoding="utf-8")
    told = set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))
    assert told == set(PROJECT["optional-dependencies"]) - {"benchmarks", "docs", "dev"}


def test_the_version_is_one() -> None:
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))["version"]
    newest = re.search(r"^## (\d\S*)", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert newest and {apex_ray.__version__, cited, newest[1]} == {PROJECT["version"]}
