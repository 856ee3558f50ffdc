"""How compiled code reads a row: an array over an address, the float32 of a code, and a hint to fetch ahead."""

from __future__ import annotations

from typing import Any

import numpy as np

from fovea.attention_retrieval.vectors import Stored
from fovea.rag.errors import require

require("numba", extra="attention", needed_by="attention retrieval on a CPU")

from llvmlite import ir  # noqa: E402
from numba import njit, types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numba.extending import intrinsic, overload  # noqa: E402
from numba.np import arrayobj  # noqa: E402

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""What sums may do: change their order, as SIMD needs. Not `nnan` and `ninf`: minus infinity marks an empty place."""


@intrinsic
def rows_at(typingctx: Any, address: Any, count: Any, d: Any, like: Any) -> Any:  # numba calls it with types
    """The array `(count, d)` of `like`'s type that begins at `address`."""
    made = types.Array(like.dtype, 2, "C")

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        where, rows, width, _ = args
        array = arrayobj.make_array(made)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(made.dtype)))
        arrayobj.populate_array(
            array,
            data=builder.inttoptr(where, array.data.type),
            shape=[rows, width],
            strides=[builder.mul(width, size), size],
            itemsize=size,
            meminfo=None,
        )
        return array._getvalue()

    return made(types.uint64, types.int64, types.int64, like), codegen


@intrinsic
def _from_bf16(typingctx: Any, code: Any) -> Any:
    """A bf16 is the upper half of a float32."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        half = ir.Constant(ir.IntType(32), 16)
        return builder.bitcast(builder.shl(builder.zext(args[0], ir.IntType(32)), half), ir.FloatType())

    return types.float32(types.uint16), codegen


@intrinsic
def prefetch(typingctx: Any, address: Any) -> Any:
    """Ask for the cache line at `address`; the processor goes on without waiting."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer, number = ir.IntType(8).as_pointer(), ir.IntType(32)
        shape = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        call = cgutils.get_or_insert_function(builder.module, shape, "llvm.prefetch.p0")
        read, keep, data = (ir.Constant(number, n) for n in (0, 3, 1))
        builder.call(call, [builder.inttoptr(args[0], pointer), read, keep, data])
        return context.get_dummy_value()

    return types.void(types.uint64), codegen


def decode(code: Any) -> Any:
    """The float32 of a stored number; an int8 still wants its row's scale."""


@overload(decode, inline="always")
def _decode(code: Any) -> Any:
    def upper_half(code: Any) -> Any:
        return _from_bf16(code)

    def number(code: Any) -> Any:
        return np.float32(code)

    return upper_half if code == types.uint16 else number


@njit(nogil=True, inline="always")
def fetch_ahead(stored: Stored, row: int) -> None:
    """Ask for row `row`."""
    row_bytes = stored.d * stored.like.itemsize
    start = stored.addresses[row >> 12] + np.uint64((row & 4095) * row_bytes)
    for line in range(0, row_bytes, 64):
        prefetch(start + np.uint64(line))


@njit(nogil=True, inline="always", fastmath=FAST)
def read_row(stored: Stored, row: int, out: np.ndarray) -> None:
    """Row `row` as float32 into `out`, (d,)."""
    d, at = out.shape[0], row & 4095
    codes = rows_at(stored.addresses[row >> 12], 4096, d, stored.like)
    for j in range(d):
        out[j] = decode(codes[at, j])
    if stored.scales.shape[0] > 0:
        scale = rows_at(stored.scales[row >> 12], 1, 4096, np.empty(0, np.float32))[0, at]
        for j in range(d):
            out[j] *= scale


@intrinsic
def _from_bits(typingctx: Any, bits: Any) -> Any:
    """The float32 of these 32 bits."""

    def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.bitcast(args[0], ir.FloatType())

    return types.float32(types.int32), codegen


@njit(nogil=True)
def exp(x: float) -> float:
    """e^x for x <= 0 to 2e-7, and 0 below -87: a polynomial after Cody and Waite's reduction, so that loops vectorise.

    Compiled without reordering: the two parts of log 2 must be taken away one after the other.
    """
    low = x < np.float32(-87)
    x = max(x, np.float32(-87))
    n = np.floor(x * np.float32(1.44269504) + np.float32(0.5))
    f = x - n * np.float32(0.693359375)
    f = f + n * np.float32(2.12194440e-4)
    p = np.float32(1.9875691500e-4)
    p = p * f + np.float32(1.3981999507e-3)
    p = p * f + np.float32(8.3334519073e-3)
    p = p * f + np.float32(4.1665795894e-2)
    p = p * f + np.float32(1.6666665459e-1)
    p = p * f + np.float32(5.0000001201e-1)
    p = p * f * f + f + np.float32(1)
    power: float = _from_bits((np.int32(n) + np.int32(127)) << np.int32(23))
    return np.float32(0) if low else p * power
