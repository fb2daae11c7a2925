"""Central inference: what a call costs and by which road, whether waiting for more of them pays, which arithmetic.

    python -m benchmarks.inference_speed

`calls`: an actor's call for 32 games, to a process without a network: how long, and the core's time of both processes.
`waiting`: actors that emulate for 8 ms (they sleep) and then ask; a batch is served at once, or after a while in which
more may come. `arithmetic`: the networks of `pong` and `atari` in one thread, by the core's time. All that is compared
takes turns.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from statistics import median
from typing import Any

import numpy as np
import ray
import torch
from rich.console import Console
from rich.table import Table

from apex_ray.agent.build import build_agent
from apex_ray.agent.network import Inference, to_arrays
from apex_ray.config.load import load
from apex_ray.experience.variables import VariableClient
from apex_ray.nodes.central_inference import CentralInference
from apex_ray.nodes.flow import remote
from apex_ray.nodes.inference_node import InferenceNode
from apex_ray.nodes.living import GROUP
from apex_ray.nodes.weights_node import RemoteSource, WeightsNode
from apex_ray.process import prepare_process
from apex_ray.talk import ASK_EVERY_S
from apex_ray.types import EnvSpec, Observations
from benchmarks.machine import ROOT, write

SPEC = EnvSpec.of_frames("ALE/Pong-v5", (84, 84), "uint8", 4, 6, 4)
ENVS, ROUNDS = 32, 5
CALLS = 200  # of a round
EMULATION_S, SPREAD = 0.0082, 0.25  # of 32 games on one core (results/bench/actor.json), and how much it differs
ACTORS, WAITS_MS, WAITED_S = (2, 8, 32), (0.0, 1.0, 4.0), 2.0
PASS_S, ROW_S = 0.001, 2e-6  # of a device whose passes take the same for any batch, nearly
Figures = dict[str, dict[str, float]]


def frames(envs: int, stack: int = 4) -> Observations:
    return {"frames": np.random.default_rng(0).integers(0, 255, (envs, stack, 84, 84), dtype=np.uint8)}


class Still:
    """Weights that stay as they are."""

    version = 0

    def step(self) -> None: ...


class Nothing(InferenceNode):
    """Central inference without a network. `every_s`: between questions for weights; None: it asks for none."""

    def __init__(self, weights: Any, every_s: float | None) -> None:
        config = load("pong").config
        super().__init__(config, SPEC, lambda: weights, 1)
        self._network: Any = lambda observations, state: ({"q_values": np.zeros((ENVS, 6), np.float32)}, {})
        source = RemoteSource(weights, every_s or 0.0)
        self._variables: Any = Still() if every_s is None else VariableClient(source, 1, lambda newer: None)

    async def core_s(self) -> float:
        return time.process_time()


class Caller:
    """An actor process: asks as often as it can."""

    def figures(self, nodes: dict[str, Any]) -> Figures:
        near, far, asks, asks_seldom = (CentralInference(nodes[n]) for n in ("near", "near", "each", "seldom"))
        far._near = False
        stacks, newest, a_byte = frames(ENVS), frames(ENVS, 1), {"frames": np.zeros(1, np.uint8)}
        ways: dict[str, tuple[Callable[[], object], Any]] = {
            "a byte, through Ray": (lambda: far(a_byte, {}), nodes["near"]),
            "stacks, through Ray": (lambda: far(stacks, {}), nodes["near"]),
            "newest frames, through Ray": (lambda: far(newest, {}), nodes["near"]),
            "stacks, through memory": (lambda: near(stacks, {}), nodes["near"]),
            "the same, weights asked for with each": (lambda: asks(stacks, {}), nodes["each"]),
            "the same, weights asked for seldom": (lambda: asks_seldom(stacks, {}), nodes["seldom"]),
            "stacks into Ray's store, no call": (lambda: ray.put(stacks), nodes["near"]),
        }
        seen: dict[str, list[tuple[float, float, float]]] = {name: [] for name in ways}
        for turn in range(ROUNDS + 1):
            for name, (ask, node) in ways.items():
                took, theirs, mine = [], ray.get(node.core_s.remote()), time.process_time()
                for _ in range(CALLS):
                    started = time.perf_counter()
                    ask()
                    took.append(time.perf_counter() - started)
                mine = (time.process_time() - mine) / CALLS
                theirs = (ray.get(node.core_s.remote()) - theirs) / CALLS
                if turn:  # the first makes memory, connections and code warm
                    seen[name].append((median(took), mine, theirs))
        names = ("ms", "actor's core, ms", "inference's core, ms")
        return {
            way: {name: 1e3 * median(column) for name, column in zip(names, zip(*rows, strict=True), strict=True)}
            for way, rows in seen.items()
        }


def calls() -> Figures:
    from tests.rays import ray_of

    with ray_of(2):
        weights = remote(num_cpus=0, concurrency_groups=GROUP)(WeightsNode).remote()
        agent = build_agent(load("pong").config, SPEC)
        ray.get(weights.publish.remote(0, to_arrays(Inference(agent).network)))
        kinds = {"near": None, "each": 0.0, "seldom": ASK_EVERY_S}
        nodes = {name: remote(num_cpus=0)(Nothing).remote(weights, every_s) for name, every_s in kinds.items()}
        found: Figures = ray.get(remote(num_cpus=0)(Caller).remote().figures.remote(nodes))
        return found


class Gathering:
    """Serves as nodes/inference_node.py does; `wait_s`: before each batch, unless `enough` wait already."""

    def __init__(self, network: Callable[[list[Observations]], object], wait_s: float, enough: int) -> None:
        self._network, self._wait_s, self._enough = network, wait_s, enough
        self._thread = ThreadPoolExecutor(1, initializer=prepare_process, initargs=(1,))
        self._waiting: list[tuple[Observations, asyncio.Future[None]]] = []
        self.batches, self.served, self.latencies_s = 0, 0, list[float]()

    async def ask(self, observations: Observations) -> None:
        started, answer = time.perf_counter(), asyncio.get_running_loop().create_future()
        self._waiting.append((observations, answer))
        await answer
        self.latencies_s.append(time.perf_counter() - started)

    async def serve(self, until: float) -> None:
        while time.perf_counter() < until:
            if not self._waiting:
                await asyncio.sleep(0.0001)
                continue
            give_up = time.perf_counter() + self._wait_s
            while len(self._waiting) < self._enough and time.perf_counter() < give_up:
                await asyncio.sleep(0.0001)
            batch, self._waiting = self._waiting, []
            given = [observations for observations, _ in batch]
            await asyncio.get_running_loop().run_in_executor(self._thread, self._network, given)
            self.batches, self.served = self.batches + 1, self.served + len(batch)
            for _, answer in batch:
                answer.set_result(None)
        for _, answer in self._waiting:
            answer.cancel()


async def acting(server: Gathering, actors: int, seconds: float) -> None:
    rng, given = np.random.default_rng(0), frames(ENVS)

    async def act(until: float) -> None:
        while True:
            await asyncio.sleep(EMULATION_S * rng.uniform(1 - SPREAD, 1 + SPREAD))
            if time.perf_counter() >= until:  # who asks before then is answered, or called off
                return
            await server.ask(given)

    until = time.perf_counter() + seconds
    await asyncio.gather(server.serve(until), *(act(until) for _ in range(actors)), return_exceptions=True)


def on_cpu() -> Callable[[list[Observations]], object]:
    network = Inference(build_agent(load("pong").config, SPEC), "auto", seed=0)
    return lambda given: network({"frames": np.concatenate([each["frames"] for each in given])}, {})


def on_device(given: list[Observations]) -> None:
    time.sleep(PASS_S + ROW_S * ENVS * len(given))


def waiting() -> dict[str, dict[str, Figures]]:
    networks = {"pong on this CPU": on_cpu(), "a device of 1 ms a pass": on_device}
    cases = [(name, actors, wait) for name in networks for actors in ACTORS for wait in WAITS_MS]
    seen: dict[tuple[str, int, float], list[tuple[float, float, float]]] = {case: [] for case in cases}
    for _ in range(ROUNDS):
        for name, actors, wait in cases:
            server = Gathering(networks[name], wait / 1e3, actors)
            asyncio.run(acting(server, actors, WAITED_S))
            latency_ms = 1e3 * median(server.latencies_s)
            seen[name, actors, wait].append(
                (ENVS * server.served / WAITED_S, server.served / server.batches, latency_ms)
            )
    found: dict[str, dict[str, Figures]] = {}
    for (name, actors, wait), rows in seen.items():
        steps, batch, latency_ms = (median(column) for column in zip(*rows, strict=True))
        figures = {"steps/s": steps, "actors a batch": batch, "ms": latency_ms}
        found.setdefault(name, {}).setdefault(f"{actors} actors", {})[f"{wait:g} ms"] = figures
    return found


def arithmetic() -> dict[str, Figures]:
    """Microseconds of a core for each environment, by the number of them in a pass."""
    prepare_process(1)
    found: dict[str, Figures] = {}
    for preset in ("pong", "atari"):
        agent = build_agent(load(preset).config, SPEC)
        networks = {"float32": Inference(agent, False, seed=0), "bfloat16": Inference(agent, True, seed=0)}
        networks["int8, dynamic"] = quantised = Inference(agent, False, seed=0)
        quantised.network = torch.ao.quantization.quantize_dynamic(  # type: ignore[no-untyped-call,unused-ignore]
            quantised.network, {torch.nn.Linear}, dtype=torch.qint8
        )
        for envs in (8, ENVS, 4 * ENVS):
            given, seen = frames(envs), {name: list[float]() for name in networks}
            for turn in range(ROUNDS + 1):
                for name, network in networks.items():
                    cost = _core_s(partial(network, given, {})) / envs
                    seen[name] += [1e6 * cost] if turn else []
            found.setdefault(preset, {})[f"{envs} environments"] = {n: median(costs) for n, costs in seen.items()}
    return found


def _core_s(work: Callable[[], object], seconds: float = 0.15) -> float:
    """Of one call."""
    done, started = 0, time.process_time()
    while time.process_time() - started < seconds:
        work()
        done += 1
    return (time.process_time() - started) / done


def show(title: str, rows: Figures) -> None:
    columns = next(iter(rows.values()))
    table = Table("", *columns, title=title)
    for name, figures in rows.items():
        table.add_row(name, *(f"{figure:,.3g}" if figure < 100 else f"{figure:,.0f}" for figure in figures.values()))
    Console().print(table)


def main() -> None:
    found: dict[str, Any] = {"calls": calls(), "arithmetic": arithmetic(), "waiting": waiting()}
    show("a call for 32 games", found["calls"])
    for preset, rows in found["arithmetic"].items():
        show(f"{preset}: microseconds of a core an environment", rows)
    for network, cases in found["waiting"].items():
        for actors, rows in cases.items():
            show(f"{network}, {actors}, waiting up to", rows)
    write(ROOT / "results" / "bench" / "inference.json", found)


if __name__ == "__main__":
    main()
