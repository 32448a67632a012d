"""Constants that mask out before a Softmax, such as -3.4e38 or -inf, as numbers that every element type holds.

In fp16 they would be infinite, and a row that is masked as a whole would become NaN.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnx

from graph.folded.constants import Array

# From here on a number that is added, or that masks are multiplied with, is taken for minus infinity.
_LEAST = -1e9
# The least number of fp16, with which files in half precision mask out.
_LEAST_HALF = -65504.0
# Half of fp16's range: a score added to it stays finite, and exp of the sum is 0.
MASK = -(2.0**15)

_PLACES: Mapping[str, Sequence[int]] = {
    "Add": (0, 1),
    "Mul": (0, 1),
    "Sub": (1,),
    "Where": (1, 2),
}


def finite_masks(nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array]) -> dict[str, Array]:
    """Replacements, by name, for those of the constants that `nodes` add, subtract, choose or multiply with and
    that hold -1e9 or less, or just fp16's least number (1e9 or more, or its greatest, where they are subtracted):
    these elements become -32768 (32768).
    """
    found: dict[str, Array] = {}
    for node in nodes:
        if node.op_type not in _PLACES:
            continue
        places = _PLACES[node.op_type]
        sign = -1 if node.op_type == "Sub" else 1
        for place, name in enumerate(node.input):
            array = found.get(name, constants.get(name))
            if array is None or array.dtype != np.float32 or place not in places:
                continue
            # A fill repeats one element, and stays one.
            held = array[tuple(slice(None) if stride else slice(1) for stride in array.strides)]
            masked = (sign * held <= _LEAST) | (sign * held == _LEAST_HALF)
            if masked.any():
                finite = np.where(masked, np.float32(sign * MASK), held)
                found[name] = np.broadcast_to(finite, array.shape)
    return found
