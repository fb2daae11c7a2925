"""The state of a generator of random numbers as bytes, so that it can be saved beside arrays."""

from __future__ import annotations

import json

import numpy as np

from apex_ray.types import AnyArray, ByteArray

STATE_BYTES = 256  # padded: the numbers in it are of any length


def state_of(rng: np.random.Generator) -> ByteArray:
    """uint8 [STATE_BYTES], JSON."""
    return np.frombuffer(json.dumps(rng.bit_generator.state).encode().ljust(STATE_BYTES), np.uint8)


def restore(rng: np.random.Generator, state: AnyArray) -> None:
    """Go on from `state_of`. Raises ValueError where it is none."""
    rng.bit_generator.state = json.loads(state.tobytes())
