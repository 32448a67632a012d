"""MatMul: with a constant a Contraction, of two activations the primitive MatMul."""

from __future__ import annotations

import math

import numpy as np

from graph.folded.constants import Array
from graph.layering.layout import Digit, Digits, is_block, merged, ordinal
from graph.layering.operation import Anchored, Operation, Result
from graph.layering.values import Value
from graph.network import AxisMap, RegionMap
from graph.operators.linear import WHOLE, channel_blocks, grouped_linear, linear
from graph.primitives import MatMul


def matmul(operation: Operation) -> Result:
    """A product of matrices, one for each position of the dimensions in front, which broadcast."""
    first, second = operation.operand(0), operation.operand(1)
    if len(first.shape) < 2 or len(second.shape) < 2:
        if isinstance(first, Value) and not isinstance(second, Value) and second.ndim == 1:
            product = operation.emit(linear(operation, first, second[None]))
            return operation.reshaped(product, product.shape[:-1])
        raise operation.error("an input has one dimension; expected matrices")
    if isinstance(first, Value):
        if isinstance(second, Value):
            return product_of(operation, first, second)
        return _by_constant(operation, first, second)
    right = operation.value(1)
    swapped = [*range(right.rank - 2), right.rank - 1, right.rank - 2]
    result = operation.emit(_by_constant(operation, right.transposed(swapped), np.swapaxes(first, -1, -2)))
    return result.transposed([*range(result.rank - 2), result.rank - 1, result.rank - 2])


def _by_constant(operation: Operation, value: Value, array: Array) -> Anchored:
    if all(size == 1 for size in array.shape[:-2]):
        missing = array.ndim - value.rank
        wide = value.broadcast((1,) * max(0, missing) + value.shape)
        return linear(operation, wide, array.reshape(array.shape[-2:]).T)
    return grouped_linear(operation, value, array)


def product_of(operation: Operation, first: Value, second: Value) -> Anchored:
    """The primitive MatMul: groups are the dimensions in front that the second operand has."""
    rank = max(first.rank, second.rank)
    first = first.broadcast((1,) * (rank - first.rank) + first.shape)
    second = second.broadcast((1,) * (rank - second.rank) + second.shape)
    front = range(rank - 2)
    for axis in front:
        fits = first.has_batch(axis) == second.has_batch(axis)
        sizes = {first.image_size(axis), second.image_size(axis)}
        if not fits or len(sizes - {1}) > 1:
            raise operation.error(
                f"shapes {operation.text(first)} and {operation.text(second)} do not fit as batches of matrices"
            )
    if first.has_batch(rank - 1) or any(second.has_batch(axis) for axis in (rank - 2, rank - 1)):
        raise operation.error(
            f"a product of {operation.text(first)} and {operation.text(second)} mixes the images of a batch; "
            "expected the batch in front in both"
        )
    if first.image_size(rank - 1) != second.image_size(rank - 2):
        raise operation.error(f"shapes {operation.text(first)} and {operation.text(second)} do not fit")
    groups = [axis for axis in front if second.image_size(axis) > 1]
    shape = [second.shape[axis] if axis in groups else size for axis, size in enumerate(first.shape)]
    first = first.broadcast(shape)
    inner, outer = rank - 1, rank - 2
    if not (first.plain and is_block(_digits(first, [*groups, inner]), first.channels)):
        others = [axis for axis in front if axis not in groups]
        first = operation.arranged(first, rows=[*others, outer], channels=[*groups, inner])
    transposed = True
    if _is_matrix(second, groups, rows=outer, channels=inner):
        transposed = False
    elif not _is_matrix(second, groups, rows=inner, channels=outer):
        second = operation.arranged(second, rows=[inner], channels=[*groups, outer])
    count = math.prod(second.image_size(axis) for axis in groups)
    reduction, columns = first.image_size(inner), second.image_size(inner)
    block = channel_blocks(count, columns, reduction if transposed else columns)
    if not transposed and count == 1:
        block = AxisMap()
    return Anchored(
        anchor=MatMul(count * columns, reduction, count, transposed),
        inputs=(first, second),
        maps=(
            RegionMap(AxisMap(), AxisMap(), channel_blocks(count, columns, reduction)),
            RegionMap(WHOLE, WHOLE, block),
        ),
        output=_output(first, groups, columns),
    )


def _digits(value: Value, axes: list[int]) -> Digits:
    return tuple(digit for axis in axes for digit in value.dims[axis] if not digit.batch)


def _is_matrix(value: Value, groups: list[int], rows: int, channels: int) -> bool:
    """Whether a value is stored as rows of (groups, channels), with one column."""
    return (
        value.plain
        and value.columns == 1
        and is_block(_digits(value, [*groups, channels]), value.channels)
        and is_block(_digits(value, [rows]), value.rows, value.channels)
    )


def _output(first: Value, groups: list[int], columns: int) -> Value:
    """The rows and columns of the first operand with channels (groups, columns)."""
    sizes = [first.image_size(axis) for axis in groups]
    channels = math.prod(sizes) * columns
    fresh = dict(zip([*groups, first.rank - 1], ordinal([*sizes, columns]), strict=True))
    dims: list[Digits] = []
    for axis, dim in enumerate(first.dims):
        if axis in fresh:
            batch = tuple(digit for digit in dim if digit.batch)
            dims.append((*batch, fresh[axis]))
        else:
            dims.append(
                tuple(d if d.batch else Digit(d.size, d.stride // first.channels * channels) for d in dim)
            )
    return Value("", channels, first.rows, first.columns, tuple(merged(dim) for dim in dims))
