"""BatchNormalization at inference: a per-channel scale and shift."""

from __future__ import annotations

import numpy as np

from graph.layering.operation import Operation, Pointwise
from graph.operators.joining import scaled


def batch_normalization(operation: Operation) -> Pointwise:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias, as one scale and one shift."""
    operation.require("training_mode", 0)
    if operation.opset < 9:
        operation.require("spatial", 1)
    value = operation.stored(operation.value())
    if value.rank < 2:
        raise operation.error(f"input 0 has shape {operation.text(value)}; expected channels second")
    size = value.image_size(1)
    scale, bias, mean, variance = (operation.vector(index, size).astype(np.float64) for index in range(1, 5))
    squared = variance + operation.number("epsilon", 1e-5)
    good = np.isfinite(squared) & (squared > 0)
    if operation.emitter.weights and not good.all():
        place = int(good.argmin())
        raise operation.error(
            f"variance + epsilon of channel {place} is {squared[place]:g}; expected positive and finite"
        )
    factor = scale / np.sqrt(np.where(good, squared, 1))
    shape = (size,) + (1,) * (value.rank - 2)
    return scaled(operation, value, factor.reshape(shape), (bias - mean * factor).reshape(shape))
