"""BatchNormalization at inference: a per-channel scale and shift."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from graph.effects import Affine
from graph.operation import Operation, Pointwise


def batch_normalization(operation: Operation) -> Pointwise:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, as one Affine."""
    operation.require("training_mode", 0)
    if operation.opset < 9:
        operation.require("spatial", 1)
    value = operation.value()
    if not value.natural:
        raise operation.error(
            f"input 0 has shape {value.shape_text} after flattening; expected channels second"
        )

    def vector(index: int) -> NDArray[np.float64]:
        array = operation.weight(index)
        if array.shape != (value.channels,):
            raise operation.error(
                f"input {index} has shape {list(array.shape)}; expected [{value.channels}] (one per channel)"
            )
        return array.astype(np.float64)

    scale = vector(1) / np.sqrt(vector(4) + operation.number("epsilon", 1e-5))
    return Pointwise((value,), (Affine(scale, vector(2) - vector(3) * scale),))
