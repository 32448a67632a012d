"""Operation: one ONNX node as an operator's function sees it, and the kinds of result that it may give.

An operator is one file in graph/operators/ with one function from Operation to Result: the layer that it is,
or, after emitting layers of its own, the values of its outputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graph.errors import ModelError
from graph.folded.constants import Array
from graph.layering.emitter import Anchored, Emitter, Pointwise
from graph.layering.values import Element, Value

Result = Anchored | Pointwise | Value | tuple[Value | None, ...]


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An ONNX node with its inputs (activations, constants, or None where absent) and attributes.

    `where` names the file and the node in messages; `file_batch` is the batch that shapes in the file are
    for; `read_names` are the ONNX tensors that any node or the graph's outputs read.
    """

    node: onnx.NodeProto
    where: str
    opset: int
    file_batch: int
    inputs: tuple[Value | Array | None, ...]
    attributes: Mapping[str, Any]
    emitter: Emitter
    read_names: frozenset[str] = frozenset()

    # Messages.

    def error(self, message: str) -> ModelError:
        """A ModelError that names the file and the node."""
        return ModelError(f"{self.where}: {message}")

    def text(self, value: Value) -> str:
        """A value's shape for a message, such as (1, 64, 56, 56)."""
        return f"({', '.join(map(str, value.shape))})"

    # Inputs and attributes.

    def item(self, index: int) -> Value | Array | None:
        """Input `index`, or None where it is absent."""
        return self.inputs[index] if index < len(self.inputs) else None

    def value(self, index: int = 0) -> Value:
        """Input `index`, which must be an activation."""
        item = self.item(index)
        if not isinstance(item, Value):
            found = "absent" if item is None else "a constant"
            raise self.error(f"input {index} is {found}; expected an activation")
        if item.indices:
            raise self.error(f"input {index} is a graph input of indices; expected only Gather to read it")
        return item

    def any_value(self, index: int = 0) -> Value:
        """Input `index`, which must be an activation or a graph input of indices."""
        item = self.item(index)
        return item if isinstance(item, Value) else self.value(index)

    def element(self, index: int = 0) -> Element:
        """What input `index` holds, an activation or a constant."""
        item = self.item(index)
        if isinstance(item, Value):
            return item.element
        return Element.FLOAT if item is None else Element.of(item.dtype)

    def refuse_integers(self, reason: str) -> None:
        """Refuse integers as the first input, for which the operator does what is not supported."""
        if self.element() is not Element.FLOAT:
            raise self.error(f"input 0 holds {self.element()}, {reason}; expected floats")

    def operand(self, index: int) -> Value | Array:
        """Input `index`, an activation or a constant."""
        item = self.item(index)
        return item if isinstance(item, np.ndarray) else self.value(index)

    def tensors(self) -> list[Value]:
        """All inputs, constants among them as tensors that are the same for every image."""
        items = [self.operand(index) for index in range(len(self.inputs))]
        like = next((item for item in items if isinstance(item, Value)), None)
        return [
            item if isinstance(item, Value) else self.constant_tensor(item, str(name), like)
            for name, item in zip(self.node.input, items, strict=True)
        ]

    def constant_tensor(self, array: Array, name: str, like: Value | None = None) -> Value:
        """A constant as a tensor; where `like` has the batch, it must hold the same for every image."""
        return self.emitter.constant(name, array, like)

    def map_input(self, index: int = 0) -> Value:
        """Input `index`, (B, C, H, W) or (B, C, L), stored with its channels as channels."""
        value = self.value(index)
        if value.rank not in (3, 4):
            raise self.error(
                f"input {index} has shape {self.text(value)}; expected (B, C, H, W) or (B, C, L)"
            )
        self.check_batch_first(value)
        return self.arranged(value, rows=[2], columns=range(3, value.rank), channels=[1])

    def check_batch_first(self, value: Value) -> None:
        """Refuse a value whose first dimension is not the batch, all of it and nothing else."""
        if value.image_size(0) != 1 or any(value.has_batch(axis) for axis in range(1, value.rank)):
            raise self.error(f"shape {self.text(value)}; expected the batch to be the first dimension")

    def constant(self, index: int) -> Array:
        """Input `index`, which must be a constant."""
        item = self.optional_constant(index)
        if item is None:
            raise self.error(f"input {index} is absent; expected a constant")
        return item

    def optional_constant(self, index: int) -> Array | None:
        """Input `index`, which must be a constant or absent."""
        item = self.item(index)
        if isinstance(item, Value):
            raise self.error(
                f"input {index} ({self.node.input[index]!r}) is an activation; expected a constant"
            )
        return item

    def weight(self, index: int) -> Array:
        """Input `index`, which must be a float32 constant."""
        array = self.constant(index)
        if array.dtype != np.float32:
            raise self.error(f"input {index} has element type {array.dtype}; expected float32")
        return array

    def vector(self, index: int, size: int) -> Array:
        """Input `index`, a float32 constant of shape (size,)."""
        array = self.weight(index)
        if array.shape != (size,):
            raise self.error(f"input {index} has shape {list(array.shape)}; expected [{size}]")
        return array

    def integer(self, name: str, default: int) -> int:
        """Integer attribute `name`."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """Float attribute `name`."""
        return float(self.attributes.get(name, default))

    def word(self, name: str, default: str) -> str:
        """Text attribute `name`."""
        found = self.attributes.get(name, default)
        return found.decode() if isinstance(found, bytes) else str(found)

    def integers(self, name: str, count: int, default: int) -> tuple[int, ...]:
        """Attribute `name`, a list of `count` integers."""
        found = tuple(int(item) for item in self.attributes.get(name, (default,) * count))
        if len(found) != count:
            raise self.error(f"attribute {name} is {list(found)}; expected {count} integers")
        return found

    def require(self, name: str, expected: int) -> None:
        """Refuse any value of the integer attribute `name` but `expected`, which is its default."""
        found = self.integer(name, expected)
        if found != expected:
            raise self.error(f"attribute {name} is {found}; expected {expected}")

    def axis(self, value: Value, axis: int) -> int:
        """Dimension `axis` of `value`, counted from the end when negative."""
        found = axis + value.rank if axis < 0 else axis
        if not 0 <= found < value.rank:
            raise self.error(f"axis {axis} does not exist in shape {self.text(value)}")
        return found

    def axes(self, index: int, name: str = "axes") -> list[int] | None:
        """Axes as input `index` or, in older opsets, as an attribute; None where they are absent."""
        if name in self.attributes:
            return [int(axis) for axis in self.attributes[name]]
        array = self.optional_constant(index)
        return None if array is None or not array.size else [int(axis) for axis in array.ravel()]

    # Layers.

    def emit(self, result: Anchored | Pointwise) -> Value:
        """Add a layer (or a step of one), and get its output."""
        return self.emitter.emit(result)

    def arranged(
        self,
        value: Value,
        *,
        rows: Sequence[int] = (),
        columns: Sequence[int] = (),
        channels: Sequence[int] = (),
    ) -> Value:
        """`value` stored with these dimensions as rows, columns and channels, the slowest first: as it is, or
        by way of a Rearrange. All others but the batch must have size 1.
        """
        return self.emitter.arranged(value, rows, columns, channels)

    def stored(self, value: Value) -> Value:
        """`value` as a tensor of its own where it is only a part or a repetition of one."""
        return value if value.plain else self.by_default(value)

    def by_default(self, value: Value) -> Value:
        """`value` stored as its rank suggests."""
        return self.emitter.by_default(value)

    def reshaped(self, value: Value, shape: Sequence[int]) -> Value:
        """`value` under another shape of the same elements; data move only where they must."""
        if math.prod(shape) != math.prod(value.shape):
            raise self.error(
                f"{self.text(value)} would have to be of shape {list(shape)}; expected as many elements"
            )
        view = value.reshaped(shape)
        if view is None:
            view = self.emitter.in_order(value).reshaped(shape)
        if view is None:
            raise self.error(
                f"from {self.text(value)} to {list(shape)} the batch of {self.file_batch} would be mixed with "
                "other dimensions; expected it to stay the slowest, or a file written for a batch of 1"
            )
        return view


Operator = Callable[[Operation], Result]

__all__ = ["Anchored", "Operation", "Operator", "Pointwise", "Result"]
