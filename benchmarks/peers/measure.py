"""Medians of interleaved rounds for contestants that may not be there: benchmarks/table.py for the peers."""

import json
import sys
import time
from statistics import median


def measure(builders, seconds=2.0, rounds=3):
    """Build each contestant, time those that could be built in turns, and print one line of JSON.

    builders: name -> function that returns the work (which returns how much it did), and may raise.
    """
    works, answer = {}, {}
    for name, build in builders.items():
        try:
            works[name] = build()
            works[name]()
        except Exception as error:  # whatever a peer raises is its result
            works.pop(name, None)
            answer[name] = f"did not run: {type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"
            print(answer[name], file=sys.stderr)
    seen = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            done, started = 0, time.perf_counter()
            while time.perf_counter() - started < seconds:
                done += work()
            seen[name].append(done / (time.perf_counter() - started))
    answer.update({name: median(values) for name, values in seen.items()})
    print(json.dumps(answer))
