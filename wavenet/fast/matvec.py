"""The inner loop of generation: a small matrix times one vector, or a few, with weights of 4, 2 or 1 bytes.

All of a product's outputs (or a tile of them) stay in vector registers while the weights stream by once, column by
column, so that a weight is loaded once for all streams of a tile and no sum ever goes through memory. numba's own loops
can't be made to keep the sums in registers, or to widen packed weights on the way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

LANES = 16
_i64, _i32, _i8, _f32 = ir.IntType(64), ir.IntType(32), ir.IntType(8), ir.FloatType()
_vf, _vi = ir.VectorType(_f32, LANES), ir.VectorType(_i32, LANES)
STORED = {"float32": _f32, "bfloat16": _i32, "int8": _i8}  # bfloat16: two inputs' weights of an output in one word
MOST_SUMS = {1: 16, 4: 4}  # streams -> vectors of outputs that are summed at once


def product(kind: str, blocks: int, streams: int) -> Any:
    """An intrinsic (weights, row, x, x_step, y, y_step, inputs): y[s, :] = sum over j of weights[j, :] x[s, j].

    For `streams` rows of x and y and 16 * `blocks` outputs. Addresses and, in elements, the steps from one column of
    weights (for bfloat16: pair of columns) and from one stream to the next.
    """

    @intrinsic
    def call(_context, weights, row, x, x_step, y, y_step, inputs):  # type: ignore[no-untyped-def]
        def generate(_, builder, __, arguments):  # type: ignore[no-untyped-def]
            _emit(builder, kind, blocks, streams, arguments)

        return types.void(*[types.int64] * 7), generate

    return call


def _emit(b: ir.IRBuilder, kind: str, blocks: int, streams: int, arguments: Any) -> None:
    w, row, x, x_step, y, y_step, inputs = arguments
    name = f"llvm.fma.v{LANES}f32"  # llvmlite itself declares it for numbers only, not for vectors
    fma = b.module.globals.get(name) or ir.Function(b.module, ir.FunctionType(_vf, [_vf, _vf, _vf]), name)
    stored = STORED[kind]
    w = b.inttoptr(w, stored.as_pointer())
    xs = [b.gep(b.inttoptr(x, _f32.as_pointer()), [b.mul(x_step, _i64(s))]) for s in range(streams)]
    ys = [b.gep(b.inttoptr(y, _f32.as_pointer()), [b.mul(y_step, _i64(s))]) for s in range(streams)]
    before, loop, after = b.block, b.append_basic_block("columns"), b.append_basic_block("done")
    b.branch(loop)
    b.position_at_end(loop)
    j = b.phi(_i64)
    j.add_incoming(_i64(0), before)
    sums = [[b.phi(_vf) for _ in range(blocks)] for _ in range(streams)]
    for total in (total for stream in sums for total in stream):
        total.add_incoming(ir.Constant(_vf, [0.0] * LANES), before)
    columns = 2 if kind == "bfloat16" else 1
    at = b.mul(b.udiv(j, _i64(columns)), row)
    inputs_now = [[_splat(b, b.load(b.gep(p, [b.add(j, _i64(c))]))) for c in range(columns)] for p in xs]
    new: list[list[Any]] = [list(stream) for stream in sums]
    for k in range(blocks):
        address = b.bitcast(b.gep(w, [b.add(at, _i64(LANES * k))]), ir.VectorType(stored, LANES).as_pointer())
        for c, weight in enumerate(_widened(b, kind, b.load(address, align=1))):
            for s in range(streams):
                new[s][k] = b.call(fma, [weight, inputs_now[s][c], new[s][k]])
    following = b.add(j, _i64(columns))
    j.add_incoming(following, loop)
    for stream, news in zip(sums, new, strict=True):
        for total, value in zip(stream, news, strict=True):
            total.add_incoming(value, loop)
    b.cbranch(b.icmp_signed("<", following, inputs), loop, after)
    b.position_at_end(after)
    for address, news in zip(ys, new, strict=True):
        for k, value in enumerate(news):
            b.store(value, b.bitcast(b.gep(address, [_i64(LANES * k)]), _vf.as_pointer()), align=4)


def _splat(b: ir.IRBuilder, value: Any) -> Any:
    one = b.insert_element(ir.Constant(_vf, ir.Undefined), value, _i32(0))
    return b.shuffle_vector(one, ir.Constant(_vf, ir.Undefined), ir.Constant(_vi, [0] * LANES))


def _widened(b: ir.IRBuilder, kind: str, stored: Any) -> list[Any]:
    """Weights as float vectors, one for each column that was loaded."""
    if kind == "float32":
        return [stored]
    if kind == "int8":
        return [b.sitofp(b.sext(stored, _vi), _vf)]
    low = b.shl(stored, ir.Constant(_vi, [16] * LANES))
    high = b.and_(stored, ir.Constant(_vi, [-65536] * LANES))
    return [b.bitcast(low, _vf), b.bitcast(high, _vf)]


@cache
def matrix_product(kind: str, outputs: int, tile: int) -> Callable[..., None]:
    """A compiled (weights, x, x_step, y, y_step, inputs, streams) over all outputs, `tile` streams at a time."""
    blocks, most = outputs // LANES, MOST_SUMS[tile]
    whole, rest = blocks // most, blocks % most
    full, partial = product(kind, most, tile), product(kind, max(rest, 1), tile)
    size = {"float32": 4, "bfloat16": 4, "int8": 1}[kind]

    @numba.njit(inline="always")
    def multiply(weights, x, x_step, y, y_step, inputs, streams):  # type: ignore[no-untyped-def]
        for t in range(whole):
            for s in range(0, streams, tile):
                at = LANES * most * t
                full(
                    weights + size * at, outputs, x + 4 * x_step * s, x_step, y + 4 * (y_step * s + at), y_step, inputs
                )
        if rest:
            for s in range(0, streams, tile):
                at = LANES * most * whole
                partial(
                    weights + size * at, outputs, x + 4 * x_step * s, x_step, y + 4 * (y_step * s + at), y_step, inputs
                )

    return multiply
