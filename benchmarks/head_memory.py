"""Memory of Ray's head by calls made to an actor: as Ray is by itself, and as a run of its own starts it.

    python -m benchmarks.head_memory [--thousands 600]

Two hours of Pong are some 500,000 calls. A head that remembers each of them grows for as long as a run lasts.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time

import psutil
import ray

from apex_ray.nodes.flow import remote
from benchmarks.machine import ROOT, write
from cluster.connect import Embedded, connected

LOOKS, AT_ONCE, SETTLED_S = 12, 1_000, 3.0


class Called:
    def call(self) -> None:
        """Nothing: the head hears of it all the same."""


def heads(thousands: int) -> list[float]:
    """MB of the head of this process's Ray after each of LOOKS equal parts of the calls."""
    called = remote(num_cpus=0)(Called).remote()
    (head,) = [p for p in psutil.Process().children(recursive=True) if p.name() == "gcs_server"]
    found = []
    for _ in range(LOOKS):
        for _ in range(1000 * thousands // LOOKS // AT_ONCE):
            ray.get([called.call.remote() for _ in range(AT_ONCE)])
        time.sleep(SETTLED_S)
        found.append(round(head.memory_info().rss / 1e6, 1))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--thousands", type=int, default=600)
    parser.add_argument("--one", choices=["ours", "plain"], help="in a process of its own")
    words = parser.parse_args()
    if words.one == "plain":
        ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False)
        print(json.dumps(heads(words.thousands)))
    elif words.one == "ours":
        with connected(None, Embedded(2, 2**28)):
            print(json.dumps(heads(words.thousands)))
    else:
        command = [sys.executable, "-m", "benchmarks.head_memory", "--thousands", str(words.thousands), "--one"]
        started = {one: subprocess.Popen([*command, one], cwd=ROOT, stdout=subprocess.PIPE, text=True)
                   for one in ("plain", "ours")}  # fmt: skip
        found = {one: json.loads(process.communicate()[0].splitlines()[-1]) for one, process in started.items()}
        print(found)
        write(ROOT / "results" / "soak" / "head.json", {"thousands of calls": words.thousands, "head_mb": found})


if __name__ == "__main__":
    main()
