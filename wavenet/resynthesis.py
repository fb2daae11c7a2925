"""A recording said again by a network: its speaker, its local condition, new sound."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wavenet.corpus import Recording
from wavenet.fast.weights import Kind
from wavenet.features import Features
from wavenet.generate import Generator, stream, upsampled
from wavenet.model import WaveNet

CHUNK = 4_096  # samples at a time: what a condition adds to every block's gates takes ten kilobytes a sample


def conditions(
    model: WaveNet, made: Features | None, recording: Recording, samples: int
) -> tuple[Tensor | None, Callable[[int, int], Tensor] | None]:
    """(speakers, local) of a recording's first `samples`, as `Generator` and `stream` take them."""
    speakers = torch.tensor([recording.speaker]) if model.config.speakers else None
    if made is None:
        return speakers, None
    return speakers, partial(upsampled, model, made(recording, 0, -(-samples // model.config.frame_samples)))


def said_again(
    model: WaveNet,
    made: Features | None,
    recording: Recording,
    samples: int,
    kind: Kind = "bfloat16",
    seed: int = 0,
    temperature: float = 1.0,
) -> npt.NDArray[np.float32]:
    """Sound [samples] in [-1, 1] of a network on this machine's CPU."""
    speakers, local = conditions(model, made, recording, samples)
    generator = Generator(model, 1, kind, seed, temperature, speakers=speakers)
    return np.concatenate(list(stream(generator, samples, CHUNK, local)))[:, 0]
