"""Products with constant matrices as Contractions: of the channels where they are, or of a whole map."""

from __future__ import annotations

import math

from graph.folded.constants import Array
from graph.layering.effects import Effect
from graph.layering.layout import merged
from graph.layering.operation import Anchored, Operation
from graph.layering.values import Value, stored_value
from graph.network import AxisMap, RegionMap
from graph.primitives import Contraction

WHOLE = AxisMap(whole=True)


def channel_blocks(groups: int, outputs: int, inputs: int) -> AxisMap:
    """The channel map of `groups` groups, each of `outputs` output channels and `inputs` input channels."""
    if groups == 1:
        return WHOLE
    return AxisMap(stride=inputs, extent=inputs, divisor=outputs)


def linear(operation: Operation, value: Value, weight: Array, effects: tuple[Effect, ...] = ()) -> Anchored:
    """The last dimension of `value` times `weight` (K, D)."""
    outputs, inputs = (int(size) for size in weight.shape)
    last = value.rank - 1
    if inputs != value.image_size(last) or value.has_batch(last):
        raise operation.error(
            f"the weight takes {inputs} features; expected the last dimension of {operation.text(value)}"
        )
    whole = _whole_map(operation, value, weight, effects)
    if whole is not None:
        return whole
    if not value.fills_channels(last):
        others = [axis for axis in range(last) if value.image_size(axis) > 1]
        value = operation.arranged(value, rows=others[:1], columns=others[1:], channels=[last])
    return Anchored(
        anchor=Contraction(outputs, inputs, 1, 1),
        inputs=(value,),
        maps=(RegionMap(AxisMap(), AxisMap(), WHOLE),),
        output=value.with_channels("", outputs, merged(stored_value([outputs], channels=[0]).digits)),
        weight=weight.reshape(outputs, inputs, 1, 1),
        effects=effects,
    )


def _whole_map(
    operation: Operation, value: Value, weight: Array, effects: tuple[Effect, ...]
) -> Anchored | None:
    """The Contraction whose kernel covers the map, where the last dimension is all of a map in any order."""
    last = value.rank - 1
    if not value.plain or value.rows * value.columns == 1 or value.image_size(last) != value.elements:
        return None
    cut = value.axis_digits()
    if cut is None:
        return None
    digits = cut[last]
    storage = sorted(range(len(digits)), key=lambda i: -digits[i].stride)
    axes = [[i for i in storage if value.axis_of(digits[i]) == axis] for axis in (2, 0, 1)]
    order = [0, *(1 + i for axis in axes for i in axis)]
    outputs = int(weight.shape[0])
    kernel = weight.reshape(outputs, *(digit.size for digit in digits)).transpose(order)
    sizes: list[object] = [*value.dims[:-1], outputs]
    return Anchored(
        anchor=Contraction(outputs, value.channels, value.rows, value.columns),
        inputs=(value,),
        maps=(RegionMap(WHOLE, WHOLE, WHOLE),),
        output=stored_value(sizes, channels=[last]),  # type: ignore[arg-type]
        weight=kernel.reshape(outputs, *value.sizes),
        effects=effects,
    )


def grouped_linear(operation: Operation, value: Value, weight: Array) -> Anchored:
    """(.., M, D) times a constant (.., D, K) with batch dimensions, each its own matrix."""
    rank = max(value.rank, weight.ndim)
    weight = weight.reshape((1,) * (rank - weight.ndim) + weight.shape)
    value = value.broadcast((1,) * (rank - value.rank) + value.shape)
    groups = [axis for axis in range(rank - 2) if weight.shape[axis] > 1]
    shape = list(value.shape)
    for axis in groups:
        if value.has_batch(axis):
            raise operation.error("the constant differs from image to image; expected the same for all")
        shape[axis] = int(weight.shape[axis])
        if value.image_size(axis) not in (1, shape[axis]):
            raise operation.error(f"shapes {operation.text(value)} and {list(weight.shape)} do not fit")
    value = value.broadcast(shape)
    others = [axis for axis in range(rank - 1) if axis not in groups]
    value = operation.arranged(value, rows=others, channels=[*groups, rank - 1])
    count = math.prod(shape[axis] for axis in groups)
    inputs, outputs = (int(size) for size in weight.shape[-2:])
    if inputs != shape[-1]:
        raise operation.error(f"the constant takes {inputs} features; expected {shape[-1]}")
    output = stored_value([*value.dims[:-1], outputs], rows=others, channels=[*groups, rank - 1])
    return Anchored(
        anchor=Contraction(count * outputs, count * inputs, 1, 1, groups=count),
        inputs=(value,),
        maps=(RegionMap(AxisMap(), AxisMap(), channel_blocks(count, outputs, inputs)),),
        output=output,
        weight=weight.reshape(count, inputs, outputs).transpose(0, 2, 1).reshape(-1, inputs, 1, 1),
    )
