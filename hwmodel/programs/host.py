"""How the host's arrays of inputs and outputs map to the buffers of a program."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from graph.primitives import INDEX_BASE
from hwmodel.errors import KernelError
from hwmodel.programs.isa import Buffer


@dataclass(frozen=True, slots=True)
class HostLayout:
    """An array (images, *shape) whose elements, of one image and in order, are counted by digits of `sizes`, the
    slowest first; each is the stored element number sum of digit x stride of the image, stored as (rows, columns,
    channels).

    With `indices` the array holds integers, stored as the pairs of channels that a GATHER reads; strides then
    count pairs. `buffer` is the buffer that it lies in, where that has another name than the array; several outputs
    may lie in one.
    """

    shape: tuple[int, ...]
    sizes: tuple[int, ...]
    strides: tuple[int, ...]
    indices: bool = False
    buffer: str | None = None

    def check(self, name: str, buffer: Buffer) -> None:
        """Raise KernelError unless the digits of array `name` count its elements, each at an element of `buffer`."""
        if len(buffer.shape) != 4:
            raise KernelError(
                f"interface.{name}: buffer {buffer.name!r} has shape {buffer.shape}, expected 4 axes"
            )
        if min((*self.shape, *self.sizes), default=1) < 1 or len(self.sizes) != len(self.strides):
            raise KernelError(
                f"interface.{name}: shape {self.shape}, sizes {self.sizes} and strides {self.strides}; "
                "expected positive extents and a stride for each size"
            )
        if math.prod(self.sizes) != math.prod(self.shape):
            raise KernelError(
                f"interface.{name}: sizes {self.sizes} count {math.prod(self.sizes)} elements, expected "
                f"{math.prod(self.shape)} of shape {self.shape}"
            )
        reach = [(size - 1) * stride for size, stride in zip(self.sizes, self.strides, strict=True)]
        first, last = sum(min(0, r) for r in reach), sum(max(0, r) for r in reach)
        most = math.prod(buffer.shape[1:]) // (2 if self.indices else 1)
        if first < 0 or last >= most:
            raise KernelError(
                f"interface.{name}: reaches elements {first} to {last}, expected 0 to {most - 1} of an image of buffer "
                f"{buffer.name!r}"
            )

    def to_stored(self, name: str, array: NDArray[Any], buffer: Buffer) -> NDArray[np.float32]:
        """(images, channels, rows, columns) of an array of the host.

        Raises KernelError where its shape is wrong, or an index is no integer from 0 on.
        """
        wanted = (buffer.shape[0], *self.shape)
        if array.shape != wanted:
            raise KernelError(f"input {name!r} has shape {array.shape} instead of {wanted}")
        flat = array.reshape(wanted[0], -1)
        if self.indices:
            whole = flat.astype(np.int64)
            if (whole != flat).any() or whole.min() < 0:
                raise KernelError(f"input {name!r} has an index that is no integer from 0 on")
            parts = [whole // INDEX_BASE, whole % INDEX_BASE]
        else:
            parts = [flat]
        images, rows, columns, channels = buffer.shape
        stored = np.zeros((images, rows * columns * channels // len(parts), len(parts)), np.float32)
        for part, values in enumerate(parts):
            stored[:, self._places(), part] = values
        return stored.reshape(buffer.shape).transpose(0, 3, 1, 2)

    def from_stored(self, maps: NDArray[np.float32]) -> NDArray[np.float32]:
        """(images, *shape) of an output (images, channels, rows, columns)."""
        flat = maps.transpose(0, 2, 3, 1).reshape(maps.shape[0], -1)
        return flat[:, self._places()].reshape(maps.shape[0], *self.shape)

    def _places(self) -> NDArray[np.int64]:
        places = np.zeros((), np.int64)
        for size, stride in zip(self.sizes, self.strides, strict=True):
            places = places[..., None] + np.arange(size) * stride
        return places.reshape(-1)
