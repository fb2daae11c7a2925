"""What pip installs, how large it is and how long it takes to import, beside an earlier commit; what each extra adds.

python -m benchmarks.packages COMMIT

Each wheel is built and installed by pip into an environment of its own, with the versions of constraints.txt; sizes on
disk are those of all files, with the bytecode that pip makes. Nothing that only torch brings is counted: which of its
builds one takes changes that from one gigabyte to seven.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
import tomllib
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from benchmarks.earlier import tree_of
from benchmarks.machine import ROOT, write

ROUNDS = 7
EXTRAS = (
    "retro",
    "audio",
    "lstm",
    "store",
    "tune",
    "rllib",
    "standard",
    "speech",
    "piano",
    "minatar",
    "loggers",
    "export",
)
COMMANDS = {
    "python alone, s": ("python", "-c", "pass"),
    "import apex_ray, s": ("python", "-c", "import apex_ray"),
    "apex-ray --help, s": ("apex-ray", "--help"),
    "apex-ray --version, s": ("apex-ray", "--version"),
}
# What `import` is called for each of the earlier commit's dependencies that takes notice of time or room.
MODULES = (
    "ale_py", "av", "librosa.feature", "matplotlib.figure", "numba", "pandas", "pyarrow.fs", "ray",
    "ray.rllib.algorithms", "ray.tune", "stable_retro", "torch", "torch.utils.tensorboard",
)  # fmt: skip
# Run by the environment that is looked at, whose pip reads requirements: packages by who brings them. Words: extras.
LOOK = """
import json, sys
from importlib.metadata import distribution, distributions
from pip._vendor.packaging.requirements import Requirement
from pip._vendor.packaging.utils import canonicalize_name as canonical

sizes = {
    canonical(d.name): sum(p.stat().st_size for p in map(d.locate_file, d.files or ()) if p.is_file())
    for d in distributions()
}

def brought(*requirements):
    todo, seen = [Requirement(r) for r in requirements], set()
    while todo:
        wanted = todo.pop()
        name, extras = canonical(wanted.name), frozenset(wanted.extras)
        if (name, extras) in seen or name not in sizes:
            continue
        seen.add((name, extras))
        needs = [Requirement(r) for r in distribution(name).requires or ()]
        of = [{"extra": extra} for extra in ("", *extras)]
        todo += [r for r in needs if r.marker is None or any(r.marker.evaluate(e) for e in of)]
    return {name for name, _ in seen}

def without(requirement):
    return {"apex-ray"} | brought(*(r for r in own if r != requirement))

own = [r for r in distribution("apex-ray").requires if "extra ==" not in r]
everything = without("")
torch = everything - without(next(r for r in own if r.startswith("torch")))
print(json.dumps({
    "sizes": sizes,
    "plain": sorted(everything - torch),
    "only": {Requirement(r).name: sorted(everything - without(r)) for r in own},
    "extras": {e: sorted(brought(f"apex-ray[{e}]") - everything) for e in sys.argv[1:]},
}))
"""


def megabytes(sizes: dict[str, int], names: list[str]) -> int:
    return round(sum(sizes.get(name, 0) for name in names) / 1e6)


class Environment:
    """An empty environment into which a source tree's wheel was installed."""

    def __init__(self, tree: Path, folder: Path, extras: tuple[str, ...] = ()) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        self._bin = folder / "bin"
        self._pip("install", "build")
        self._python("-m", "build", "--outdir", str(folder / "dist"), str(tree))
        self._pip("uninstall", "--yes", "build", "pyproject_hooks", "packaging")
        (wheel,) = (folder / "dist").glob("*.whl")
        wanted = ["-c", str(tree / "constraints.txt"), f"{wheel}[{','.join(extras)}]" if extras else str(wheel)]
        self._pip("download", "--dest", str(folder / "wheels"), *wanted)
        self._pip("install", *wanted)
        self.found: dict[str, Any] = json.loads(self._python("-c", LOOK, *extras))
        self.downloads: dict[str, int] = {}
        for path in (folder / "wheels").iterdir():
            name = path.name.split("-")[0] if path.suffix == ".whl" else path.name.rpartition("-")[0]
            self.downloads[name.lower().replace("_", "-").replace(".", "-")] = path.stat().st_size

    def _pip(self, *words: str) -> None:
        self._python("-m", "pip", "--quiet", *words)

    def _python(self, *words: str) -> str:
        return subprocess.run(
            [self._bin / "python", *words], check=True, capture_output=True, text=True, cwd="/"
        ).stdout

    def seconds(self, program: str, *words: str) -> float:
        """From the command to its end."""
        began = time.perf_counter()
        subprocess.run([self._bin / program, *words], check=True, stdout=subprocess.DEVNULL, cwd="/")
        return time.perf_counter() - began

    def plain(self) -> dict[str, float]:
        """Of what is installed without extras."""
        names = self.found["plain"]
        sizes = {"download_mb": self.downloads, "disk_mb": self.found["sizes"]}
        return {"packages": len(names), **{name: megabytes(of, names) for name, of in sizes.items()}}

    def imports(self) -> dict[str, float]:
        """Seconds that importing each of `MODULES` takes a Python that has imported nothing else."""
        return {name: least([self], "python", "-c", f"import {name}")[0] for name in MODULES}

    def extras(self) -> dict[str, dict[str, int]]:
        """What each adds to a plain install."""
        sizes = (("download_mb", self.downloads), ("disk_mb", self.found["sizes"]))
        return {e: {k: megabytes(of, names) for k, of in sizes} for e, names in self.found["extras"].items()}


def least(environments: list[Environment], program: str, *words: str) -> list[float]:
    """Seconds of a command in each, in turns: the least of some, as what else the machine does only adds to it."""
    rounds = [[environment.seconds(program, *words) for environment in environments] for _ in range(ROUNDS)]
    return [min(taken) for taken in zip(*rounds, strict=True)]


def version_of(tree: Path) -> str:
    return str(tomllib.loads((tree / "pyproject.toml").read_text())["project"]["version"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    words = parser.parse_args()
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, tree_of(words.commit) as old:
        before, after = Environment(old, Path(folder) / "before"), Environment(ROOT, Path(folder) / "after")
        figures["before"] = {"commit": words.commit, "version": version_of(old), **before.plain()}
        figures["after"] = {"version": version_of(ROOT), **after.plain()}
        for name, command in COMMANDS.items():
            figures["before"][name], figures["after"][name] = least([before, after], *command)
        # What would go if one of the earlier commit's dependencies did: which of them are worth an extra.
        sizes = before.found["sizes"]
        figures["only it brings, disk_mb"] = {r: megabytes(sizes, names) for r, names in before.found["only"].items()}
        figures["import_s"] = before.imports()
        figures["extras"] = Environment(ROOT, Path(folder) / "extras", EXTRAS).extras()
    table = Table("", "before", "after")
    for key in figures["after"]:
        table.add_row(key, str(figures["before"][key]), str(figures["after"][key]))
    for extra, adds in figures["extras"].items():
        table.add_row(extra, "", f"{adds['download_mb']} MB, {adds['disk_mb']} MB on disk")
    Console().print(table)
    write(ROOT / "results" / "bench" / "packages.json", figures)


if __name__ == "__main__":
    main()
