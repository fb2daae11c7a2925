"""WaveNet on one core: generation by weights' size and streams, the first chunk, and training, beside public code.

The peers are what `sh benchmarks/peers/install.sh` cloned; those that are missing are said so. All have 30 layers
(dilations 1 to 512, three times), 64 residual, 128 skip channels, 256 classes, and run in turns in one process.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import contextlib
import io
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from benchmarks.machine import ROOT, write
from benchmarks.table import rates, show
from wavenet.config import ModelConfig, TrainingConfig
from wavenet.crops import Crops
from wavenet.fast.weights import Kind
from wavenet.generate import Generator
from wavenet.learning import Learner
from wavenet.model import WaveNet

PEERS = ROOT / "benchmarks" / "peers"
VINCENT, R9Y9 = "vincentherrmann/pytorch-wavenet", "r9y9/wavenet_vocoder"
CHUNK = 320  # samples: 20 ms at 16 kHz
SEGMENT = 4_096  # of training
KINDS: tuple[Kind, ...] = ("float32", "bfloat16", "int8")
Contestant = Callable[[], int]


def generation(model: WaveNet) -> dict[str, float]:
    contestants: dict[str, Contestant] = {}
    for streams in (1, 32):
        for kind in KINDS:
            name = f"{kind} weights, {streams} stream{'s' if streams > 1 else ''}"
            contestants[name] = _generates(Generator(model, streams, kind))
    for name, build in ((VINCENT, _vincent_generates), (R9Y9, _r9y9_generates)):
        contestant = _peer(name, build)
        if contestant is not None:
            contestants[name] = contestant
    return rates(contestants)


def _generates(generator: Generator) -> Contestant:
    return lambda: generator.run(CHUNK).size


def first_chunk_ms(model: WaveNet) -> float:
    """From asking a compiled generator to its first 20 ms, median of ten."""
    generator = Generator(model, 1, "bfloat16")
    generator.run(1)
    taken = []
    for _ in range(10):
        started = time.perf_counter()
        generator.run(CHUNK)
        taken.append(1000 * (time.perf_counter() - started))
    return float(np.median(taken))


def training(model: WaveNet) -> dict[str, float]:
    """Predicted samples a second of whole updates, both on the same window."""
    context = model.config.receptive_field
    samples = torch.randint(256, (1, context + SEGMENT))
    crops = Crops(samples, torch.ones(1, SEGMENT, dtype=torch.bool), torch.zeros(1, dtype=torch.int64))
    learner = Learner(model, model, TrainingConfig(), 1, lambda v: torch.as_tensor(v, dtype=torch.float64))

    def ours() -> int:
        learner.update(crops)
        return SEGMENT

    contestants: dict[str, Contestant] = {"apex-wavenet": ours}
    contestant = _peer(VINCENT, lambda: _vincent_trains(samples))
    if contestant is not None:
        contestants[VINCENT] = contestant
    return rates(contestants, seconds=6.0)


def _peer(name: str, build: Callable[[], Contestant]) -> Contestant | None:
    folder = PEERS / name.split("/")[1]
    if not folder.is_dir():
        print(f"{name} is not there: sh benchmarks/peers/install.sh")
        return None
    sys.path.insert(0, str(folder))
    try:
        return build()
    except Exception as error:
        print(f"{name} does not run: {type(error).__name__}: {error}")
        return None


def _vincent(output_length: int) -> Any:
    import wavenet_model

    return wavenet_model.WaveNetModel(
        layers=10, blocks=3, dilation_channels=64, residual_channels=64, skip_channels=128, end_channels=128,
        classes=256, output_length=output_length, kernel_size=2, bias=True,
    )  # fmt: skip


def _vincent_generates() -> Contestant:
    import wavenet_modules

    # Written for a torch that assigned a column [64, 1] to [64]; today's refuses.
    enqueue = wavenet_modules.DilatedQueue.enqueue
    wavenet_modules.DilatedQueue.enqueue = lambda queue, column: enqueue(queue, column.reshape(-1))
    model = _vincent(1)

    def run() -> int:
        with contextlib.redirect_stdout(io.StringIO()), torch.inference_mode():
            model.generate_fast(100)
        return 100

    return run


def _vincent_trains(samples: torch.Tensor) -> Contestant:
    import wavenet_modules

    wavenet_modules.constant_pad_1d = _padded  # a kind of autograd function that today's torch has no more
    model = _vincent(SEGMENT)
    optimizer = torch.optim.Adam(model.parameters())
    one_hot = torch.nn.functional.one_hot(samples[:, :-1], 256).transpose(1, 2).float()
    targets = samples[0, -SEGMENT:]

    def run() -> int:
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(model(one_hot), targets).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        return SEGMENT

    return run


def _padded(x: torch.Tensor, size: int, dimension: int = 0, value: float = 0, pad_start: bool = False) -> torch.Tensor:
    missing = size - x.size(dimension)
    widths = [0, 0] * (x.ndim - 1 - dimension) + ([missing, 0] if pad_start else [0, missing])
    return torch.nn.functional.pad(x, widths, value=value)


def _r9y9_generates() -> Contestant:
    from wavenet_vocoder import WaveNet as Vocoder

    model = Vocoder(
        out_channels=256, layers=30, stacks=3, residual_channels=64, gate_channels=128, skip_out_channels=128,
        kernel_size=2, dropout=0, scalar_input=False,
    ).eval()  # fmt: skip
    model.make_generation_fast_()
    first = torch.zeros(1, 256, 1)
    first[0, 128] = 1

    def run() -> int:
        with torch.inference_mode():
            model.incremental_forward(first, T=100)
        return 100

    return run


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = WaveNet(ModelConfig()).eval()
    found = generation(model)
    show(
        "WaveNet generation, one core",
        "samples/s",
        found,
        next((p for p in (VINCENT, R9Y9) if p in found), "float32 weights, 1 stream"),
    )
    chunk = first_chunk_ms(model)
    print(f"first 20 ms of sound after {chunk:.1f} ms")
    trained = training(WaveNet(ModelConfig()))
    show("WaveNet training, one core", "samples/s", trained, VINCENT if VINCENT in trained else "apex-wavenet")
    figures = {"generation, samples/s": found, "first chunk of 320 samples, ms": chunk, "training, samples/s": trained}
    write(ROOT / "results" / "bench" / "wavenet.json", figures)


if __name__ == "__main__":
    main()
