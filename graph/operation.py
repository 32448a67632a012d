"""Operation: one ONNX node as an operator's function sees it, and the three kinds of result that it may give.

An operator is one file in graph/operators/ with one function from Operation to Result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx

from graph.constants import Array
from graph.effects import Effect
from graph.errors import ModelError
from graph.network import RegionMap
from graph.primitives import Anchor, StepOp
from graph.values import Value


@dataclass(frozen=True, slots=True, eq=False)
class Anchored:
    """A layer's anchor with its inputs, their region maps, its output and what follows inside the same node.

    `weight` is (K, C/groups, kernel_h, kernel_w) float32 for a Contraction.
    """

    anchor: Anchor
    inputs: tuple[Value, ...]
    maps: tuple[RegionMap, ...]
    output: Value
    weight: Array | None = None
    effects: tuple[Effect, ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Pointwise:
    """`values` of one shape joined by `combine` (None where there is one), then `effects`."""

    values: tuple[Value, ...]
    effects: tuple[Effect, ...] = ()
    combine: StepOp | None = None


@dataclass(frozen=True, slots=True)
class View:
    """The same data under another name and ONNX shape."""

    value: Value


Result = Anchored | Pointwise | View


@dataclass(frozen=True, slots=True, eq=False)
class Operation:
    """An ONNX node with its inputs (activations, constants, or None where absent) and attributes.

    `where` names the file and the node in messages; `file_batch` is the batch that shapes in the file are
    for.
    """

    node: onnx.NodeProto
    where: str
    opset: int
    file_batch: int
    inputs: tuple[Value | Array | None, ...]
    attributes: Mapping[str, Any]

    @property
    def output(self) -> str:
        """Name of the node's first output."""
        return str(self.node.output[0])

    def error(self, message: str) -> ModelError:
        """A ModelError that names the file and the node."""
        return ModelError(f"{self.where}: {message}")

    def value(self, index: int = 0) -> Value:
        """Input `index`, which must be an activation."""
        item = self.inputs[index] if index < len(self.inputs) else None
        if not isinstance(item, Value):
            found = "absent" if item is None else "a constant"
            raise self.error(f"input {index} is {found}; expected an activation")
        return item

    def map_input(self, index: int = 0) -> Value:
        """Input `index`, which must be a (B, C, H, W) activation."""
        value = self.value(index)
        if not value.is_map:
            raise self.error(f"input {index} has shape {value.shape_text}; expected (B, C, H, W)")
        return value

    def constant(self, index: int) -> Array:
        """Input `index`, which must be a constant."""
        item = self.optional_constant(index)
        if item is None:
            raise self.error(f"input {index} is absent; expected a constant")
        return item

    def optional_constant(self, index: int) -> Array | None:
        """Input `index`, which must be a constant or absent."""
        item = self.inputs[index] if index < len(self.inputs) else None
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

    def integer(self, name: str, default: int) -> int:
        """Integer attribute `name`."""
        return int(self.attributes.get(name, default))

    def number(self, name: str, default: float) -> float:
        """Float attribute `name`."""
        return float(self.attributes.get(name, default))

    def integers(self, name: str, count: int, default: int) -> tuple[int, ...]:
        """Attribute `name`, a list of `count` integers."""
        found = tuple(int(item) for item in self.attributes.get(name, (default,) * count))
        if len(found) != count:
            raise self.error(
                f"attribute {name} is {list(found)}; expected {count} integers (two spatial axes)"
            )
        return found

    def require(self, name: str, expected: int) -> None:
        """Refuse any value of the integer attribute `name` but `expected`, which is its default."""
        found = self.integer(name, expected)
        if found != expected:
            raise self.error(f"attribute {name} is {found}; expected {expected}")


Operator = Callable[[Operation], Result]
