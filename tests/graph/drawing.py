"""Drawing the parts of a one-operator model: sizes, activations in odd storage, constants, numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from hypothesis import strategies as st

from tests.graph.onnx_helpers import GraphBuilder

FLOAT = 1


class Drawing:
    """A model in the making, written for `batch` images; `b` builds it, `shapes` knows its activations."""

    def __init__(self, draw: st.DrawFn, opset: int) -> None:
        self.draw = draw
        self.opset = opset
        self.b = GraphBuilder(opset, seed=draw(st.integers(0, 999)))
        self.batch = draw(st.sampled_from([1, 1, 2]))
        self._inputs = 0

    # Choices.

    def size(self, low: int = 1, high: int = 5) -> int:
        return self.draw(st.integers(low, high))

    def sizes(self, count: int, low: int = 1, high: int = 5) -> list[int]:
        return [self.size(low, high) for _ in range(count)]

    def pick(self, *items: Any) -> Any:
        return self.draw(st.sampled_from(items))

    def number(self, low: float = 0.1, high: float = 2.0) -> float:
        return float(np.float32(self.draw(st.integers(0, 16)) / 16 * (high - low) + low))

    def order(self, count: int) -> list[int]:
        return list(self.draw(st.permutations(range(count))))

    def some(self, items: Sequence[int], least: int = 1) -> list[int]:
        """At least so many of the items, in any order."""
        picked = self.draw(st.permutations(items))
        return list(picked[: self.size(least, len(picked))])

    def optional(self, **attributes: Any) -> dict[str, Any]:
        """Some of the attributes; the others keep their defaults."""
        return {name: value for name, value in attributes.items() if self.draw(st.booleans())}

    def axis(self, axis: int, rank: int) -> int:
        """The axis, perhaps counted from the end."""
        return axis - rank if self.draw(st.booleans()) else axis

    # Tensors.

    def x(self, *sizes: int) -> str:
        """An activation (batch, sizes...): a graph input, or a view of one that is stored in another way."""
        name = f"x{self._inputs}"
        self._inputs += 1
        way = self.pick("as it is", "as it is", "transposed", "sliced") if sizes else "as it is"
        if way == "transposed":
            order = [0, *(1 + axis for axis in self.order(len(sizes)))]
            stored = [0] * len(sizes)
            for axis, place in enumerate(order[1:]):
                stored[place - 1] = sizes[axis]
            return self.b.node("Transpose", self.b.input(name, self.batch, *stored), perm=order)
        if way == "sliced":
            axis = self.size(0, len(sizes) - 1)
            more = [size + 2 * (i == axis) for i, size in enumerate(sizes)]
            x, places = self.b.input(name, self.batch, *more), (1, 1 + sizes[axis], 1 + axis)
            if self.opset < 10:
                names = ("starts", "ends", "axes")
                return self.b.node("Slice", x, **{name: [at] for name, at in zip(names, places, strict=True)})
            return self.b.node("Slice", x, *(self.b.integers(place) for place in places))
        return self.b.input(name, self.batch, *sizes)

    def positive(self, *sizes: int) -> str:
        """An activation of numbers from 0.5 on."""
        return self.b.node("Add", self.b.node("Abs", self.x(*sizes)), self.b.number(0.5))

    def condition(self, *sizes: int) -> str:
        """An activation of booleans."""
        return self.b.node("Less", self.x(*sizes), self.b.number(0.25))

    def as_float(self, value: str) -> str:
        return self.b.node("Cast", value, to=FLOAT)

    def broadcast(self, sizes: Sequence[int]) -> list[int]:
        """Sizes that broadcast to these: some of them 1, perhaps without the first few."""
        found = [1 if self.draw(st.booleans()) else size for size in sizes]
        return found[self.size(0, len(found)) :]

    def operand(self, sizes: Sequence[int], positive: bool = False) -> str:
        """Something that broadcasts to (batch, sizes...): an activation, a constant, or a number."""
        kind = self.pick("activation", "activation", "constant", "number")
        if kind == "number":
            return self.b.number(self.number(0.5, 2.0))
        if kind == "constant":
            return self.b.random(*self.broadcast(sizes), positive=positive)
        same = [1 if self.draw(st.booleans()) else size for size in sizes]
        return self.positive(*same) if positive else self.x(*same)
