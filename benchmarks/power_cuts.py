"""The power goes at random moments, again and again: what does a resumed run have of what it had?

    python -m benchmarks.power_cuts results/power_cuts [--cuts 20] [--seed 1]
    python -m benchmarks.power_cuts results/power_cuts --alone    # only the runs that are left alone, after the others

CartPole on a Ray of its own. At a random moment of RUNS_S every one of its processes gets SIGKILL, and the run is
resumed; after the last cut it goes on for REST_S. Once with snapshots of replay and once without, and ALONE runs, as
long in updates as the first, are left alone. Told are, a row for each cut: how old the newest checkpoint was, how far
updates and frames went back, and of how many stored segments the bytes in the resumed replay differ from those that the
snapshot's files had when the power went.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import subprocess
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

from apex_ray import load_config
from apex_ray.agent.build import build_agent
from apex_ray.config.load import load_run_config
from apex_ray.envs.make import probe
from apex_ray.evaluation import evaluate_run
from apex_ray.learner.checkpoint import has_checkpoint, load_checkpoint
from apex_ray.nodes.program import Program
from apex_ray.replay.build import build_replay
from apex_ray.replay.memory import PrioritizedReplay
from apex_ray.replay.snapshots import Snapshots, saved_shards
from apex_ray.run.hooks import Hooks
from apex_ray.run.training import prepare, running
from apex_ray.types import BoolArray
from benchmarks.kills import rows_of
from benchmarks.machine import ROOT, write
from tests.cluster.heads import kill_family
from trainkit.config import to_yaml
from trainkit.interrupts import stop_requested
from trainkit.runs import create_run

RUNS_S, REST_S, EVERY_S, EPISODES, ALONE = (3.0, 25.0), 30.0, 5.0, 50, 3
SETTINGS = [
    "replay.shards=2", "replay.samples_per_insert=8", "actors.count=2", f"checkpoint.every_s={EVERY_S:g}",
    "report.every_s=0.5", "evaluation.every_s=20", "evaluation.video=false", "evaluation.final=false",
    "stop.evaluation_return=null", "stop.after_s=null",
]  # fmt: skip
NO_RAY = "Ray did not start on this machine"
FOUND = "found.json"  # in the run folder: the digests of what a resumed replay held
Digests = dict[str, str]  # of a segment's bytes, by its number


@dataclass(frozen=True)
class Cut:
    ran_s: float  # from the first row of this start to the cut
    checkpoint_age_s: float
    updates_lost: int
    frames_lost: int
    stored: int  # segments in the snapshots
    compared: int  # of these, in the resumed replay
    different: int
    back_s: float  # from the new start to the first row with updates


def digests(memory: PrioritizedReplay) -> Digests:
    """Of every segment that counts."""
    first, count = memory.oldest, memory.written - memory.oldest
    fields = memory.read(first, count)
    holds: BoolArray = np.asarray((memory.state()["masses"] > 0).any(axis=1))
    alive = holds[np.arange(first, first + count) % memory.segments]
    found = {}
    for i in np.flatnonzero(alive):
        bytes_ = b"".join(np.ascontiguousarray(fields[name][i]).tobytes() for name in sorted(fields))
        found[str(first + i)] = hashlib.sha256(bytes_).hexdigest()
    return found


def of_node(node: Any) -> Digests:
    """In the process of a shard."""
    with node._lock:
        return digests(node._memory)


def on_disk(run: Path) -> list[Digests]:
    """Of each shard's newest snapshot."""
    config = load_run_config(run).config
    fields, found = build_agent(config, probe(config.env)).fields, []
    for i, folder in enumerate(saved_shards(run)):
        memory = build_replay(config, fields, 1, i)
        Snapshots(folder, memory).load()
        found.append(digests(memory))
    return found


def play(run: Path) -> None:
    """In a process of its own: start the run, or go on with it, and write what its replay holds then."""
    config = load_run_config(run).config
    prepared = prepare(config, run, has_checkpoint(run), {})
    with running(prepared, Hooks(), stop_requested()) as loop:
        program = loop._system
        assert isinstance(program, Program)  # on Ray
        shards = program._nodes.shards
        (run / FOUND).write_text(json.dumps(ray.get([shard.__ray_call__.remote(of_node) for shard in shards])))
        loop.until_stopped()


class Power:
    """Starts a run's processes, and takes their power away."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def on(self) -> float:
        """Returns when there are updates: the seconds that it took."""
        (self._run / FOUND).unlink(missing_ok=True)
        began, rows = time.monotonic(), len(rows_of(self._run.parent))
        self._start()
        while not any(row["updates_per_s"] for row in rows_of(self._run.parent)[rows:]):
            if self._program.poll() is not None:
                error = self._error()
                if NO_RAY not in str(error):
                    raise error
                self._start()  # the machine is so busy that Ray gave up: nothing of the run had begun
            time.sleep(0.2)
        return time.monotonic() - began

    def _start(self) -> None:
        command = [sys.executable, "-m", "benchmarks.power_cuts", "--play", str(self._run)]
        self._log = (self._run / "said.txt").open("w")
        self._program = subprocess.Popen(command, cwd=ROOT, stdout=self._log, stderr=self._log, start_new_session=True)

    def off(self) -> None:
        kill_family(self._program.pid)
        self._program.wait()
        self._log.close()

    def end(self) -> None:
        self._program.terminate()
        if self._program.wait():
            raise self._error()

    def _error(self) -> RuntimeError:
        said = (self._run / "said.txt").read_text()[-3000:]
        return RuntimeError(f"it ended with {self._program.returncode}, and said: ...{said}")


def cuts(run: Path, count: int, rng: np.random.Generator) -> list[Cut]:
    power, found = Power(run), list[Cut]()
    power.on()
    while len(found) < count:
        ran_s = float(rng.uniform(*RUNS_S))
        time.sleep(ran_s)
        power.off()
        now, row = time.time(), rows_of(run.parent)[-1]
        saved = load_checkpoint(run) if has_checkpoint(run) else None
        age_s = now - saved.path.stat().st_mtime if saved else ran_s
        before = on_disk(run)
        back_s = power.on()
        after: list[Digests] = json.loads((run / FOUND).read_text())
        pairs = [(held[n], d) for held, had in zip(after, before, strict=False) for n, d in had.items() if n in held]
        updates, frames = (saved.counters.updates, saved.counters.frames) if saved else (0, 0)
        found.append(
            Cut(
                round(ran_s, 1),
                round(age_s, 1),
                int(row["updates"]) - updates,
                int(row["frames"]) - frames,
                sum(map(len, before)),
                len(pairs),
                sum(one != other for one, other in pairs),
                round(back_s, 1),
            )
        )
        print(found[-1], flush=True)
    time.sleep(REST_S)
    power.end()
    return found


def made(runs: Path, seed: int, settings: list[str]) -> Path:
    loaded = load_config("cartpole", [*SETTINGS, f"seed={seed}", f"runs_dir={runs}", *settings])
    return create_run(runs, "cut", to_yaml(loaded.config))


def scores(run: Path) -> dict[str, float]:
    """Mean returns of whole episodes: of the last weights, which on CartPole swing, and of the best."""
    config = load_run_config(run).config
    return {w: float(np.mean(evaluate_run(run, config, w, EPISODES, None).returns)) for w in ("latest", "best")}


def left_alone(seed: int, updates: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as runs:
        run = made(Path(runs), seed, [f"stop.after_updates={updates}"])
        power = Power(run)
        power.on()
        power._program.wait()
        return {"seed": seed, "updates": load_checkpoint(run).counters.updates, "scores": scores(run)}


def all_cuts(folder: Path, count: int, seed: int) -> None:
    figures: dict[str, Any] = {}
    for name, settings in {"with": ["checkpoint.replay=true"], "without": []}.items():
        with tempfile.TemporaryDirectory() as runs:
            run = made(Path(runs), seed, settings)
            found = cuts(run, count, np.random.default_rng(seed))
            figures[name] = {"updates": load_checkpoint(run).counters.updates, "scores": scores(run)}
            figures[name] |= {
                "most_updates_lost": max(cut.updates_lost for cut in found),
                "most_frames_lost": max(cut.frames_lost for cut in found),
                "oldest_checkpoint_s": max(cut.checkpoint_age_s for cut in found),
                "segments_compared": sum(cut.compared for cut in found),
                "segments_different": sum(cut.different for cut in found),
            }
        path = folder / f"{name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(found[0])))
            writer.writeheader()
            writer.writerows(map(asdict, found))
        write(folder / "power_cuts.json", figures)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, nargs="?")
    parser.add_argument("--cuts", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--play", type=Path, help=argparse.SUPPRESS)
    words = parser.parse_args()
    if words.play:
        play(words.play)
        return
    told = words.folder / "power_cuts.json"
    if not words.alone:
        all_cuts(words.folder, words.cuts, words.seed)
    updates = json.loads(told.read_text())["figures"]["with"]["updates"]
    alone = [left_alone(words.seed + i, updates) for i in range(ALONE)]
    write(words.folder / "left_alone.json", alone)
    print(told.read_text(), json.dumps(alone, indent=1))


if __name__ == "__main__":
    main()
