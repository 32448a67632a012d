"""RotaryEmbedding (opset 23): pairs of features turned by an angle that depends on the token's position (Su et al.,
2021, arXiv:2104.09864, equation 34)."""

from __future__ import annotations

import numpy as np

from graph.folded.constants import Array
from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.operators.gather import embedding
from graph.operators.joining import joined
from graph.operators.pieces import concatenated, part
from graph.primitives import StepOp


def rotary_embedding(operation: Operation) -> Value:
    """(a cos - b sin, a sin + b cos) for every pair (a, b): the features times cos, plus the pairs the other way round
    times -sin and sin.

    The input is (B, heads, T, D) or (B, T, heads x D); the first `rotary_embedding_dim` of the D features are turned,
    pairs of neighbours with `interleaved`, else of the two halves.
    """
    value = _tokens_first(operation)
    batch, tokens, heads, width = value.shape
    turning = operation.integer("rotary_embedding_dim", 0) or width
    if turning % 2 or turning > width:
        raise operation.error(f"turns {turning} of {width} features; expected an even number of them")
    found = _turned(operation, part(operation, value, 3, 0, 1, turning))
    if turning < width:
        rest = part(operation, value, 3, turning, 1, width - turning)
        found = concatenated(operation, [found, rest], 3)
    if operation.value().rank == 4:
        return found.transposed([0, 2, 1, 3])
    return operation.reshaped(found, [batch, tokens, heads * width])


def _tokens_first(operation: Operation) -> Value:
    """The input as (B, T, heads, D)."""
    value = operation.value()
    if value.rank == 4:
        return value.transposed([0, 2, 1, 3])
    heads = operation.integer("num_heads", 0)
    if value.rank != 3 or heads < 1 or value.shape[2] % heads:
        raise operation.error(
            f"input 0 has shape {operation.text(value)} for {heads} heads; expected (B, heads, T, D) or "
            "(B, T, heads x D)"
        )
    batch, tokens, width = value.shape
    return operation.reshaped(value, [batch, tokens, heads, width // heads])


def _turned(operation: Operation, value: Value) -> Value:
    """All features of (B, T, heads, D) turned."""
    batch, tokens, heads, width = value.shape
    half = width // 2
    neighbours = bool(operation.integer("interleaved", 0))
    pair = 4 if neighbours else 3
    shape = [batch, tokens, heads, half, 2] if neighbours else [batch, tokens, heads, 2, half]
    pairs = operation.arranged(operation.reshaped(value, shape), rows=[1], channels=[2, 3, 4])
    swapped = part(operation, pairs, pair, 1, -1, 2)
    swapped = operation.arranged(swapped, rows=[1], channels=[2, 3, 4])
    cosines, sines = (_angles(operation, place, tokens, half, pair) for place in (1, 2))
    signs = np.array([-1, 1], np.float32).reshape([2 if axis == pair else 1 for axis in range(5)])
    if isinstance(sines, Value):
        swapped = operation.emit(joined(operation, StepOp.MUL, [swapped, signs]))
    else:
        sines = sines * signs
    kept = operation.emit(joined(operation, StepOp.MUL, [pairs, cosines]))
    moved = operation.emit(joined(operation, StepOp.MUL, [swapped, sines]))
    found = operation.emit(joined(operation, StepOp.ADD, [moved, kept]))
    return operation.reshaped(found, [batch, tokens, heads, width])


def _angles(operation: Operation, place: int, tokens: int, half: int, pair: int) -> Value | Array:
    """The cosines or sines of input `place` as (B or 1, T, 1, 1, half), or (B or 1, T, 1, half, 1) for pairs of
    neighbours."""
    item = operation.operand(place)
    positions = operation.item(3)
    if not isinstance(item, Value):
        item = operation.weight(place)
    if positions is not None:
        if isinstance(item, Value):
            raise operation.error(f"input {place} is an activation that positions index; expected a constant")
        if isinstance(positions, Value):
            item = operation.emit(embedding(operation, item, positions, 3))
        elif (
            positions.size
            and positions.dtype.kind == "i"
            and positions.min() >= 0
            and positions.max() < item.shape[0]
        ):
            item = item[positions]
        else:
            raise operation.error(
                f"positions {positions.ravel()[:8].tolist()}; expected integers from 0 to {item.shape[0] - 1}"
            )
    if len(item.shape) != 3 or item.shape[1:] != (tokens, half):
        raise operation.error(
            f"input {place} gives angles of shape {list(item.shape)}; expected [B, {tokens}, {half}]"
        )
    shape = [item.shape[0], tokens, 1, half, 1] if pair == 4 else [item.shape[0], tokens, 1, 1, half]
    return operation.reshaped(item, shape) if isinstance(item, Value) else item.reshape(shape)
