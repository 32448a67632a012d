"""Conversion between float16 in a memory and float32: exactly numpy's, and some fifteen times as fast.

The functional simulator converts every operand that it reads and every result that it writes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled

_SIGN_16 = np.uint32(0x8000)
_SIGN_32 = np.uint32(0x80000000)
_SHIFT = np.uint32(13)  # 23 - 10 bits of mantissa
_SIXTEEN = np.uint32(16)
_ONE = np.uint32(1)
_INFINITY_16 = np.uint32(0x7C00)
_INFINITY_32 = np.uint32(0x7F800000)
_NORMAL_16 = np.uint32(0x0400)  # least normal float16
_NORMAL_32 = np.uint32(0x38800000)  # the same as float32
_REBIAS = np.uint32(0x38000000)  # (127 - 15) << 23
_OVERFLOW = np.uint32(0x477FF000)  # least float32 that rounds to infinity
_BELOW_HALF = np.uint32(0xFFF)
_MANTISSA_16 = np.uint32(0x3FF)
_UNITS = np.float32(2.0**24)  # subnormal float16 are multiples of 2 ** -24
_UNIT = np.float32(2.0**-24)
_UNIT_LIMIT = np.float32(2.0**-14)  # all below are subnormal


@compiled
def _widen_row(source: NDArray[np.uint16], bits: NDArray[np.uint32], values: NDArray[np.float32]) -> None:
    """float16 bits to float32; `bits` and `values` are the same memory, which is written."""
    for i in range(source.size):
        half = np.uint32(source[i])
        magnitude = half & np.uint32(0x7FFF)
        moved = (magnitude << _SHIFT) + _REBIAS
        if magnitude >= _INFINITY_16:
            moved += _REBIAS
        bits[i] = ((half & _SIGN_16) << _SIXTEEN) | moved
    for i in range(source.size):
        half = np.uint32(source[i])
        magnitude = half & np.uint32(0x7FFF)
        small = np.float32(magnitude) * _UNIT
        if magnitude < _NORMAL_16:
            values[i] = -small if half & _SIGN_16 else small


@compiled
def _narrow_row(values: NDArray[np.float32], bits: NDArray[np.uint32], target: NDArray[np.uint16]) -> None:
    """float32 to the nearest float16, ties to even; `bits` and `values` are the same memory."""
    for i in range(target.size):
        magnitude = bits[i] & ~_SIGN_32
        odd = (magnitude >> _SHIFT) & _ONE
        half = (magnitude - _REBIAS + _BELOW_HALF + odd) >> _SHIFT
        small = np.uint32(np.int32(np.rint(min(abs(values[i]), _UNIT_LIMIT) * _UNITS)))
        if magnitude < _NORMAL_32:
            half = small
        if magnitude >= _OVERFLOW:
            half = _INFINITY_16
        if magnitude > _INFINITY_32:
            half = _INFINITY_16 | max((magnitude >> _SHIFT) & _MANTISSA_16, _ONE)
        target[i] = np.uint16(((bits[i] & _SIGN_32) >> _SIXTEEN) | half)


@compiled
def _widen(
    flat: NDArray[np.uint16],
    start: int,
    by_image: int,
    by_row: int,
    by_column: int,
    bits: NDArray[np.uint32],
    values: NDArray[np.float32],
) -> None:
    images, rows, columns, channels = values.shape
    for image in range(images):
        for row in range(rows):
            at = start + image * by_image + row * by_row
            if by_column == channels:
                _widen_row(
                    flat[at : at + columns * channels],
                    bits[image, row].reshape(columns * channels),
                    values[image, row].reshape(columns * channels),
                )
                continue
            for column in range(columns):
                first = at + column * by_column
                _widen_row(
                    flat[first : first + channels], bits[image, row, column], values[image, row, column]
                )


@compiled
def _narrow(
    values: NDArray[np.float32],
    bits: NDArray[np.uint32],
    flat: NDArray[np.uint16],
    start: int,
    by_image: int,
    by_row: int,
    by_column: int,
) -> None:
    images, rows, columns, channels = values.shape
    for image in range(images):
        for row in range(rows):
            at = start + image * by_image + row * by_row
            if by_column == channels:
                _narrow_row(
                    values[image, row].reshape(columns * channels),
                    bits[image, row].reshape(columns * channels),
                    flat[at : at + columns * channels],
                )
                continue
            for column in range(columns):
                first = at + column * by_column
                _narrow_row(
                    values[image, row, column], bits[image, row, column], flat[first : first + channels]
                )


def widen(
    flat: NDArray[np.uint16], start: int, strides: tuple[int, int, int], shape: tuple[int, int, int, int]
) -> NDArray[np.float32]:
    """The float16 elements of `flat`, of extents `shape` (images, rows, columns, channels), as float32.

    `start` and `strides` (of images, rows and columns) count elements; all of it must lie inside `flat`.
    """
    out = np.empty(shape, np.float32)
    _widen(flat, start, *strides, out.view(np.uint32), out)
    return out


def narrow(
    values: NDArray[np.float32], flat: NDArray[np.uint16], start: int, strides: tuple[int, int, int]
) -> None:
    """Round float32 (images, rows, columns, channels) to float16 in `flat`, placed as in `widen`."""
    values = np.ascontiguousarray(values)
    _narrow(values, values.view(np.uint32), flat, start, *strides)
