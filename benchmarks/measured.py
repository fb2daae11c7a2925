"""Writes what results/bench says into apex_ray/measured.yaml, and model beside measurement into docs/scaling.md.

python -m benchmarks.measured
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from apex_ray.config.load import load
from apex_ray.estimate import Estimate, Places, estimate
from apex_ray.measured import Measured, measured
from apex_ray.sizes import resolve_sizes
from benchmarks.load import IN_WORDS
from benchmarks.load_case import Case, settings, spec_of
from benchmarks.machine import ROOT

FIGURES, PAGE = ROOT / "apex_ray" / "measured.yaml", ROOT / "docs" / "scaling.md"
NOW = "the same, weights asked for seldom"  # of benchmarks/inference_speed.py: a call as it is
BEGIN, END = "<!-- model beside measurement: written by python -m benchmarks.measured -->", "<!-- end -->"
MIB = 2**20
COLUMNS = (
    "actors",
    "env steps/s (model)",
    "weights, cores (model)",
    "metrics, cores (model)",
    "a relay, cores (model)",
    "driver, cores",
    "lost, starved",
    "weights after, ms: p50, p99",
    "wall",
)
Results = Mapping[str, Any]  # figures of a file by its name without ending; without those that are not there


def results(folder: Path = ROOT / "results" / "bench") -> Results:
    return {path.stem: json.loads(path.read_text())["figures"] for path in folder.glob("*.json")}


def slope(cases: list[Any], x: Callable[[Any], float], y: Callable[[Any], float]) -> float | None:
    """Of y over x from the first to the last case: what is there without any work goes out. None: it does not rise."""
    if not cases:
        return None
    run, rise = x(cases[-1]) - x(cases[0]), y(cases[-1]) - y(cases[0])
    return rise / run if run > 0 and rise > 0 else None


def actors(case: Any) -> float:
    return float(case["actors"])


def calls(name: str) -> Callable[[Any], float]:
    return lambda case: float(case["calls_per_s"][name])


def cores(name: str) -> Callable[[Any], float]:
    return lambda case: float(case["cores"][name])


def per(series: str, work: Callable[[Any], float], spent: Callable[[Any], float]) -> Callable[[Results], float | None]:
    """What is spent for each piece of work, in a series of benchmarks/load.py."""
    return lambda found: slope(cases(found, series), work, spent)


def cases(found: Results, series: str) -> list[Any]:
    return [case for case in found["load"][series] if "failed" not in case]


SOURCES: dict[str, Callable[[Results], float | None]] = {
    "actor_steps_per_s": lambda r: r["actor"]["agent_steps_per_s"]["actor, in turn on one core"],
    "actor_two_groups_steps_per_s": lambda r: r["actor"]["agent_steps_per_s"][
        "actor, two groups overlapped on two cores"
    ],
    "emulator_steps_per_s": lambda r: r["actor"]["agent_steps_per_s"]["emulator alone"],
    # A core computes, and answers calls of 32 games each.
    "inference_steps_per_s": lambda r: (
        1e6
        / (
            r["inference"]["arithmetic"]["atari"]["32 environments"]["bfloat16"]
            + 1e3 * r["inference"]["calls"][NOW]["inference's core, ms"] / 32
        )
    ),
    # On a cluster that was there before a run, processes import for themselves, as all did before they were forks.
    "actor_bytes": lambda r: r["actor_memory"]["local"]["before"]["private"] * MIB,
    "central_actor_bytes": lambda r: r["actor_memory"]["central"]["before"]["private"] * MIB,
    "insert_transitions_per_s": lambda r: r["replay"]["transitions_per_s"]["insert"],
    "sample_transitions_per_s": lambda r: 512 * r["replay"]["batches_per_s_into_learner"]["1 shard(s)"],
    "pong_samples_per_s": lambda r: 64 * r["learner"]["updates_per_s"]["pong"]["freed memory kept, both"],
    "atari_samples_per_s": lambda r: 512 * r["learner"]["updates_per_s"]["atari"]["freed memory kept, both"],
    "shard_bytes_per_s": lambda r: max(c["calls_per_s"]["chunks"] * c["chunk_bytes"] for c in cases(r, "bytes")),
    "weights_core_s": per("direct", calls("weights"), cores("weights")),
    "report_core_s": per("direct", calls("metrics"), cores("metrics")),
    "relayed_report_core_s": per("relays", actors, cores("metrics")),
    "relay_core_s": per("relays", actors, lambda case: sum(case["cores"]["relays"])),
}


def value(found: Results, name: str) -> str:
    """Three digits of it, as YAML; null where there is no result."""
    try:
        number = SOURCES[name](found)
    except KeyError:
        return "null"
    if number is None:
        return "null"
    rounded = float(f"{number:.3g}")
    return f"{rounded:.0f}" if rounded >= 100 else f"{rounded:.3g}"


def _line(number: str, there: re.Match[str]) -> str:
    return f"{there[1]} {number:<{len(there[2])}}"


def figures_text(text: str, found: Results) -> str:
    """measured.yaml with the results' numbers in it."""
    for name in SOURCES:
        pattern = re.compile(rf"^({name}:) (\S+ *)(?=#)", re.MULTILINE)
        text, count = pattern.subn(partial(_line, value(found, name)), text)
        assert count == 1, name
    return text


def expected(case: Mapping[str, Any], figures: Measured) -> Estimate:
    """What the model says of a case of benchmarks/load.py."""
    known = Case(**{name: case[name] for name in Case.__dataclass_fields__})
    config, spec = load("pong", settings(known)).config, spec_of(known)
    # Without relays every actor talks by itself, as those of nodes with few do.
    nodes = {f"node {i}": len(range(i, known.actors, known.nodes)) for i in range(known.nodes)}
    alone = {f"node {i}": 1 for i in range(known.actors)}
    at = Places("head", ["head"] * known.shards, nodes if known.relays else alone)
    its_own = {
        "actor_steps_per_s": known.steps_per_s * config.actors.envs_per_actor,
        "samples_per_s": known.updates_per_s * config.learner.batch_size,
    }
    sizes = resolve_sizes(config, spec, cores=1)
    return estimate(config, spec, sizes, at, False, 0.0, figures.model_copy(update=its_own))


def table(found: Results, figures: Measured) -> str:
    """Markdown: each case of results/bench/load.json, the model's figure behind each that was measured."""
    if "load" not in found:
        return (
            "Not measured yet. `python -m benchmarks.load` measures it, and `python -m benchmarks.measured` writes the "
            "table here and the figures\nthat the model is without into apex_ray/measured.yaml."
        )
    lines = []
    for series, measured_cases in found["load"].items():
        lines += [
            "",
            f"`{series}`: {IN_WORDS[series]}:",
            "",
            f"| {' | '.join(COLUMNS)} |",
            "|" + "---|" * len(COLUMNS),
        ]
        for case in measured_cases:
            lines.append(f"| {' | '.join([str(case['actors']), *_row(case, figures)])} |")
    return "\n".join(lines[1:])


def _row(case: Mapping[str, Any], figures: Measured) -> list[str]:
    if "failed" in case:
        return [case["failed"], *[""] * 7]
    model = expected(case, figures)
    shares = {part.name: part.share for part in model.parts}
    cores, after = case["cores"], case["weights_s"]

    def beside(measured_cores: float, part: str) -> str:
        share = shares.get(part)
        return f"{measured_cores:.3f} ({'-' if share is None else f'{share:.3f}'})"

    relays = cores["relays"]
    return [
        f"{case['agent_steps_per_s']:,.0f} ({model.steps_per_s:,.0f})",
        beside(cores["weights"], "the weights holder"),
        beside(cores["metrics"], "metrics"),
        beside(max(relays), "the busiest relay") if relays else "-",
        f"{cores['driver']:.3f}",
        f"{case['lost']}, {case['starved']}",
        ", ".join(f"{1e3 * after[p]:.0f}" for p in after),
        case["wall"] or "-",
    ]


def page_text(text: str, found: Results, figures: Measured) -> str:
    """docs/scaling.md with the table in it."""
    before, rest = text.split(BEGIN)
    return f"{before}{BEGIN}\n{table(found, figures)}\n{END}{rest.split(END, 1)[1]}"


def main() -> None:
    found = results()
    FIGURES.write_text(figures_text(FIGURES.read_text(), found))
    PAGE.write_text(page_text(PAGE.read_text(), found, measured()))


if __name__ == "__main__":
    main()
