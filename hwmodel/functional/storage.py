"""The memories of the functional simulator: byte arrays, and checked views of them.

A memory starts as bytes 0xFF, which is a NaN in float16 and in float32, so that what was never written shows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.errors import KernelError
from hwmodel.functional.halves import narrow, widen

FloatArray = NDArray[np.floating[Any]]
Values = Mapping[str, int]

# A view has at most this many elements: one that repeats fits any memory.
MOST_ELEMENTS = 1 << 29

# Extents (images, rows, columns, channels).
Box = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """A memory's bytes, the type of its elements, and what its addresses in a program are multiplied by."""

    name: str
    data: NDArray[np.uint8]
    dtype: np.dtype[Any]
    scale: int

    def clear(self) -> None:
        """Make every element a NaN."""
        self.data.fill(0xFF)

    def strided(
        self, field: str, address: int, shape: tuple[int, ...], strides: tuple[int, ...]
    ) -> FloatArray:
        """A view of `shape` at `address` with `strides`, both in bytes of the program, for the field `field`.

        Raises KernelError where it reaches outside the memory, has an empty axis or cuts an element in two.
        """
        item, scale = self.dtype.itemsize, self.scale
        low = address * scale
        high = low + item
        scaled = tuple(stride * scale for stride in strides)
        for extent, stride in zip(shape, scaled, strict=True):
            if extent < 1 or (stride % item and extent > 1):
                problem = f"is {extent} long" if extent < 1 else f"has a stride of {stride} bytes"
                raise KernelError(f"{field}: an axis of its {shape} elements of {item} bytes {problem}")
            reach = (extent - 1) * stride
            if reach < 0:
                low += reach
            else:
                high += reach
        outside = low < 0 or high > self.data.size
        if outside or address * scale % item:
            problem = f"leaves {self.name}" if outside else f"cuts an element of {self.name}"
            raise KernelError(
                f"{field}: address {address}, size {(high - low) // scale} "
                f"(bytes {low // scale} to {high // scale}) {problem} of {self.data.size // scale} bytes"
            )
        return np.ndarray(shape, self.dtype, self.data, address * scale, scaled)

    def dense(self, field: str, address: int, shape: tuple[int, ...]) -> FloatArray:
        """A contiguous view of `shape` at `address`."""
        item = self.dtype.itemsize // self.scale
        strides = [item]
        for extent in reversed(shape[1:]):
            strides.append(strides[-1] * extent)
        return self.strided(field, address, shape, tuple(reversed(strides)))

    def part(self, field: str, address: int, box: Box, strides: tuple[int, int, int]) -> Part:
        """A view as `strided` gives it, with dense channels, to be read and written as float32."""
        item = self.dtype.itemsize // self.scale
        array = self.strided(field, address, box, (*strides, item))
        if self.dtype != np.float16:
            return Part(array, None, 0, (0, 0, 0))
        by_image, by_row, by_column = (stride // item for stride in strides)
        return Part(array, self.data.view(np.uint16), address // item, (by_image, by_row, by_column))


@dataclass(frozen=True, slots=True)
class Part:
    """A checked NHWC view: the array and, for float16, where its elements are among those of the memory."""

    array: FloatArray
    halves: NDArray[np.uint16] | None
    start: int
    strides: tuple[int, int, int]

    def read(self) -> NDArray[np.float32]:
        """The elements, float32 (images, rows, columns, channels); of float32 memory without a copy."""
        if self.halves is None:
            return self.array.astype(np.float32, copy=False)
        return widen(self.halves, self.start, self.strides, self.array.shape)

    def write(self, values: NDArray[np.float32]) -> None:
        """Store (images, rows, columns, channels), rounded to the memory's element type."""
        if self.halves is None:
            self.array[...] = values
        else:
            narrow(values, self.halves, self.start, self.strides)


@dataclass(frozen=True, slots=True)
class View:
    """A view of core memory in at most two parts: the rows up to the ring's end, and the rest."""

    first: Part
    second: Part | None = None

    def read(self) -> NDArray[np.float32]:
        """The elements, float32 (images, rows, columns, channels); not copied if float32 in one part."""
        if self.second is None:
            return self.first.read()
        return np.concatenate((self.first.read(), self.second.read()), axis=1)

    def write(self, values: NDArray[np.float32]) -> None:
        """Store (images, rows, columns, channels), rounded to the memory's element type."""
        if self.second is None:
            self.first.write(values)
        else:
            split = self.first.array.shape[1]
            self.first.write(values[:, :split])
            self.second.write(values[:, split:])

    def pairs(self, other: FloatArray) -> list[tuple[FloatArray, FloatArray]]:
        """The array of each part, with the rows of `other` (of the extents of all parts) that match it."""
        if self.second is None:
            return [(self.first.array, other)]
        split = self.first.array.shape[1]
        return [(self.first.array, other[:, :split]), (self.second.array, other[:, split:])]


def ring_view(memory: Memory, values: Values, name: str, box: Box) -> View:
    """The view `name` of an instruction with extents `box` in a core's memory.

    Raises KernelError where it leaves the memory, or holds more rows than its ring.
    """
    images, rows, columns, channels = box
    address = values[f"{name}_addr"]
    by_row = values[f"{name}_row_stride"]
    strides = (values[f"{name}_image_stride"], by_row, values[f"{name}_col_stride"])
    ring = values[f"{name}_ring"]
    if ring < 1 or rows > ring:
        raise KernelError(f"{name}_ring: a ring of {ring} rows is to hold {rows}")
    if images * rows * columns * channels > MOST_ELEMENTS:
        raise KernelError(f"{name}_addr: a view of {box} elements is more than is possible")
    row = values[f"{name}_row"] % ring
    field = f"{name}_addr"
    until = min(rows, ring - row)
    first = memory.part(field, address + row * by_row, (images, until, columns, channels), strides)
    if until == rows:
        return View(first)
    return View(first, memory.part(field, address, (images, rows - until, columns, channels), strides))


def empty_view(box: Box) -> View:
    """A view of no elements, of extents `box`, one of which is 0."""
    return View(Part(np.zeros(box, np.float32), None, 0, (0, 0, 0)))


def target_view(memory: Memory, values: Values, name: str, box: Box) -> View:
    """A `ring_view` that an instruction writes; raises KernelError also where two of its elements overlap."""
    view = ring_view(memory, values, name, box)
    check_apart(memory, values, name, box, values[f"{name}_row"], values[f"{name}_ring"])
    return view


def check_apart(memory: Memory, values: Values, name: str, box: Box, row: int = 0, ring: int = 0) -> None:
    """Raise KernelError where two pixels of a written view or window overlap; `ring` is 0 where rows do not wrap."""
    images, rows, columns, channels = box
    strides = [values[f"{name}_{axis}_stride"] for axis in ("image", "row", "col")]
    pixel = channels * memory.dtype.itemsize // memory.scale
    wraps = ring > 0 and row % ring + rows > ring
    reach = pixel
    for stride, extent in sorted(
        zip(map(abs, strides), (images, ring if wraps else rows, columns), strict=True)
    ):
        if extent > 1 and stride < reach:
            break
        reach += (extent - 1) * stride
    else:
        return  # each axis steps over all that the smaller ones span
    apart = images * rows * columns * pixel <= memory.data.size // memory.scale
    if apart:
        slots = (row + np.arange(rows)) % ring if wraps else np.arange(rows)
        starts = np.add.outer(np.arange(images) * strides[0], slots * strides[1])
        starts = np.sort(np.add.outer(starts, np.arange(columns) * strides[2]), axis=None)
        apart = bool(np.diff(starts).min() >= pixel)
    if not apart:
        raise KernelError(
            f"{name}: elements that are written overlap, with strides of {', '.join(map(str, strides))} bytes "
            f"for {images} images, {rows} rows and {columns} columns of {pixel} bytes"
        )


def window(memory: Memory, base: int, values: Values, name: str, box: Box) -> FloatArray:
    """The window `name` of an instruction with extents `box`, its symbol being at `base` of shared memory."""
    strides = (
        *(values[f"{name}_image_stride"], values[f"{name}_row_stride"], values[f"{name}_col_stride"]),
        memory.dtype.itemsize // memory.scale,
    )
    return memory.strided(f"{name}_offset", base + values[f"{name}_offset"], box, strides)
