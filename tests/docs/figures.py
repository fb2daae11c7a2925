"""Figures of README and docs: where each stands, and what the results say it is."""

from __future__ import annotations

import csv
import json
import re
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Figure:
    page: str
    results: str  # a JSON or CSV file below results/
    function: str  # of this module: what the figures must be
    words: str  # what stands there: # for each figure, ... for anything between

    @property
    def pattern(self) -> re.Pattern[str]:
        """A group for each figure, in text whose runs of white space are one space."""
        escaped = re.escape(self.words).replace(r"\#", r"(\d[\d,.]*\d|\d)").replace(r"\.\.\.", ".*?")
        return re.compile(escaped)

    @property
    def values(self) -> list[str]:
        """Of the file."""
        found: list[str] = globals()[self.function](read(self.results))
        return found

    def __str__(self) -> str:
        return f"{self.page}, {self.results}, {self.function}"


def table() -> list[Figure]:
    """figures.txt, without its first paragraph."""
    found: list[tuple[list[str], list[str]]] = []
    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8").split("\n\n", 1)[1]
    for line in text.splitlines():
        if line.startswith("    "):
            found[-1][1].append(line.strip())
        elif line:
            found.append((line.split(", "), []))
    return [Figure(*head, " ".join(words)) for head, words in found]


def read(name: str) -> Any:
    """The figures of a JSON file, or the rows of a CSV."""
    path = ROOT / "results" / name
    if path.suffix == ".csv":
        with path.open(encoding="utf-8") as file:
            return list(csv.DictReader(file))
    return json.loads(path.read_text(encoding="utf-8"))["figures"]


def n(value: float, digits: int = 0) -> str:
    """A number as the docs write it."""
    return f"{value:,.{digits}f}"


def median(values: list[float]) -> float:
    return statistics.median(values)


# Pong and CartPole


def pong(figures: Any) -> list[str]:
    best = max(figures["evaluations"], key=lambda e: e["mean"])
    return [n(best["mean"], 1), n(best["wall_s"] / 60), n(figures["frames"] / 1e6 - 0.05, 1)]


def pong_seeds(rows: Any) -> list[Any]:
    """Of results/pong_suite, those of `atari_cpu`, which come first."""
    return [row for row in rows if row["setting"] == rows[0]["setting"]]


def pong_minutes(rows: Any) -> list[str]:
    return [n(60 * float(row["hours"]), 1) for row in pong_seeds(rows)]


def pong_runs(rows: Any) -> list[str]:
    return [
        figure
        for row in pong_seeds(rows)
        for figure in (
            n(60 * float(row["hours"]), 1), n(float(row["frames"]) / 1e6, 1), n(float(row["updates"])),
            n(float(row["last"]), 1),
        )
    ]  # fmt: skip


def pong_picture(rows: Any) -> list[str]:
    """The run of the median time."""
    runs = sorted(pong_seeds(rows), key=lambda row: float(row["hours"]))
    middle = runs[len(runs) // 2]
    return [n(float(middle["last"]), 1), n(60 * float(middle["hours"])), n(len(runs))]


def pong_updates(figures: Any) -> list[str]:
    return [n(figures["updates"])]


def cartpole(figures: Any) -> list[str]:
    return [n(seed["reached_475_s"]) for seed in figures]


# Speed


def systems(figures: Any) -> list[str]:
    order = ("apex-ray", "RLlib DQN, tuned", "RLlib DQN, defaults", "RLlib's Ape-X, Ray 2.8")
    of = [figures["systems"][name] for name in order]
    updates = [n(of[0]["updates/s"], 1), *(n(system["updates/s"], 2) for system in of[1:])]
    return [*(n(system["env steps/s"]) for system in of), *updates]


def systems_picture(figures: Any) -> list[str]:
    ours, tuned, defaults, apex = systems(figures)[:4]
    return [ours, apex, tuned, defaults, n(figures["ratios"]["RLlib's Ape-X, Ray 2.8"]["env steps/s"], 1)]


def system_line(figures: Any) -> list[str]:
    steps, updates = systems(figures)[:4], systems(figures)[4:]
    return [figure for pair in zip(steps, updates, strict=True) for figure in pair]


def system_parts(figures: Any) -> list[str]:
    ours = figures["systems"]["apex-ray"]
    return [
        n(100 * ours["learner waits, fraction"], 1),
        n(figures["learner in the system / bare loop"], 2),
        n(100 * ours["driver, cores"], 1),
    ]


def actor(figures: Any) -> list[str]:
    ours, peers = figures["agent_steps_per_s"], figures["peers_agent_steps_per_s"]
    return [
        n(ours["actor, in turn on one core"]),
        n(ours["emulator and inference in turn, as the preset has it"]),
        n(ours["emulator alone"]),
        n(ours["inference alone, as the preset has it"]),
        n(peers["gymnasium wrappers alone"]),
        n(peers["RLlib env runner"]),
        n(ours["actor, two groups overlapped on two cores"]),
        n(peers["envpool alone"]),
    ]


def inference(figures: Any) -> list[str]:
    ours = figures["agent_steps_per_s"]
    return [n(ours["inference alone, as the preset has it"] / ours["inference alone, float32"], 1)]


def bfloat16(figures: Any) -> list[str]:
    costs = [figures["arithmetic"][preset]["32 environments"] for preset in ("pong", "atari")]
    return [n(cost["float32"] / cost["bfloat16"], 1) for cost in costs]


def roads(figures: Any) -> list[str]:
    ways = ("stacks, through Ray", "newest frames, through Ray", "stacks, through memory", "a byte, through Ray")
    return [n(value, 1) for way in ways for value in figures["calls"][way].values()]


def arithmetic(figures: Any) -> list[str]:
    costs = [figures["arithmetic"][preset]["32 environments"] for preset in ("pong", "atari")]
    return [n(value) for cost in costs for value in cost.values()]


def shorter(figures: Any) -> list[str]:
    return [n(cost["bfloat16"] / cost["float32"], 2) for cost in figures.values()]


def waits(figures: Any) -> list[str]:
    cases = [case for network in figures["waiting"].values() for case in network.values()]
    return [n(case[wait]["steps/s"]) for case in cases for wait in ("0 ms", "1 ms", "4 ms")]


def replay(figures: Any) -> list[str]:
    ours, peers = figures["transitions_per_s"], figures["peers_transitions_per_s"]
    return [
        n(round(ours["sample"], -3)),
        n(round(ours["memcpy"], -3)),
        n(round(peers["cpprb: sample"], -3)),
        n(round(peers["RLlib: sample"], -2)),
        n(round(ours["insert"], -3)),
        n(round(peers["cpprb: insert"], -2)),
        n(round(peers["RLlib: insert"], -2)),
        n(figures["resident_bytes_per_transition"]),
        n(figures["batches_per_s_into_learner"]["1 shard(s)"]),
        n(figures["batches_per_s_into_learner"]["2 shard(s)"]),
    ]


def learner(figures: Any) -> list[str]:
    rates = figures["updates_per_s"].values()
    return [n(of["freed memory kept, both"] / of["freed memory kept, float32"], 1) for of in rates]


def scaling(figures: Any) -> list[str]:
    rates = figures["agent_steps_per_s"]
    two, four, eight = (rates[f"{count} actors"] / rates["1 actors"] for count in (2, 4, 8))
    return [n(two, 2), n(four, 1), n(eight, 1)]


def compression(figures: Any) -> list[str]:
    found = []
    for name in ("lz4", "zstd 1", "zstd 3"):
        by = figures["by"][name]
        found += [n(by["ratio"]), *(n(by[f"{way}_bytes_per_s"] / 1e9, 1) for way in ("there", "back"))]
        found.append(n(8 * by["pays_below_bytes_per_s"] / 1e9))
    return found


def percent(part: float, whole: float) -> str:
    return n(100 * part / whole)


def actor_step(figures: Any) -> list[str]:
    step = figures["actor step"]
    whole = step["whole"]
    small = ("starting the emulator", "chunk: n-step returns, priorities", "the rest")
    parts = [step["waiting for the emulator"], step["inference"], step["window: frames, rewards, ages"]]
    return [n(whole / 1000, 1), *(percent(part, whole) for part in (*parts, sum(step[name] for name in small)))]


def replay_sample(figures: Any) -> list[str]:
    of = figures["replay sample"]
    parts = ("copying frames", "new priorities", "choosing slots in the tree", "the rest")
    return [n(of["whole"] / 1000, 1), *(percent(of[name], of["whole"]) for name in parts)]


def updates(figures: Any) -> list[str]:
    shares = []
    for preset in ("pong", "atari"):
        of = figures[f"update, {preset} preset"]
        convolutions = of["convolutions, backward"] + of["convolutions, forward"]
        parts = (convolutions, of["fully connected"], of["conversions and copies"], of["relu"], of["optimizer"])
        shares.append([percent(part, of["whole"]) for part in (*parts, of["the rest"])])
    pong_, atari = shares
    pairs = [(pong_[0], pong_[1], atari[0], atari[1]), (pong_[2], atari[2]), (pong_[3], atari[3])]
    return [figure for pair in pairs for figure in pair] + [pong_[4], pong_[5], atari[4], atari[5]]


def beside(figures: Any, rows: Mapping[str, int] | None = None) -> list[str]:
    """Rows of a table of two commits: before, after, the ratio, and its lowest and highest round."""
    found = []
    for name, digits in (rows or BESIDE).items():
        row = figures["figures"][name]
        found += [n(row[side], digits) for side in ("before", "after")]
        ends = [] if name == "replay: transitions a MB of memory" else ["lowest", "highest"]
        found += [n(row[key], 2) for key in ("ratio", *ends)]
    return found


def learner_workers(figures: Any) -> list[str]:
    rates = [of["samples_per_s"] for of in figures.values()]
    return [text for way in rates[0] for of in rates for text in (n(of[way]), n(of[way] / of["one worker"], 2))]


def shards(figures: Any) -> list[str]:
    """By what is done: the three cases, and two shards to each of the others; once more the last of memcpy."""
    rates, found = figures["transitions_per_s"], list[str]()
    for row in rates.values():
        found += [n(row["1 on a core"]), n(row["1"]), n(row["2"])]
        found += [n(row["two to 1 on a core"]["median"], 2), n(row["two to 1"]["median"], 2)]
    return [*found, n(rates["memcpy"]["two to 1"]["median"], 2)]


def load(figures: Any) -> list[str]:
    """Cores, by 1,024 slow actors, of weights and metrics, of both without relays, of the driver; of raylets, by 64;
    seconds between reports of the slow ones.
    """
    slow, direct = ({c["actors"]: c["cores"] for c in figures[name]}[1024] for name in ("slow", "slow direct"))
    parts = [slow["weights"], slow["metrics"], direct["weights"], direct["metrics"], slow["driver"]]
    reports = {c["actors"]: c["calls_per_s"]["metrics"] for c in figures["slow direct"]}[1024]
    return [*(n(cores, 3) for cores in parts), n(figures["bytes"][-1]["cores"]["raylets"], 2), n(1024 / reports, 1)]


def spoken(figures: Any) -> list[str]:
    """Errors of the network, a linear map and the mean; words and sentences of the ways, %; distances in Japanese."""
    errors = [figures["held-out texts"][who] for who in ("LSTM", "linear map", "mean")]
    scaled = {"F0, cents": (1, 0), "voicing": (100, 1), "phones, ms": (1, 1), "mel, dB": (1, 2)}
    found = [n(of[name] * scale, digits) for name, (scale, digits) in scaled.items() for of in errors]
    groups = [group for name, group in figures.items() if "held-out rec" in name or name == "20 new sentences"]
    for part in (part for group in groups for way in group.values() for part in way.values()):
        found.append(n(100 * part))
    return found + [n(value, 2) for value in figures.get("10 new sentences, ja", {}).values()]


def learner_beside(figures: Any) -> list[str]:
    return beside(figures, {"learner: pong": 1, "learner: atari": 2})


BESIDE = {
    "replay: sample": 0,
    "replay: sample and update": 0,
    "replay: insert": 0,
    "replay: transitions a MB of memory": 1,
    "actor: actor, one core": 0,
    "actor: actor, two groups": 0,
    "learner: pong": 1,
    "learner: atari": 2,
    "system: env steps/s": 0,
    "system: updates/s": 2,
}


# What happens when a process ends


def kills(figures: Any) -> list[str]:
    order = ("actor", "replay-0 of 1", "replay-1 of 2", "weights", "metrics", "learner", "evaluator", "emulator")
    return [n(median(figures[name]["recoveries_s"])) for name in (*order, "inference", "driver", "node")]


def chaos(figures: Any) -> list[str]:
    audit, growth = figures["audit"], figures["growth"]
    assert figures["faults"] == figures["recovered"] and audit["twice"] == 0
    return [
        n(figures["faults"]),
        n(figures["best_return"]),
        n(figures["updates"]),
        n(audit["steps"]),
        n(audit["missing"]),
        n(growth["memory_bytes"]["median"] / 1e9, 1),
        n(growth["gcs_bytes"]["median"] / 1e9, 2),
    ]


def chaos_times(rows: Any) -> list[str]:
    times = [float(row["recovered_s"]) for row in rows]
    learner_kills = [float(row["recovered_s"]) for row in rows if row["what"] == "kill LearnerNode"]
    cables = [float(row["recovered_s"]) for row in rows if row["what"] == "cable out 90 s"]
    return [n(median(times), 1), str(int(min(learner_kills))), n(max(learner_kills)), n(max(cables))]


def power_cuts(figures: Any) -> list[str]:
    with_, without = figures["with"], figures["without"]
    assert with_["score"] == without["score"] == 500.0 and with_["segments_different"] == 0
    return [
        n(with_["most_updates_lost"]),
        n(with_["most_frames_lost"]),
        n(with_["oldest_checkpoint_s"], 1),
        n(with_["segments_compared"]),
        n(without["most_updates_lost"]),
        n(without["oldest_checkpoint_s"], 1),
        n(figures["left alone"]["score"]),
    ]


def soak(figures: Any) -> list[str]:
    return [n(100 * figures["memory_bytes"]["share_an_hour"], 1)]


def soak_memory(rows: Any) -> list[str]:
    """GB without Ray's head, the least and most of the second hour's quarters by medians; the head's most MB in either
    hour.
    """
    samples = [{name: float(value) for name, value in row.items()} for row in rows]

    def of(begin: float, end: float) -> list[dict[str, float]]:
        return [sample for sample in samples if begin <= sample["time_s"] < end]

    quarters = [
        median([s["memory_bytes"] - s["gcs_bytes"] for s in of(900 * i, 900 * i + 900)]) / 1e9 for i in range(4, 8)
    ]
    heads = [max(s["gcs_bytes"] for s in of(begin, begin + 3600)) / 1e6 for begin in (0, 3600)]
    return [n(min(quarters), 2), n(max(quarters), 2), *(n(head) for head in heads)]


def head_memory(figures: Any) -> list[str]:
    thousands, held = figures["thousands of calls"], figures["head_mb"]["ours"]
    return [n(held[0]), n(thousands / len(held)), n(held[-1]), n(thousands)]


# The other trainers


def lstm_speed(figures: Any) -> list[str]:
    found = []
    speeds = figures["training, characters/s"]
    for name, beside_ in (
        ("bare torch loop", ""),
        ("apex-lstm, fused", "bare torch loop"),
        ("apex-lstm, written cells", "bare torch loop"),
        ("2 workers", "1 worker"),
        ("2 that share nothing", "1 worker"),
    ):
        for of in speeds.values():
            found += [n(of[name]), *([n(of[name] / of[beside_], 2)] if beside_ else [])]
    return found


def lstm_memory(figures: Any) -> list[str]:
    return [f"{figures['squared error'][name]:.{digits}f}" for name, digits in (("LSTM", 4), ("plain", 3))]


def lstm_text(figures: Any) -> list[str]:
    of = figures["held-out characters"]
    return [n(of["nats"], 3), n(of["bits"], 3), n(of["updates"])]


def forecasts(figures: Any) -> list[str]:
    order = ("co2", "el_nino", "us_economy", "sunspots")
    models = ("apex-lstm", "seasonal naive", "neuralforecast LSTM", "darts RNNModel")
    found = []
    for model in models:
        for name in order:
            of = figures[name]["mean MASE"]  # peers that were given logarithms too count by the better
            found.append(n(min(of[model], of.get(f"{model}, logarithms", of[model])), 2))
    return found


def coverage(figures: Any) -> list[str]:
    return [n(100 * figures[name]["coverage"]["80%"]) for name in ("co2", "el_nino", "us_economy", "sunspots")]


def wavenet_speed(figures: Any) -> list[str]:
    speeds = figures["generation, samples/s"]
    names = [f"{weights} weights, {streams}" for streams in ("1 stream", "32 streams") for weights in
             ("float32", "bfloat16", "int8")]  # fmt: skip
    base = speeds["vincentherrmann/pytorch-wavenet"]
    rows = [(n(speeds[name]), n(speeds[name] / base)) for name in names]
    other = speeds["r9y9/wavenet_vocoder"]
    return [figure for row in rows for figure in row] + [n(base), n(other), n(other / base, 1)]


def wavenet_first(figures: Any) -> list[str]:
    training = figures["training, samples/s"]
    ratio = training["apex-wavenet"] / training["vincentherrmann/pytorch-wavenet"]
    return [n(figures["first chunk of 320 samples, ms"]), n(ratio, 2)]


def minatar(figures: Any) -> list[str]:
    return [
        n(figures["evaluations"][-1]["mean"], 1),
        n(figures["training_s"] / 60),
        n(figures["frames"] / 1e6, 2),
    ]


def airstriker(figures: Any) -> list[str]:
    games = figures["greedy episodes"]
    return [n(games["mean return"]), n(games["episodes"]), n(games["std"]), n(figures["best weights, update"])]


def airstriker_beside(figures: Any) -> list[str]:
    return [n(figures["uniform"]["mean"]), n(figures["uniform"]["std"])]


def joint(figures: Any) -> list[str]:
    return [n(figures["greedy episodes"]["mean score"])]


def green_hill(figures: Any) -> list[str]:
    contest = figures["greedy episodes by the contest's rules"]
    return [n(figures["greedy episodes"]["mean score"]), n(contest["mean score"])]


def retro_speed(figures: Any) -> list[str]:
    found = []
    for of in figures.values():
        speeds = of["agent steps/s"]
        found += [
            n(speeds["our actor"]),
            n(speeds["bare RetroEnv"]),
            n(of["our actor's steps/s over bare RetroEnv's"], 2),
            n(of["the same by CPU time"], 2),
            n(speeds["bare core"]),
        ]
    return found


def startup(figures: Any) -> list[str]:
    kinds = ("first step", "first update", "the whole command")
    return [
        n(figures[kind][when], 2 if when == "ratio" else 1) for kind in kinds for when in ("before", "after", "ratio")
    ]


def actor_memory(figures: Any) -> list[str]:
    found = list[str]()
    for inference in ("local", "central"):
        before, after = (figures[inference][when]["private"] for when in ("before", "after"))
        found += [n(before), n(after), n(after / before, 2)]
    return [*found, *(n(figures[i][when]["share"]) for when in ("after", "before") for i in ("local", "central"))]


def installed(figures: Any) -> list[str]:
    both = figures["before"], figures["after"]
    sizes = [n(of[key]) for key in ("packages", "download_mb", "disk_mb") for of in both]
    timed = ("import apex_ray, s", "apex-ray --help, s", "apex-ray --version, s")
    return sizes + [n(of[key], 2) for key in timed for of in both]


def extras(figures: Any) -> list[str]:
    return [n(adds[key]) for adds in figures["extras"].values() for key in ("download_mb", "disk_mb")]


MEMORY_GOALS = {"cartpole_masked": 450.0, "tmaze": 3.9, "tmaze_100": 3.9, "repeat_previous": 0.9}


def memory_tasks(rows: Any) -> list[str]:
    """By game and memory: the seconds until each run had an evaluation of the goal; the best of those that had none."""
    found = list[str]()
    for game, goal in MEMORY_GOALS.items():
        for memory in ("none", "lstm", "wavenet"):
            runs: dict[str, list[Any]] = {}
            for row in rows:
                if (row["game"], row["setting"]) == (game, memory):
                    runs.setdefault(row["seed"], []).append(row)
            reached = {seed: [row for row in run if float(row["mean"]) >= goal] for seed, run in runs.items()}
            found += [n(s) for s in sorted(3600 * float(run[0]["hours"]) for run in reached.values() if run)]
            best = sorted(max(float(row["mean"]) for row in run) for seed, run in runs.items() if not reached[seed])
            found += [n(abs(value), 0 if goal > 100 else 2) for value in best]
    return found


def memory_speed(figures: Any) -> list[str]:
    return [n(rate) for rates in figures["transitions_per_s"].values() for rate in rates.values()]


def memory_lag(figures: Any) -> list[str]:
    lags = ("1", "10", "20", "50", "64", "100")
    return [f"{float(f'{of[lag]:.1e}'):.10f}".rstrip("0") for of in figures.values() for lag in lags]


def memory_states(figures: Any) -> list[str]:
    of = figures["discrepancy_by_step"].values()
    return [n(figures["updates"]), *(n(curve[step], 3) for curve in of for step in (0, 5, 10, 16, 30))]
