"""Random valid settings with several replay shards: does any of them come to stand still?

    python -m benchmarks.stalls results/stalls [--settings 200] [--seconds 20] [--lanes 1] [--seed 1] [--first 0]

Each setting is a whole CartPole run on Ray of that many seconds. It stalls when the updates of its last quarter are
none; one without any update is tried once more with four times the seconds, as its start may have been slow. Lanes run
beside each other, each on a Ray of its own, which compiles its kernels in a first run that does not count; `--first`
goes on where an earlier call ended.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from apex_ray.config.load import load
from apex_ray.envs.make import probe
from apex_ray.run.preflight import check
from apex_ray.sizes import resolve_sizes
from benchmarks.machine import ROOT, write
from trainkit.errors import UserError

SLOW_START = 4.0  # times the seconds for a run that made no update, before it counts as one that stands still


def draw(rng: np.random.Generator) -> dict[str, Any]:
    """Settings by dotted name, valid or not."""
    groups = int(rng.integers(1, 3))
    return {
        "actors.count": int(rng.integers(1, 4)),
        "actors.groups": groups,
        "actors.envs_per_actor": groups * int(rng.integers(1, 7)),
        "actors.chunk_transitions": int(rng.integers(3, 60)),
        "actors.chunks_in_flight": int(rng.integers(1, 4)),
        "actors.inference": str(rng.choice(["local", "local", "central"])),
        "actors.inference_device": "cpu",
        "replay.shards": int(rng.integers(2, 6)),
        "replay.capacity_transitions": int(rng.integers(2_000, 60_000)),
        "replay.min_transitions": int(rng.integers(64, 2_000)),
        "replay.samples_per_insert": float(np.round(np.exp(rng.uniform(np.log(0.5), np.log(32.0))), 2)),
        "replay.insert_tolerance_transitions": int(rng.integers(10, 600)) if rng.random() < 0.7 else "null",
        "replay.frames": str(rng.choice(["replay", "learner"])),
        "learner.batch_size": int(rng.choice([8, 16, 32, 64, 128])),
        "learner.prefetch_batches": int(rng.integers(1, 5)),
        "learner.threads": 1,
        "learner.device": "cpu",
    }


def overrides(settings: dict[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in settings.items()]


def valid(count: int, seed: int) -> list[dict[str, Any]]:
    """The first `count` settings that a run would take."""
    rng, found = np.random.default_rng(seed), list[dict[str, Any]]()
    while len(found) < count:
        settings = draw(rng)
        with contextlib.suppress(UserError):
            config = load("cartpole", overrides(settings)).config
            spec = probe(config.env)
            check(config, spec, resolve_sizes(config, spec, 4), None, here=False)
            found.append(settings)
    return found


def one(settings: dict[str, Any], seconds: float, runs: str) -> dict[str, Any]:
    """Train so and look whether it went on to its end."""
    from apex_ray import train

    common = {
        "runs_dir": runs,
        "stop.after_s": seconds,
        "stop.evaluation_return": "null",
        "report.every_s": seconds / 20,
        "evaluation.every_s": 10 * seconds,
        "evaluation.final": "false",
        "evaluation.video": "false",
        "cluster.stall_s": 60.0,
    }
    config = load("cartpole", overrides(settings | common)).config
    error = None
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            train(config)
        except UserError as failure:
            error = str(failure)
    run = max(Path(runs).iterdir(), key=lambda p: p.stat().st_mtime)
    rows = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    last = rows[-1] if rows else {"updates": 0, "time_s": 0.0, "replay_ratio": 0.0}
    before = max((r["updates"] for r in rows if r["time_s"] <= 0.75 * last["time_s"]), default=0)
    return {
        "updates": last["updates"],
        "ratio": last["replay_ratio"],
        "stalled": error is not None or last["updates"] <= before,
        "error": error,
        **settings,
    }


def lane(arguments: argparse.Namespace) -> None:
    """Every `lanes`-th setting, results as lines of JSON."""
    import ray

    chosen = valid(arguments.first + arguments.settings, arguments.seed)[arguments.first :][
        arguments.lane :: arguments.lanes
    ]
    ray.init(address="local", num_cpus=6, include_dashboard=False, log_to_driver=False, object_store_memory=2**28)
    with tempfile.TemporaryDirectory() as runs:
        one(chosen[0], seconds=arguments.seconds, runs=runs)
        for settings in chosen:
            result = one(settings, arguments.seconds, runs)
            if not result["updates"] and result["error"] is None:  # it may only have started too late: more time
                result = one(settings, SLOW_START * arguments.seconds, runs)
            print(json.dumps(result), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    for name, default in (("settings", 200), ("lanes", 1), ("seed", 1), ("first", 0), ("lane", -1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--limit-s", type=float, default=float("inf"), help="end after so long with what there is")
    arguments = parser.parse_args()
    if arguments.lane >= 0:
        lane(arguments)
        return
    until = time.monotonic() + arguments.limit_s
    command = [sys.executable, "-m", "benchmarks.stalls", *sys.argv[1:]]
    results: list[dict[str, Any]] = []
    with contextlib.ExitStack() as stack:
        files = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in range(arguments.lanes)]
        lanes = [
            subprocess.Popen([*command, "--lane", str(i)], stdout=file, cwd=ROOT, start_new_session=True)
            for i, file in enumerate(files)
        ]
        while any(p.poll() is None for p in lanes) and time.monotonic() < until:
            time.sleep(1.0)
        for process in lanes:
            process.terminate()
        for file in files:
            file.seek(0)
            results += [json.loads(line) for line in file if line.endswith("}\n")]
    stalled = [r for r in results if r["stalled"]]
    out = ROOT / arguments.out / f"from_{arguments.first}.json"
    updates = min((r["updates"] for r in results), default=0)
    figures = {
        "settings": len(results),
        "seconds": arguments.seconds,
        "stalled": len(stalled),
        "least_updates": updates,
    }
    write(out, figures)
    with out.with_suffix(".csv").open("w", newline="") as file:
        lines = csv.DictWriter(file, results[0] if results else ())
        lines.writeheader()
        lines.writerows(results)
    print(f"{len(stalled)} of {len(results)} settings stood still; {out}")
    for r in stalled:
        print(r)


if __name__ == "__main__":
    main()
