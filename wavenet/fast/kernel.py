"""The loop over samples, compiled for a model's sizes: ring buffers instead of recomputation (Paine et al. 2016)."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np

from wavenet.config import ModelConfig
from wavenet.fast.draw import draw_class, draw_logistic
from wavenet.fast.matvec import matrix_product
from wavenet.fast.weights import Kind, last_kind, padded


@numba.njit(fastmath=True, inline="always")
def _tanh_ratio(x):  # type: ignore[no-untyped-def]
    """Hyperbolic tangent of x as numerator and denominator, two polynomials; 1e-6 off at most."""
    x = min(max(x, np.float32(-7.90531110763549805)), np.float32(7.90531110763549805))
    u = x * x
    p = np.float32(-2.76076847742355e-16)
    p = p * u + np.float32(2.00018790482477e-13)
    p = p * u + np.float32(-8.60467152213735e-11)
    p = p * u + np.float32(5.12229709037114e-08)
    p = p * u + np.float32(1.48572235717979e-05)
    p = p * u + np.float32(6.37261928875436e-04)
    p = p * u + np.float32(4.89352455891786e-03)
    q = np.float32(1.19825839466702e-06)
    q = q * u + np.float32(1.18534705686654e-04)
    q = q * u + np.float32(2.26843463243900e-03)
    q = q * u + np.float32(4.89352518554385e-03)
    return x * p, q


# A loop of it becomes vectors only where a division by zero is no exception: error_model="numpy".
@numba.njit(fastmath=True, inline="always")
def gated(filtered, gate):  # type: ignore[no-untyped-def]
    """tanh(filtered) * sigmoid(gate), with one division: sigmoid(g) = (1 + tanh(g / 2)) / 2."""
    half = np.float32(0.5)
    p, q = _tanh_ratio(filtered)
    r, s = _tanh_ratio(half * gate)
    return p * (r + s) * half / (q * s)


def build(config: ModelConfig, kind: Kind, streams: int) -> Callable[..., Any]:
    """A compiled generator for that many streams (1, or a multiple of 4); see `generate` inside."""
    sizes = padded(config.residual), padded(config.skip), padded(config.head)
    taps = config.kernel, config.input_kernel
    return _built(sizes, taps, config.outputs, config.output == "softmax", config.mixtures, kind, streams)


@cache  # compiling takes seconds, and depends on sizes only
def _built(
    sizes: tuple[int, int, int],
    all_taps: tuple[int, int],
    outputs: int,
    classes: bool,
    mixtures: int,
    kind: Kind,
    streams: int,
) -> Callable[..., Any]:
    (r, s, e), q, (taps, input_taps) = sizes, padded(outputs), all_taps
    tile = 1 if streams == 1 else 4
    to_gates, to_out = matrix_product(kind, 2 * r, tile), matrix_product(kind, r + s, tile)
    to_head, to_last = matrix_product(kind, e, tile), matrix_product(last_kind(kind), q, tile)
    width = 1 if kind == "int8" else 2 if kind == "bfloat16" else 4  # bytes of a weight

    @numba.njit(fastmath=True, error_model="numpy")
    def generate(  # type: ignore[no-untyped-def]
        weights, speaker, local, given, uniforms, temperature, top_k, clock, past, rings, starts, emitted, predicted
    ):
        """Continue all streams by heard.shape[0] samples.

        Conditions: `speaker` [L, B, 2R], `local` [N, B, L, 2R] or of no sample. The first given.shape[0] samples are
        `given` [M, B], not drawn. State, changed in place: `past` [K0, B] earlier samples, the newest first; `rings`
        [slots, B, R] with `starts` [L]. Out: `emitted` [N, B]; `predicted` [N, B, outputs] or of no sample.
        """
        layers = len(weights.dilations)
        x, z, h = (
            np.zeros((streams, r), np.float32),
            np.empty((streams, 2 * r), np.float32),
            np.empty((streams, r), np.float32),
        )
        window, o = np.empty((streams, taps * r), np.float32), np.empty((streams, r + s), np.float32)
        skip, y = np.empty((streams, s), np.float32), np.empty((streams, e), np.float32)
        expected, scratch = np.empty((streams, q), np.float32), np.empty(q, np.float32)
        gates, out = weights.gates.weights.ctypes.data, weights.out.weights.ctypes.data
        head, last = weights.head.weights.ctypes.data, weights.last.weights.ctypes.data
        coldness = np.float32(1) / temperature
        for n in range(emitted.shape[0]):
            for b in range(streams):
                for i in range(r):
                    x[b, i] = weights.input_bias[i]
                for k in range(input_taps):
                    if classes:
                        code = int(past[k, b])
                        for i in range(r):
                            x[b, i] += weights.input[k, code, i]
                    else:
                        for i in range(r):
                            x[b, i] += weights.input[k, 0, i] * past[k, b]
                for i in range(s):
                    skip[b, i] = np.float32(0)
            for layer in range(layers):
                dilation = weights.dilations[layer]
                length = dilation * (taps - 1)
                for b in range(streams):
                    for i in range(r):
                        window[b, i] = x[b, i]
                    for k in range(1, taps):
                        slot = starts[layer] + (clock + n - k * dilation) % length
                        for i in range(r):
                            window[b, k * r + i] = rings[slot, b, i]
                    slot = starts[layer] + (clock + n) % length
                    for i in range(r):
                        rings[slot, b, i] = x[b, i]
                to_gates(
                    gates + layer * 2 * r * taps * r * width,
                    window.ctypes.data,
                    taps * r,
                    z.ctypes.data,
                    2 * r,
                    taps * r,
                    streams,
                )
                scale, bias = weights.gates.scale[layer], weights.gates.bias[layer]
                for b in range(streams):
                    for i in range(2 * r):
                        z[b, i] = z[b, i] * scale[i] + bias[i] + speaker[layer, b, i]
                    if len(local):
                        for i in range(2 * r):
                            z[b, i] += local[n, b, layer, i]
                    for i in range(r):
                        h[b, i] = gated(z[b, i], z[b, r + i])
                to_out(out + layer * (r + s) * r * width, h.ctypes.data, r, o.ctypes.data, r + s, r, streams)
                scale, bias = weights.out.scale[layer], weights.out.bias[layer]
                for b in range(streams):
                    for i in range(r):
                        x[b, i] += o[b, i] * scale[i] + bias[i]
                    for i in range(s):
                        skip[b, i] += o[b, r + i] * scale[r + i] + bias[r + i]
            for b in range(streams):
                for i in range(s):
                    skip[b, i] = max(skip[b, i], np.float32(0))
            to_head(head, skip.ctypes.data, s, y.ctypes.data, e, s, streams)
            for b in range(streams):
                for i in range(e):
                    y[b, i] = max(y[b, i] * weights.head.scale[i] + weights.head.bias[i], np.float32(0))
            to_last(last, y.ctypes.data, e, expected.ctypes.data, q, e, streams)
            for b in range(streams):
                for i in range(q):
                    expected[b, i] = expected[b, i] * weights.last.scale[i] + weights.last.bias[i]
                if len(predicted):
                    for i in range(outputs):
                        predicted[n, b, i] = expected[b, i]
                if n < len(given):
                    sample = given[n, b]
                elif classes:
                    sample = np.float32(draw_class(expected[b], outputs, uniforms[n, b, 0], coldness, top_k, scratch))
                else:
                    sample = draw_logistic(
                        expected[b], mixtures, uniforms[n, b, 0], uniforms[n, b, 1], temperature, top_k, scratch
                    )
                emitted[n, b] = sample
                for k in range(input_taps - 1, 0, -1):
                    past[k, b] = past[k - 1, b]
                past[0, b] = sample

    return generate
