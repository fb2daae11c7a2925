"""Frames of Pong through lz4 and zstd, both ways on one core: on which networks would smaller chunks arrive sooner?

    python -m benchmarks.frame_compression     (needs `pip install lz4 zstandard`)

The frames of real chunks, by streams as replay stores them, of games played at random. A chunk that is made smaller,
sent and made large again, one after the other, arrives sooner where the network gives less than the break-even.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from statistics import median
from time import process_time

import lz4.frame
import numpy as np
import zstandard
from rich.console import Console
from rich.table import Table

from apex_ray.config.load import load
from apex_ray.envs.make import make_envs
from apex_ray.types import FRAMES
from benchmarks.machine import ROOT, write

ENVS, SKIPPED_STEPS, ROUNDS, SECONDS = 32, 400, 3, 2.0
Way = Callable[[bytes], bytes]


def streams() -> list[bytes]:
    """The frames of a chunk of each of 32 games, with those around it that its samples need."""
    config = load("pong").config
    steps = config.actors.chunk_transitions + config.env.frame_stack - 1 + config.td.n_step
    envs, rng = make_envs(config.env, ENVS), np.random.default_rng(0)
    envs.reset(0)
    seen = []
    for step in range(SKIPPED_STEPS + steps):
        envs.send(rng.integers(envs.spec.num_actions, size=ENVS))
        observations = envs.recv().observations[FRAMES]
        if step >= SKIPPED_STEPS:
            seen.append(observations[:, -1].copy())
    envs.close()
    return [stream.tobytes() for stream in np.stack(seen, axis=1)]


def ways() -> dict[str, tuple[Way, Way]]:
    """By name, how bytes are made smaller and how they are had again."""
    found: dict[str, tuple[Way, Way]] = {"lz4": (lz4.frame.compress, lz4.frame.decompress)}
    for level in (-5, 1, 3):
        found[f"zstd {level}"] = (
            zstandard.ZstdCompressor(level=level).compress,
            zstandard.ZstdDecompressor().decompress,
        )
    return found


def bytes_per_s(way: Way, given: list[bytes], size: int) -> float:
    """Of `size` raw bytes in all that `given` stand for, a second of a core's time: the median of several rounds."""
    rates = []
    for _ in range(ROUNDS):
        done, started = 0, process_time()
        while process_time() - started < SECONDS:
            for one in given:
                way(one)
            done += size
        rates.append(done / (process_time() - started))
    return median(rates)


def break_even(ratio: float, there: float, back: float) -> float:
    """Bytes/s of a network on which raw and smaller bytes take as long: 1/B = 1/there + 1/(ratio B) + 1/back."""
    return (1 - 1 / ratio) / (1 / there + 1 / back)


def main() -> None:
    raw = streams()
    size, figures = sum(map(len, raw)), {}
    table = Table("", "ratio", "MB/s there", "MB/s back", "pays below, Gbit/s", title="frames of Pong, one core")
    for name, (there, back) in ways().items():
        small = [there(one) for one in raw]
        assert [back(one) for one in small] == raw
        ratio = size / sum(map(len, small))
        rates = bytes_per_s(there, raw, size), bytes_per_s(back, small, size)
        below = break_even(ratio, *rates)
        figures[name] = {
            "ratio": ratio, "there_bytes_per_s": rates[0], "back_bytes_per_s": rates[1], "pays_below_bytes_per_s": below
        }  # fmt: skip
        table.add_row(name, f"{ratio:.1f}", *(f"{rate / 1e6:,.0f}" for rate in rates), f"{8 * below / 1e9:.2f}")
    Console().print(table)
    result = {"chunk_bytes": size, "by": figures, "lz4": lz4.__version__, "zstandard": zstandard.__version__}
    print(json.dumps(result))
    write(ROOT / "results" / "bench" / "frame_compression.json", result)


if __name__ == "__main__":
    main()
