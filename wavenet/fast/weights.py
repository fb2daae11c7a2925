"""A network's weights as the kernels read them: padded to whole vectors, column by column, in 4, 2 or 1 bytes."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from wavenet.fast.matvec import LANES
from wavenet.model import WaveNet

Kind = Literal["float32", "bfloat16", "int8"]
Array = npt.NDArray[Any]


class Matrix(NamedTuple):
    """W x + b for one or several layers [.., outputs, inputs]; the sums are multiplied by `scale` first."""

    weights: Array  # [.., inputs, outputs], bfloat16 [.., inputs / 2, outputs, 2] as uint16
    scale: Array  # [.., outputs]
    bias: Array  # [.., outputs]


class Weights(NamedTuple):
    """All of a network; sizes are padded ones, multiples of 16."""

    input: Array  # [K0, classes or 1, R]
    input_bias: Array  # [R]
    dilations: Array  # [L]
    gates: Matrix  # [L, 2R, K R]: filter, gate; inputs: the newest tap first
    out: Matrix  # [L, R + S, R]
    head: Matrix  # [E, S]
    last: Matrix  # [outputs, E], of `last_kind`


def last_kind(kind: Kind) -> Kind:
    """How the last matrix is stored: a thirtieth of all weights, whose rounding to int8 cost more than all others'."""
    return "bfloat16" if kind == "int8" else kind


def padded(size: int) -> int:
    return -(-size // LANES) * LANES


def pack(model: WaveNet, kind: Kind) -> Weights:
    """The network's weights, rounded to `kind`; biases and sums stay in float32."""
    c = model.config
    r, s, e = padded(c.residual), padded(c.skip), padded(c.head)
    layers = len(c.dilations)
    gates = np.zeros((layers, 2, r, c.kernel, r), np.float32)
    gate_bias = np.zeros((layers, 2, r), np.float32)
    out = np.zeros((layers, r + s, r), np.float32)
    out_bias = np.zeros((layers, r + s), np.float32)
    n = c.residual
    for i, block in enumerate(model.blocks):
        conv, conv_bias, result, bias = map(
            _array, (block.conv.linear.weight, block.conv.linear.bias, block.out.weight, block.out.bias)
        )
        gates[i, :, :n, :, :n] = conv.reshape(2, n, c.kernel, n)
        gate_bias[i, :, :n] = conv_bias.reshape(2, n)
        out[i, :n, :n], out[i, r : r + c.skip, :n] = result[:n], result[n:]
        out_bias[i, :n], out_bias[i, r : r + c.skip] = bias[:n], bias[n:]
    head, last = model.head_layers
    return Weights(
        input=_pad(model.input.weight, (*model.input.weight.shape[:2], r)),
        input_bias=_pad(model.input.bias, (r,)),
        dilations=np.array(c.dilations, np.int64),
        gates=_matrix(gates.reshape(layers, 2 * r, c.kernel * r), gate_bias.reshape(layers, 2 * r), kind),
        out=_matrix(out, out_bias, kind),
        head=_matrix(_pad(head.weight, (e, s)), _pad(head.bias, (e,)), kind),
        last=_matrix(_pad(last.weight, (padded(c.outputs), e)), _pad(last.bias, (padded(c.outputs),)), last_kind(kind)),
    )


def _array(parameter: Tensor) -> Array:
    return parameter.detach().float().numpy()


def _pad(parameter: Tensor, shape: tuple[int, ...]) -> Array:
    return np.pad(_array(parameter), [(0, size - have) for size, have in zip(shape, parameter.shape, strict=True)])


def _matrix(weights: Array, bias: Array, kind: Kind) -> Matrix:
    scale = np.ones(weights.shape[:-1], np.float32)
    columns = np.swapaxes(weights, -1, -2)
    if kind == "int8":
        # A row's largest weight becomes 127.
        scale = np.maximum(np.abs(weights).max(-1), 1e-30).astype(np.float32) / 127
        packed = np.round(columns / scale[..., None, :]).astype(np.int8)
    elif kind == "bfloat16":
        halves = torch.from_numpy(np.ascontiguousarray(columns)).bfloat16().view(torch.int16).numpy().view(np.uint16)
        *some, inputs, outputs = halves.shape
        packed = np.moveaxis(halves.reshape(*some, inputs // 2, 2, outputs), -2, -1)
    else:
        packed = columns
    return Matrix(np.ascontiguousarray(packed), scale, np.ascontiguousarray(bias, np.float32))
