"""A recording said again by a network: its speaker, its local condition, new sound."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wavenet.corpus import Recording
from wavenet.fast.weights import Kind
from wavenet.features import Features
from wavenet.generate import Generator, sound, upsampled
from wavenet.model import WaveNet


def conditions(
    model: WaveNet, made: Features | None, recording: Recording, samples: int
) -> tuple[Tensor | None, Tensor | None]:
    """(speakers, local) of a recording's first `samples`, as `Generator` takes them."""
    speakers = torch.tensor([recording.speaker]) if model.config.speakers else None
    if made is None:
        return speakers, None
    frames = made(recording, 0, -(-samples // model.config.frame_samples))
    return speakers, upsampled(model, frames, 0, samples)


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
    return sound(generator.run(samples, local), model.config.output)[:, 0]
