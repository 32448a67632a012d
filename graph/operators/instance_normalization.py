"""InstanceNormalization and GroupNormalization: means over places (and groups of channels) as layers."""

from __future__ import annotations

from graph.folded.constants import Array
from graph.layering.effects import Affine, Apply
from graph.layering.operation import Operation, Pointwise, Result
from graph.layering.values import Value
from graph.operators.joining import joined, scaled
from graph.operators.reduce import reduced, squared
from graph.primitives import StepOp


def instance_normalization(operation: Operation) -> Result:
    """Every channel's map to mean 0 and variance 1, then scale and bias."""
    value = operation.map_input()
    result = _normalized(operation, value, list(range(2, value.rank)))
    return _affine(operation, result, value.shape[1], value.rank)


def group_normalization(operation: Operation) -> Result:
    """Every group of channels, all places together, to mean 0 and variance 1, then scale and bias."""
    value = operation.map_input()
    groups = operation.integer("num_groups", 1)
    channels = value.shape[1]
    if groups < 1 or channels % groups:
        raise operation.error(f"{groups} groups of {channels} channels; expected a divisor")
    wide = operation.reshaped(value, [value.shape[0], groups, channels // groups, *value.shape[2:]])
    result = _normalized(operation, wide, list(range(2, wide.rank)))
    count = operation.constant(1).size
    if count == groups and count != channels:
        return operation.reshaped(operation.emit(_affine(operation, result, groups, wide.rank)), value.shape)
    return _affine(operation, operation.reshaped(result, value.shape), channels, value.rank)


def _normalized(operation: Operation, value: Value, axes: list[int]) -> Value:
    value = operation.stored(value)
    mean = reduced(operation, value, axes, "average")
    centred = operation.emit(joined(operation, StepOp.SUB, [value, mean]))
    variance = reduced(operation, squared(operation, centred), axes, "average")
    effects = (Affine(shift=operation.number("epsilon", 1e-5)), Apply(StepOp.SQRT))
    deviation = operation.emit(Pointwise((variance,), variance, effects))
    return operation.emit(joined(operation, StepOp.DIV, [centred, deviation]))


def _affine(operation: Operation, value: Value, size: int, rank: int) -> Pointwise:
    def vector(index: int) -> Array:
        return operation.vector(index, size).reshape(size, *(1,) * (rank - 2))

    return scaled(operation, value, vector(1), vector(2))
