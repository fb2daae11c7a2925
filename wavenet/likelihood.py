"""How many bits a sample costs under what the network said of it: softmax over classes, or a mixture of logistics."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

LEVELS = 2**16  # of 16-bit sound
MIN_LOG_SCALE = -14.0  # of a logistic, in units where the range is 2: narrower than a quarter of a 16-bit step


def softmax_bits(logits: Tensor, codes: Tensor) -> Tensor:
    """Bits [B, T] of codes [B, T] (int64) under logits [B, T, 256]."""
    return functional.cross_entropy(logits.transpose(1, 2), codes, reduction="none") / math.log(2)


def logistics_bits(expected: Tensor, samples: Tensor, levels: int = LEVELS) -> Tensor:
    """Bits [B, T] of samples [B, T] in [-1, 1) under a mixture [B, T, 3M] of discretised logistics.

    Salimans et al. 2017 (PixelCNN++), section 2.1: each of `levels` values, from -1 in steps of 2 / levels as 16 bits
    have them, has the mass between the middles of the steps around it; the first and the last have all that is beyond.
    The numbers are the mixture's logits, the means and
    the logarithms of the scales.
    """
    logits, means, log_scales = expected.float().chunk(3, dim=-1)
    log_scales = log_scales.clamp(min=MIN_LOG_SCALE)
    half = 1.0 / levels  # half of a step
    x = samples.float()[..., None]
    inverse = torch.exp(-log_scales)
    above, below = (x - means + half) * inverse, (x - means - half) * inverse
    # log(sigmoid(above) - sigmoid(below)), without the difference of two numbers that are nearly equal
    middle = functional.logsigmoid(above) + functional.logsigmoid(-below) + torch.log(-torch.expm1(below - above))
    log_mass = torch.where(x < -1 + half, functional.logsigmoid(above), middle)
    log_mass = torch.where(x > 1 - 3 * half, functional.logsigmoid(-below), log_mass)
    total: Tensor = torch.logsumexp(functional.log_softmax(logits, dim=-1) + log_mass, dim=-1)
    return -total / math.log(2)
