"""Each part and the whole system beside an earlier commit, in turns: python -m benchmarks.beside_commit COMMIT

Every figure is measured in processes of their own, one of the earlier commit and one of this one after the other,
ROUNDS times; a ratio is the median of the rounds' ratios, so that a machine that gets slower or faster counts little.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from benchmarks.earlier import tree_of
from benchmarks.machine import ROOT, write

ROUNDS = 3
# Expressions over a tree's own benchmarks, each a mapping of names to rates. `replay` is by this tree's for both, since
# those of some commits read an attribute that was gone.
PARTS = {
    "replay": "(lambda rates, size: {**rates, 'transitions a MB of memory': 1e6 / size})"
    f"(*__import__('runpy').run_path({str(ROOT / 'benchmarks' / 'replay_speed.py')!r})['in_process']())",
    "remote replay": "{'batches a second into the learner': "
    "__import__('benchmarks.replay_speed', fromlist=['x']).into_the_learner(1)}",
    "actor": "(lambda b, t: t.rates({'actor, one core': b.actor_loop(1), 'actor, two groups': b.actor_loop(2)}))"
    "(__import__('benchmarks.actor_speed', fromlist=['x']), __import__('benchmarks.table', fromlist=['x']))",
    "learner": "{p: __import__('benchmarks.learner_speed', fromlist=['x']).measure(p, [])[0] "
    "for p in ('pong', 'atari')}",
    "system": "(lambda b: {k: v for k, v in b.apex_ray_system(b.SETTINGS, 50).items() if k.endswith('/s')})"
    "(__import__('benchmarks.system_speed', fromlist=['x']))",
}


def measured(tree: Path, expression: str) -> dict[str, float]:
    """The expression's value in a process of that source tree."""
    code = f"import json, sys; sys.path.insert(0, {str(tree)!r}); print(json.dumps({expression}))"
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run([sys.executable, "-c", code], cwd=tree, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare(old: Path, names: list[str], rounds: int) -> dict[str, dict[str, float]]:
    """By figure: medians of both and of their ratio, the new one to the old one."""
    table: dict[str, dict[str, float]] = {}
    for part in names:
        pairs = [(measured(old, PARTS[part]), measured(ROOT, PARTS[part])) for _ in range(rounds)]
        for name in pairs[0][0]:
            before, after = ([pair[i][name] for pair in pairs] for i in (0, 1))
            ratios = [b / a for a, b in zip(before, after, strict=True)]
            table[f"{part}: {name}"] = {
                "before": statistics.median(before),
                "after": statistics.median(after),
                "ratio": statistics.median(ratios),
                "lowest": min(ratios),
                "highest": max(ratios),
            }
            print(f"{part}: {name:40} {table[f'{part}: {name}']}", flush=True)
    return table


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("commit")
    parser.add_argument("--parts", nargs="*", default=list(PARTS), choices=list(PARTS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    arguments = parser.parse_args()
    with tree_of(arguments.commit) as old:
        table = compare(old, arguments.parts, arguments.rounds)
    write(
        ROOT / "results" / "bench" / f"beside_{arguments.commit}.json",
        {"commit before": arguments.commit, "figures": table},
    )


if __name__ == "__main__":
    main()
