"""Value: an ONNX tensor seen as (part of) a stored tensor, so that what moves no data costs nothing."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.layering.layout import (
    Digit,
    Digits,
    cut_at,
    extent,
    is_block,
    merged,
    ordinal,
    regrouped,
    without_batch,
)


class Element(StrEnum):
    """What an ONNX tensor holds: all of them are stored as the machine's numbers."""

    FLOAT = "floats"
    INTEGER = "integers"
    BOOLEAN = "booleans"

    @classmethod
    def of(cls, dtype: np.dtype[Any]) -> Element:
        """What an array of that type holds."""
        return {"b": cls.BOOLEAN, "i": cls.INTEGER, "u": cls.INTEGER}.get(dtype.kind, cls.FLOAT)


@dataclass(frozen=True, slots=True)
class Value:
    """ONNX dimensions `dims` over the stored tensor `source` of (channels, rows, columns) an image.

    The batch is a digit where the file is written for more than one image, and nowhere where it is for one.
    `offset` is the number of the first element. With `indices` the tensor holds pairs of channels, see
    graph.network.Tensor, and dims count the pairs. `element` is set for what a node of the file gives out; between
    the layers of one node it says nothing.
    """

    source: str
    channels: int
    rows: int
    columns: int
    dims: tuple[Digits, ...]
    offset: int = 0
    indices: bool = False
    element: Element = Element.FLOAT

    @property
    def elements(self) -> int:
        """Elements of one image of the stored tensor: C x H x W."""
        return self.channels * self.rows * self.columns

    @property
    def sizes(self) -> tuple[int, int, int]:
        """(channels, rows, columns) of the stored tensor."""
        return (self.channels, self.rows, self.columns)

    @property
    def shape(self) -> tuple[int, ...]:
        """The ONNX shape in the file."""
        return tuple(extent(dim) for dim in self.dims)

    @property
    def image_shape(self) -> tuple[int, ...]:
        """The ONNX shape of one image; a first dimension that is nothing but the batch is left out."""
        sizes = tuple(self.image_size(axis) for axis in range(self.rank))
        return sizes[1:] if sizes and sizes[0] == 1 else sizes

    @property
    def rank(self) -> int:
        """ONNX dimensions, the batch included."""
        return len(self.dims)

    @property
    def digits(self) -> Digits:
        """All digits in ONNX order."""
        return tuple(digit for dim in self.dims for digit in dim)

    @property
    def plain(self) -> bool:
        """Whether the ONNX tensor holds every stored element exactly once, in whatever order."""
        expected = 2 if self.indices else 1
        for digit in sorted(without_batch(self.digits), key=lambda digit: digit.stride):
            if digit.stride != expected:
                return False
            expected *= digit.size
        return self.offset == 0 and expected == self.elements

    def image_size(self, axis: int) -> int:
        """Positions of dimension `axis` within one image."""
        return extent(without_batch(self.dims[axis]))

    def has_batch(self, axis: int) -> bool:
        """Whether the batch is (part of) dimension `axis`."""
        return any(digit.batch for digit in self.dims[axis])

    def reshaped(self, shape: Sequence[int]) -> Value | None:
        """The same elements in the same order under another ONNX shape, or None where data would move."""
        dims = regrouped(self.digits, shape)
        return None if dims is None else replace(self, dims=dims)

    def transposed(self, order: Sequence[int]) -> Value:
        """ONNX dimensions in another order."""
        return replace(self, dims=tuple(self.dims[axis] for axis in order))

    def broadcast(self, shape: Sequence[int]) -> Value:
        """Dimensions of size 1 repeated, and missing ones added in front; `shape` is known to fit."""
        missing = len(shape) - self.rank
        dims: list[Digits] = [() for _ in range(missing)] + list(self.dims)
        found = [
            dim if extent(dim) == size else (Digit(size, 0),) for dim, size in zip(dims, shape, strict=True)
        ]
        return replace(self, dims=tuple(found))

    def axis_digits(self) -> tuple[Digits, ...] | None:
        """`dims` with digits cut where the stored columns and rows begin, or None where they cannot be."""
        bounds = sorted({self.channels, self.channels * self.columns})
        cut = [cut_at(merged(dim), bounds) for dim in self.dims]
        found = tuple(dim for dim in cut if dim is not None)
        return found if len(found) == len(cut) else None

    def axis_of(self, digit: Digit) -> int:
        """Stored axis of a digit that was cut: 0 rows, 1 columns, 2 channels."""
        if digit.stride < self.channels:
            return 2
        return 1 if digit.stride < self.channels * self.columns else 0

    def fills_channels(self, axis: int) -> bool:
        """Whether dimension `axis` is the stored channels, all of them in order, of a plain tensor."""
        return self.plain and is_block(self.dims[axis], self.channels)

    def with_channels(self, source: str, channels: int, last: Digits) -> Value:
        """This tensor's rows and columns with other channels, of which `last` is the last dimension; the last
        dimension of this value is its channels.
        """
        dims = tuple(
            tuple(
                digit if digit.batch else Digit(digit.size, digit.stride // self.channels * channels)
                for digit in dim
            )
            for dim in self.dims[:-1]
        )
        return Value(source, channels, self.rows, self.columns, (*dims, last))

    def stored(self, array: NDArray[Any], images: int) -> NDArray[Any]:
        """An ONNX array of the file's shape as (B, C, H, W), where this value is plain."""
        digits = list(self.digits)
        order = sorted(range(len(digits)), key=lambda i: (not digits[i].batch, -digits[i].stride))
        parts = array.reshape([digit.size for digit in digits]).transpose(order)
        channels = 1 if self.indices else self.channels
        maps = parts.reshape(images, self.rows, self.columns, channels).transpose(0, 3, 1, 2)
        return np.ascontiguousarray(maps)

    def unstored(self, maps: NDArray[Any]) -> NDArray[Any]:
        """The inverse of `stored`."""
        digits = list(self.digits)
        order = sorted(range(len(digits)), key=lambda i: (not digits[i].batch, -digits[i].stride))
        parts = maps.transpose(0, 2, 3, 1).reshape([digits[i].size for i in order])
        return np.ascontiguousarray(parts.transpose(np.argsort(order)).reshape(self.shape))


def stored_value(
    sizes: Sequence[Digits | int],
    *,
    rows: Sequence[int] = (),
    columns: Sequence[int] = (),
    channels: Sequence[int] = (),
    source: str = "",
) -> Value:
    """A new plain tensor for ONNX dimensions of `sizes` (an int, or digits with the batch among them), of which
    the lists name those that make each stored axis, the slowest first.
    """
    given = [(Digit(size, 0),) if isinstance(size, int) else size for size in sizes]
    order = [*rows, *columns, *channels]
    inside = [(axis, place) for axis in order for place, digit in enumerate(given[axis]) if not digit.batch]
    counted = iter(ordinal([given[axis][place].size for axis, place in inside]))
    found = [list(dim) for dim in given]
    for axis, place in inside:
        found[axis][place] = next(counted)
    height, width, depth = (
        math.prod(extent(without_batch(given[axis])) for axis in axes) for axes in (rows, columns, channels)
    )
    return Value(source, depth, height, width, tuple(merged(dim) for dim in found))


def default_axes(rank: int, first: int = 1) -> tuple[list[int], list[int], list[int]]:
    """Dimensions for rows, columns and channels of a (B, C, H, W), (B, T, D), (B, D) or (B, ..., D) tensor;
    `first` is the first dimension behind the batch.
    """
    inner = list(range(first, rank))
    if len(inner) == 3:
        return inner[1:2], inner[2:], inner[:1]
    return inner[:1] if len(inner) > 1 else [], inner[1:-1], inner[-1:]
