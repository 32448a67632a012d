"""How a random legal node of each operator is drawn: its attributes, the shapes of its inputs, and constants.

A drawing function is registered under the names of its operators and gives the model's outputs. What is drawn is
what the importer says that it takes; what it refuses is tested beside this.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import onnx

from tests.graph.drawing import Drawing

Outputs = str | tuple[str, ...]
Draws = Callable[[Drawing, str], Outputs]

INT64 = onnx.TensorProto.INT64
DRAWS: dict[str, Draws] = {}
OPSETS: dict[str, tuple[int, ...]] = {}
"""Opsets that an operator is drawn in, where they are not the usual one."""
USUAL = (17,)


def draws(*names: str, opsets: Sequence[int] = ()) -> Callable[[Draws], Draws]:
    def register(function: Draws) -> Draws:
        for name in names:
            DRAWS[name] = function
            if opsets:
                OPSETS[name] = tuple(opsets)
        return function

    return register
