"""Seconds from the command to the first step and the first update, beside an earlier commit, in turns.

python -m benchmarks.startup COMMIT [--rounds 5]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.table import Table

from benchmarks.earlier import tree_of
from benchmarks.machine import ROOT, write

ROUNDS = 5
SETTINGS = ["cartpole", "stop.after_updates=1", "report.every_s=1", "evaluation.final=false"]
KINDS = ("first step", "first update", "the whole command")
# In a file of its own, so that either tree can import it.
AGENT = '''
import os, time
from apex_ray.agent.q_learning import QLearning

class Marked(QLearning):
    """Writes down when it was first asked for actions, and for a loss."""

    def mark(self, name):
        path = os.path.join(os.environ["START_MARKS"], name)
        if not os.path.exists(path):
            with open(path, "w") as file:
                file.write(repr(time.time()))

    def infer(self, *given):
        self.mark("first step")
        return super().infer(*given)

    def loss(self, *given):
        self.mark("first update")
        return super().loss(*given)
'''


def measured(tree: Path) -> dict[str, float]:
    """Seconds of one run of that source tree, by kind."""
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "marked_agent.py").write_text(AGENT)
        environment = {**os.environ, "PYTHONPATH": f"{tree}:{place}", "START_MARKS": folder}
        command = [sys.executable, "-m", "apex_ray", "train", *SETTINGS, "agent=marked_agent:Marked"]
        began = time.time()
        subprocess.run(
            [*command, f"runs_dir={place / 'runs'}"], cwd=tree, env=environment, check=True, stdout=subprocess.DEVNULL
        )
        marks = {kind: float((place / kind).read_text()) for kind in KINDS[:2]} | {KINDS[2]: time.time()}
    return {kind: at - began for kind, at in marks.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    words = parser.parse_args()
    with tree_of(words.commit) as old:
        pairs = [(measured(old), measured(ROOT)) for _ in range(words.rounds)]
    table, figures = Table("seconds to", words.commit, "now", "ratio"), dict[str, dict[str, float]]()
    for kind in KINDS:
        before, after = (statistics.median(pair[i][kind] for pair in pairs) for i in (0, 1))
        ratio = statistics.median(pair[1][kind] / pair[0][kind] for pair in pairs)
        figures[kind] = {"before": before, "after": after, "ratio": ratio}
        table.add_row(kind, f"{before:.1f}", f"{after:.1f}", f"{ratio:.2f}")
    Console().print(table)
    write(ROOT / "results" / "bench" / "startup.json", {"beside": words.commit, "rounds": words.rounds, **figures})


if __name__ == "__main__":
    main()
