"""How compiled code reads a row: an array over an address, the float32 of a code, and a hint to fetch ahead."""

from __future__ import annotations

from typing import Any

import numpy as np

from fovea.attention_retrieval.stored import Stored
from fovea.rag.errors import require

require("numba", extra="attention", needed_by="attention retrieval on a CPU")

from llvmlite import ir  # noqa: E402
from numba import njit, types  # noqa: E402
from numba.core import cgutils  # noqa: E402
from numba.extending import intrinsic, overload  # noqa: E402
from numba.np import arrayobj  # noqa: E402

FAST = {"reassoc", "contract", "nsz", "arcp"}
"""What sums may do: change their order, as SIMD needs. Not `nnan` and `ninf`: minus infinity marks an empty place."""


def _view(context: Any, builder: Any, made: Any, args: Any) -> Any:
    """The array of type `made` and shape `args[1:3]` that begins at the address `args[0]`."""
    where, rows, width = args[:3]
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


@intrinsic
def rows_at(typingctx: Any, address: Any, count: Any, d: Any, like: Any) -> Any:  # numba calls it with types
    """The array `(count, d)` of `like`'s type that begins at `address`."""
    made = types.Array(like.dtype, 2, "C")
    return made(types.uint64, types.int64, types.int64, like), lambda c, b, _, args: _view(c, b, made, args)


@intrinsic
def bytes_at(typingctx: Any, address: Any, count: Any, d: Any) -> Any:
    """The same of uint8."""
    made = types.Array(types.uint8, 2, "C")
    return made(types.uint64, types.int64, types.int64), lambda c, b, _, args: _view(c, b, made, args)


@intrinsic
def halves_at(typingctx: Any, address: Any, count: Any, d: Any) -> Any:
    """The same of uint16."""
    made = types.Array(types.uint16, 2, "C")
    return made(types.uint64, types.int64, types.int64), lambda c, b, _, args: _view(c, b, made, args)


@intrinsic
def floats_at(typingctx: Any, address: Any, count: Any, d: Any) -> Any:
    """The same of float32."""
    made = types.Array(types.float32, 2, "C")
    return made(types.uint64, types.int64, types.int64), lambda c, b, _, args: _view(c, b, made, args)


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
    """The float32 of a number that is fp32 or bf16."""


@overload(decode, inline="always")
def _decode(code: Any) -> Any:
    def upper_half(code: Any) -> Any:
        return _from_bf16(code)

    def number(code: Any) -> Any:
        return np.float32(code)

    return upper_half if code == types.uint16 else number


@njit(nogil=True, inline="always")
def fetch_ahead(stored: Stored, row: int | np.integer) -> None:
    """Ask for row `row`."""
    at = row - stored.first
    if 0 <= at < stored.coded - stored.first:
        row_bytes = ((stored.d + 1) >> 1 if stored.bits == 4 else stored.d) * stored.like.itemsize
        start = stored.addresses[at >> 12] + np.uint64((at & 4095) * row_bytes)
        for line in range(0, row_bytes, 64):
            prefetch(start + np.uint64(line))


def read_row(stored: Stored, row: int | np.integer, out: np.ndarray) -> None:
    """Row `row` as float32 into `out`, (d,). The type of the codes decides how, when a kernel is compiled."""


@overload(read_row, inline="always")
def _read_row(stored: Any, row: Any, out: Any) -> Any:
    def rounded(stored: Any, row: Any, out: Any) -> None:
        read_rounded(stored, np.int64(row), out)

    def plain(stored: Any, row: Any, out: Any) -> None:
        codes = rows_at(stored.addresses[row >> 12], 4096, out.shape[0], stored.like)
        for j in range(out.shape[0]):
            out[j] = decode(codes[row & 4095, j])

    return rounded if stored[stored.fields.index("like")].dtype == types.uint8 else plain


@njit(nogil=True, cache=True, fastmath=FAST)
def by_channel(codes: np.ndarray, mask: int, shift: int, lows: np.ndarray, scales: np.ndarray, out: np.ndarray) -> None:
    """low + scale * code of the first channels; bf16 pairs, a code the bits of a byte under `mask`, from `shift` on."""
    for j in range(out.shape[0]):
        code = np.float32((np.int32(codes[j]) & np.int32(mask)) >> np.int32(shift))
        out[j] = decode(lows[j]) + decode(scales[j]) * code


@njit(nogil=True, cache=True, fastmath=FAST)
def by_token(codes: np.ndarray, mask: int, shift: int, low: float, scale: float, out: np.ndarray) -> None:
    """The same with one pair for all channels."""
    for j in range(out.shape[0]):
        out[j] = low + scale * np.float32((np.int32(codes[j]) & np.int32(mask)) >> np.int32(shift))


@njit(nogil=True, cache=True, fastmath=FAST)
def read_rounded(stored: Stored, row: int | np.integer, out: np.ndarray) -> None:
    """The same where rows are codes of 8 or 4 bits, or wait to be."""
    d, place = out.shape[0], row - stored.first
    if row < stored.first or row >= stored.coded:
        at = row if row < stored.first else stored.first + row - stored.coded
        if stored.bits == 8:
            plain = floats_at(stored.plain, at + 1, d)[at]
            for j in range(d):
                out[j] = plain[j]
        else:
            halves = halves_at(stored.plain, at + 1, d)[at]
            for j in range(d):
                out[j] = decode(halves[j])
    else:
        at, scales, whole = place & 4095, stored.scales[place >> 12], stored.bits == 8
        codes = bytes_at(stored.addresses[place >> 12], 4096, d if whole else (d + 1) >> 1)[at]
        if stored.blocked:
            pairs = halves_at(scales + np.uint64((at >> 7) * 4 * d), 2, d)
            if whole:
                by_channel(codes, 255, 0, pairs[0], pairs[1], out)
            else:
                half = codes.shape[0]
                by_channel(codes, 15, 0, pairs[0], pairs[1], out[:half])
                by_channel(codes, 255, 4, pairs[0, half:], pairs[1, half:], out[half:])
        else:
            pair = halves_at(scales, 4096, 2)[at]
            low, scale = decode(pair[0]), decode(pair[1])
            if whole:
                by_token(codes, 255, 0, low, scale, out)
            else:
                by_token(codes, 15, 0, low, scale, out[: codes.shape[0]])
                by_token(codes, 255, 4, low, scale, out[codes.shape[0] :])


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
