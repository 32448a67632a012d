"""ArgMax and ArgMin: where along a dimension the greatest or least value is."""

from __future__ import annotations

import numpy as np

from graph.layering.effects import Affine
from graph.layering.operation import Operation, Pointwise
from graph.layering.values import Value
from graph.operators.joining import joined
from graph.operators.reduce import reduced
from graph.primitives import StepOp

_MODES = {"ArgMax": "max", "ArgMin": "min"}


def arg_reduce(operation: Operation) -> Value:
    """The first place of the extreme value (the last one with `select_last_index`): places are ranked, those that do
    not hold it are 0, and the greatest rank is found. Places are as exact as numbers of the machine's element type:
    in fp16 up to 2048.
    """
    value = operation.stored(operation.value())
    axis = operation.axis(value, operation.integer("axis", 0))
    size = value.shape[axis]
    extreme = reduced(operation, value, [axis], _MODES[operation.node.op_type])
    equal = operation.emit(joined(operation, StepOp.EQUAL, [value, extreme]))
    last = operation.integer("select_last_index", 0)
    shape = [size if place == axis else 1 for place in range(value.rank)]
    ranks = (np.arange(1, size + 1) if last else np.arange(size, 0, -1)).astype(np.float32).reshape(shape)
    ranked = operation.emit(joined(operation, StepOp.MUL, [equal, ranks]))
    rank = operation.stored(reduced(operation, ranked, [axis], "max"))
    place = Affine(shift=-1.0) if last else Affine(scale=-1.0, shift=float(size))
    found = operation.emit(Pointwise((rank,), rank, (place,)))
    if operation.integer("keepdims", 1):
        return found
    return operation.reshaped(found, [length for k, length in enumerate(found.shape) if k != axis])
