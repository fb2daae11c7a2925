"""One number of simulated actors for a while on a Ray of its own: what each part of the run had to do for them.

python -m benchmarks.load_case FILE CASE     CASE: JSON of the fields of `Case`; the figures are written to FILE
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import psutil
import ray
from ray.cluster_utils import Cluster
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from apex_ray.config.load import load
from apex_ray.config.schema import ApexConfig
from apex_ray.demand import bundles
from apex_ray.nodes import crew
from apex_ray.nodes.flow import remote
from apex_ray.nodes.program import Program
from apex_ray.report.console import Console
from apex_ray.report.loggers import Loggers
from apex_ray.report.writer import MetricsWriter
from apex_ray.run.hooks import Hooks
from apex_ray.run.loop import Run
from apex_ray.run.telling import Telling
from apex_ray.run_files import RunPlace
from apex_ray.site import Site
from apex_ray.sizes import Sizes, resolve_sizes
from apex_ray.types import EnvSpec
from benchmarks.simulated import PONG, Asking, LoadLauncher, Pace
from cluster.resources import Bundle
from trainkit.config import to_yaml
from trainkit.runs import create_run

GIB = 2**30
LEAST_TRANSITIONS = 200_000  # that replay has room for
LEARNER_NODE = {"benchmark": "learner"}  # the label of the node that has all but the actors


@dataclass(frozen=True)
class Case:
    """What is played."""

    actors: int
    nodes: int  # that have actors; one more, the head, has the other parts
    relays: bool
    shards: int = 1
    side_pixels: int = 84  # of a frame
    steps_per_s: float = 94.5  # of each environment: results/bench/actor.json's 3,024 agent steps/s of 32
    updates_per_s: float = 70.0
    tick_steps: int = 5
    warm_s: float = 15.0
    seconds: float = 30.0


def settings(case: Case) -> list[str]:
    preset = load("pong").config.actors
    chunk = preset.envs_per_actor * preset.chunk_transitions
    fewest = 2 * chunk * case.shards * -(-case.actors // case.shards)  # two chunks of each actor
    return [
        f"actors.count={case.actors}",
        f"replay.shards={case.shards}",
        f"replay.capacity_transitions={max(fewest, LEAST_TRANSITIONS)}",
        "replay.samples_per_insert=null",
        "learner.threads=1",
        "learner.device=cpu",
        "evaluation.every_s=100000",
        "evaluation.final=false",
        "evaluation.video=false",
        "checkpoint.every_s=100000",
        "cluster.learner_labels={benchmark: learner}",
    ]


def spec_of(case: Case) -> EnvSpec:
    return EnvSpec.of_frames(PONG.env_id, (case.side_pixels,) * 2, "uint8", 4, 6, 4)


def play(case: Case) -> dict[str, Any]:
    config, spec = load("pong", settings(case)).config, spec_of(case)
    sizes = resolve_sizes(config, spec, cores=1)
    each = -(-case.actors // case.nodes)
    chunks = (config.actors.chunks_in_flight + 2) * sizes.chunk_bytes
    store = int(min(max(2 * each * chunks, GIB // 4), 4 * GIB))
    if not case.relays:
        mock.patch.object(crew, "FEW_ACTORS", 10**9).start()  # unlike an assignment it fails where there is none
    arriving = int(min(max(case.actors * chunks, GIB // 2), 4 * GIB))
    head = {"num_cpus": 1, "include_dashboard": False, "object_store_memory": arriving, "labels": LEARNER_NODE}
    cluster = Cluster(initialize_head=True, head_node_args=head)
    others = [cluster.add_node(num_cpus=each, object_store_memory=store).node_id for _ in range(case.nodes)]
    cluster.wait_for_nodes()
    ray.init(address=cluster.address, namespace="load", log_to_driver=False)
    try:
        with tempfile.TemporaryDirectory() as runs:
            return _run(case, config, spec, sizes, others, Path(runs))
    finally:
        ray.shutdown()
        cluster.shutdown()  # type: ignore[no-untyped-call]


def _run(case: Case, config: ApexConfig, spec: EnvSpec, sizes: Sizes, others: list[str], runs: Path) -> dict[str, Any]:
    needs = [Bundle(b.name, b.cpus, count=b.count, labels=b.labels) for b in bundles(config, sizes, 0.0)]
    site = Site(sizes, False, bundles={b.name: b for b in needs}, namespace="load")
    folder = create_run(str(runs), config.name, to_yaml(config))
    made: list[LoadLauncher] = []
    pace = Pace(case.steps_per_s, case.updates_per_s, case.tick_steps)

    def launcher(*given: Any) -> LoadLauncher:
        made.append(LoadLauncher(pace, others, *given))
        return made[0]

    rows: list[Any] = []
    with (
        Console("load", config, is_terminal=False) as console,
        Loggers(config, folder, False, console.event) as loggers,
    ):
        program = Program(config, spec, site, RunPlace(folder.absolute()), console.event, launcher)
        begun = time.monotonic()
        program.start(False)
        with MetricsWriter(folder, False) as writer:
            hooks = Hooks(rows.append, None, None)
            telling = Telling(config, spec, folder, folder, console, writer, loggers, hooks, here=False)
            run = Run(config, program, telling, lambda: False)
            while program._crew.fleet.running < case.actors or not rows or rows[-1]["frames"] == 0:
                run.turn()
            started_s = time.monotonic() - begun
            _turn_for(run, case.warm_s)
            window = Window(case, program, made[0])
            took = _turn_for(run, case.seconds)
            figures = window.figures()
        program.let_go()
    lost = case.actors - int(rows[-1]["actors_alive"]) + int(rows[-1]["restarts"])
    ages = [row["policy_age_updates"] for row in rows[-4:] if "policy_age_updates" in row]
    return {
        **asdict(case),
        **figures,
        "started_s": started_s,
        "lost": lost,
        "policy_age_updates": float(np.mean(ages)) if ages else None,
        "longest_turn_s": max(took),
        "replay_transitions": rows[-1]["replay_transitions"],
        "chunk_bytes": sizes.chunk_bytes,
    }


def _turn_for(run: Run, seconds: float) -> list[float]:
    """Drive it for so long: the seconds that each turn took."""
    took, until = [], time.monotonic() + seconds
    while time.monotonic() < until:
        started = time.monotonic()
        reason = run.turn()
        took.append(time.monotonic() - started)
        assert reason is None, reason
    return took


def percentiles(values: Sequence[float]) -> dict[str, float]:
    return {f"p{p}": float(np.percentile(values, p)) for p in (50, 99)} if values else {}


class Window:
    """Counts at its beginning, and what came of them when it ends."""

    def __init__(self, case: Case, program: Program, launcher: LoadLauncher) -> None:
        nodes = program._nodes
        self._case, self._program, self._hosts = case, program, list(launcher.hosts.values())
        place = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        asking = remote(num_cpus=0, scheduling_strategy=place)(Asking)
        self._asking = asking.remote(nodes.weights, nodes.metrics, nodes.shards[0])
        names = {"weights": nodes.weights, "metrics": nodes.metrics, "learner": nodes.learner}
        names |= {f"replay-{i}": shard for i, shard in enumerate(nodes.shards)}
        names |= {name: kept.node for name, kept in program._supervisor._kept.items() if name.startswith("relay ")}
        pids = ray.get([node.process.remote() for node in names.values()])
        self._processes = {name: psutil.Process(p.pid) for name, p in zip(names, pids, strict=True)}
        self._processes["driver"] = psutil.Process()
        hosts = ray.get([host.process.remote(0) for host in self._hosts])
        self._processes |= {f"host {i}": psutil.Process(p.pid) for i, p in enumerate(hosts)}
        for child in psutil.Process().children(recursive=True):
            if child.name() in ("gcs_server", "raylet"):
                self._processes[f"{child.name()} {child.pid}"] = child
        ray.get([*(host.figures.remote() for host in self._hosts), self._asking.took_s.remote()])
        self._before = self._counts()

    def _counts(self) -> dict[str, Any]:
        nodes = self._program._nodes
        cpu = {name: sum(process.cpu_times()[:2]) for name, process in self._processes.items()}
        actors, asked_s = dict[int, Any](), list[float]()
        for found, asked in ray.get([host.figures.remote() for host in self._hosts]):
            actors |= found
            asked_s += asked
        return {
            "at": time.monotonic(),
            "cpu": cpu,
            "weights": ray.get(nodes.weights.calls.remote()),
            "metrics": ray.get(nodes.metrics.calls.remote()),
            "actors": actors,
            "weights_s": asked_s,
            "took_s": ray.get(self._asking.took_s.remote()),
            "lo": psutil.net_io_counters(pernic=True)["lo"].bytes_sent,
            "machine": psutil.cpu_times(),
        }

    def figures(self) -> dict[str, Any]:
        before, now, case = self._before, self._counts(), self._case
        seconds = now["at"] - before["at"]
        cores = {name: (now["cpu"][name] - before["cpu"][name]) / seconds for name in now["cpu"]}
        done = {i: np.subtract(now["actors"][i], before["actors"].get(i, (0, 0, 0.0, 0))) for i in now["actors"]}
        steps, loads, waited_s, chunks = (np.array([d[k] for d in done.values()]) for k in range(4))
        wanted = case.steps_per_s * 32 * seconds
        busy = [getattr(now["machine"], k) - getattr(before["machine"], k) for k in ("user", "system", "nice")]

        def together(kind: str) -> list[float]:
            return [value for name, value in cores.items() if name.startswith(kind)]

        return {
            "seconds": seconds,
            "agent_steps_per_s": float(steps.sum()) / seconds,
            "of_wanted": float(steps.sum()) / (wanted * case.actors),
            "least_of_wanted": float(steps.min()) / wanted,
            "starved": int(np.count_nonzero((steps < wanted / 2) | (loads == 0))) + case.actors - len(done),
            "actors_wait_fraction": float(waited_s.sum()) / (seconds * case.actors),
            "calls_per_s": {
                "weights": (now["weights"] - before["weights"]) / seconds,
                "metrics": (now["metrics"] - before["metrics"]) / seconds,
                "chunks": float(chunks.sum()) / seconds,
            },
            "loopback_bytes_per_s": (now["lo"] - before["lo"]) / seconds,
            "weights_s": percentiles(now["weights_s"]),
            "answers_s": {name: percentiles(took_s) for name, took_s in now["took_s"].items()},
            "cores": {
                **{name: cores[name] for name in ("weights", "metrics", "learner", "driver")},
                "shards": together("replay-"),
                "relays": together("relay "),
                "gcs": sum(together("gcs_server")),
                "raylets": sum(together("raylet")),
                "simulated actors": sum(together("host ")),
                "machine": sum(busy) / seconds,
            },
        }


def main(argv: Sequence[str]) -> None:
    path, case = argv
    Path(path).write_text(json.dumps(play(Case(**json.loads(case)))))


if __name__ == "__main__":
    main(sys.argv[1:])
