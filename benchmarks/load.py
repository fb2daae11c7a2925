"""Where a run stops growing: 16 to 2,048 simulated actors of 32 Pong games against the real other parts, doubled.

    python -m benchmarks.load [--series NAME ...] [--most N] [--seconds S] [--out FILE]

Real are replay shards and their limit, weights, metrics, relays and the driver's loop, on a Ray with several nodes of
this machine; actors and learner make the calls of real ones and do no work (benchmarks/simulated.py). Each case is a
process of its own (benchmarks/load_case.py). What has been measured stands in results/bench/load.json after each case;
series that are not asked for stay there as they are.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
from rich.console import Console
from rich.table import Table

from benchmarks.load_case import Case
from benchmarks.machine import COMMIT, ROOT, write

RESULT = ROOT / "results" / "bench" / "load.json"
CASE_S = 900.0  # that one may take before it counts as failed
ACTORS_OF_A_NODE, MOST_NODES = 64, 8  # each node of a Ray has processes of its own, on the same cores here
FULL_PACE, SLOW = Case.steps_per_s, Case.steps_per_s / 16
COARSE_FROM = 256  # actors at full pace, from which on more of their steps pass at once; they report each second still
SERIES: dict[str, dict[str, Any]] = {
    "direct": {"relays": False, "side_pixels": 8, "first": 16, "most": 512},
    "relays": {"relays": True, "side_pixels": 8, "first": 16, "most": 512},
    "slow direct": {"relays": False, "side_pixels": 8, "steps_per_s": SLOW, "first": 256, "most": 2048},
    "slow": {"relays": True, "side_pixels": 8, "steps_per_s": SLOW, "first": 256, "most": 2048},
    "bytes": {"relays": True, "first": 1, "most": 64},
    "bytes, 2 shards": {"relays": True, "shards": 2, "first": 1, "most": 64},
}
IN_WORDS = {
    "direct": "every actor asks weights and metrics by itself, and steps as if it never waited; small frames, so that "
    "calls are what counts",
    "relays": "the same with a relay on each node",
    "slow direct": "without relays, at a 16th of the pace, as actors are that wait for a learner",
    "slow": "the same with a relay on each node",
    "bytes": "with relays, at full pace, with frames of 84 x 84",
    "bytes, 2 shards": "the same with two replay shards",
}
FINE = 0.95  # of the steps that its actors would make if nothing held them up
FULL = 0.9  # of a core, or of all of them


def case_of(series: Mapping[str, Any], actors: int, seconds: float) -> Case:
    given = {name: value for name, value in series.items() if name not in ("first", "most")}
    nodes = min(-(-actors // ACTORS_OF_A_NODE), MOST_NODES)
    coarse = 5 if actors >= COARSE_FROM and series.get("steps_per_s", FULL_PACE) == FULL_PACE else 1
    return Case(actors, nodes, seconds=seconds, tick_steps=Case.tick_steps * coarse, **given)


def wall(figures: Mapping[str, Any], machine_cores: int) -> str:
    """What holds the actors of a case up; "" where nothing does."""
    if not figures["lost"] and not figures["starved"] and figures["of_wanted"] >= FINE:
        return ""
    cores = figures["cores"]
    shards = {f"replay-{i}": share for i, share in enumerate(cores["shards"])}
    parts = {name: cores[name] for name in ("weights", "metrics", "driver", "gcs")} | shards
    busiest = max(parts, key=lambda name: parts[name])
    if parts[busiest] >= FULL:
        return busiest
    if cores["machine"] >= FULL * machine_cores:
        return "this machine's cores"
    return "chunks on their way" if figures["actors_wait_fraction"] > 1 - FINE else "not known"


def measure(case: Case) -> dict[str, Any]:
    """Its figures, or why there are none."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "figures.json"
        words = [sys.executable, "-m", "benchmarks.load_case", str(result), json.dumps(asdict(case))]
        run = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
        try:
            said = run.communicate(timeout=CASE_S)[1].strip().splitlines()
        except subprocess.TimeoutExpired:
            for child in psutil.Process(run.pid).children(recursive=True):  # its Ray, too
                child.kill()
            run.kill()
            said = [f"not done after {CASE_S:g} s"]
        if not result.exists():
            return {**asdict(case), "failed": said[-1] if said else "it said nothing"}
        figures: dict[str, Any] = json.loads(result.read_text())
    return figures | {"wall": wall(figures, psutil.cpu_count() or 1), "commit": COMMIT}


def ms(found: Mapping[str, float]) -> str:
    """Percentiles of seconds."""
    return ", ".join(f"{1e3 * value:.0f}" for value in found.values())


def shown(name: str, cases: list[dict[str, Any]]) -> Table:
    heads = ("actors", "steps/s", "of wanted", "waiting", "lost, starved", "weights calls/s, core", "metrics")
    more = ("shards, cores", "relays", "driver", "ms p50, p99: weights had", "metrics", "limit", "wall")
    table = Table(*heads, *more, title=name)
    for case in cases:
        if "failed" in case:
            table.add_row(str(case["actors"]), case["failed"])
            continue
        calls, cores, answers = case["calls_per_s"], case["cores"], case["answers_s"]
        table.add_row(
            str(case["actors"]),
            f"{case['agent_steps_per_s']:,.0f}",
            f"{case['of_wanted']:.2f}",
            f"{case['actors_wait_fraction']:.2f}",
            f"{case['lost']}, {case['starved']}",
            f"{calls['weights']:,.0f}, {cores['weights']:.3f}",
            f"{calls['metrics']:,.0f}, {cores['metrics']:.3f}",
            " ".join(f"{share:.2f}" for share in cores["shards"]),
            f"{sum(cores['relays']):.2f} of {len(cores['relays'])}",
            f"{cores['driver']:.3f}",
            ms(case["weights_s"]),
            *(ms(answers.get(part, {})) for part in ("metrics", "limit")),
            case["wall"],
        )
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--series", nargs="+", choices=list(SERIES), default=list(SERIES))
    parser.add_argument("--most", type=int, help="actors; default: as many as each series says")
    parser.add_argument("--seconds", type=float, default=Case.seconds, help="that each case is measured for")
    parser.add_argument("--out", type=Path, default=RESULT)
    words = parser.parse_args()
    measured: dict[str, list[dict[str, Any]]] = {}
    if words.out.exists():
        measured = json.loads(words.out.read_text())["figures"]
    for name in words.series:
        series, measured[name] = SERIES[name], []
        actors = series["first"]
        while actors <= min(words.most or series["most"], series["most"]):
            measured[name].append(measure(case_of(series, actors, words.seconds)))
            write(words.out, measured)
            Console(width=200).print(shown(name, measured[name]))
            actors *= 2


if __name__ == "__main__":
    main()
