"""The whole system on Pong beside RLlib's DQN and its former Ape-X, and its learner beside a bare loop.

python -m benchmarks.system_speed

Same network (3.29 M parameters), batch 512, prioritised replay, n = 3, double and dueling; the same cores. Each side
runs for SECONDS, one after the other, and is measured over the second half.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from benchmarks.learner_speed import measure
from benchmarks.machine import ROOT, write
from benchmarks.peer import ask

SECONDS = 180
SETTINGS = [
    "actors.count=1",
    "actors.envs_per_actor=32",
    "replay.capacity_transitions=100000",
    "replay.min_transitions=10000",
    "learner.threads=1",
    "evaluation.every_s=100000",
    "evaluation.final=false",
    "checkpoint.every_s=100000",
]


def apex_ray_system(settings: list[str], seconds: int = SECONDS) -> dict[str, float]:
    """The committed `atari` preset with these settings, as a user starts it."""
    with tempfile.TemporaryDirectory() as runs:
        words = ["train", "atari", *settings, f"stop.after_s={seconds}", f"runs_dir={runs}"]
        run = subprocess.Popen([sys.executable, "-m", "apex_ray", *words], cwd=ROOT, stdout=subprocess.DEVNULL)
        driver = psutil.Process(run.pid)
        seen: list[tuple[float, float]] = []  # (when, CPU seconds of the driver)
        while run.poll() is None:
            try:
                times = driver.cpu_times()
            except psutil.NoSuchProcess:
                break
            seen.append((time.monotonic(), times.user + times.system))
            time.sleep(1.0)
        (folder,) = Path(runs).iterdir()
        rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    half = [r for r in rows if r["time_s"] >= seconds / 2]
    first, last = half[0], half[-1]
    elapsed = last["time_s"] - first["time_s"]
    # The last seconds of the process are its shutdown, which is no steady state.
    steady = [(at, cpu) for at, cpu in seen if seen[0][0] + seconds / 2 < at < seen[-1][0] - 10]
    return {
        "env steps/s": (last["frames"] - first["frames"]) / 4 / elapsed,
        "updates/s": (last["updates"] - first["updates"]) / elapsed,
        "learner waits, fraction": float(np.mean([r["learner_wait_fraction"] for r in half])),
        "driver, cores": (steady[-1][1] - steady[0][1]) / (steady[-1][0] - steady[0][0]),
        "seconds measured": elapsed,
    }


def bare_loop_beside_an_actor(settings: list[str], seconds: float = 40.0) -> float:
    """Updates a second on a fixed batch while another process acts as fast as it can: the system without replay."""
    actor = subprocess.Popen([sys.executable, "-c", "import benchmarks.system_speed as b; b.act_for_ever()"], cwd=ROOT)
    try:
        time.sleep(10.0)  # until it acts
        updates_per_s, _ = measure("atari", settings, seconds=seconds)
    finally:
        actor.kill()
        actor.wait()
    return updates_per_s


def act_for_ever() -> None:
    from apex_ray.process import prepare_process
    from benchmarks.actor_speed import actor_loop

    prepare_process(threads=1)
    step = actor_loop(groups=1)
    while True:
        step()


def main() -> None:
    ours = apex_ray_system(SETTINGS)
    bare = bare_loop_beside_an_actor([s for s in SETTINGS if s.startswith("learner.")])
    peers: dict[str, Any] = {
        setting: ask("rllib_dqn", str(SECONDS), "512", setting) for setting in ("tuned", "defaults")
    }
    table: dict[str, Any] = {"apex-ray": ours}
    table |= {f"RLlib DQN, {k}": v for k, v in peers.items()}
    table["RLlib's Ape-X, Ray 2.8"] = ask("rllib_apex", str(SECONDS), "512")
    figures: dict[str, Any] = {"systems": table, "bare loop beside an actor, updates/s": bare}
    figures["learner in the system / bare loop"] = ours["updates/s"] / bare
    figures["ratios"] = {
        name: {unit: ours[unit] / value[unit] for unit in ("env steps/s", "updates/s") if value.get(unit)}
        for name, value in table.items()
        if name != "apex-ray"
    }
    print(json.dumps(figures, indent=1))
    write(ROOT / "results" / "bench" / "system.json", figures)


if __name__ == "__main__":
    main()
