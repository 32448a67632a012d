"""Attention as one operator (from opset 23 on): products, steps and a Softmax, heads as groups of channels."""

from __future__ import annotations

import math

import numpy as np

from graph.folded.constants import Array
from graph.layering.effects import Affine, Apply
from graph.layering.operation import Operation, Pointwise
from graph.layering.values import Element, Value
from graph.operators.joining import joined
from graph.operators.matmul import product_of
from graph.operators.pieces import concatenated
from graph.operators.softmax import softmax_over
from graph.primitives import StepOp

MASKED = -32768.0
"""What masks out, as in graph/folded/masks.py: exp of it is 0 and every element type holds it."""


def attention(operation: Operation) -> tuple[Value | None, ...]:
    """softmax(scale Q K' + mask) V for each head; keys and values may have fewer heads, each for several of theirs.

    Past keys and values stand before the others; all of them are the second and third output. The fourth is the scores
    before masks, or with `qk_matmul_output_mode` 3 their softmax. Refused: the other modes, lengths, and windows, which
    onnxruntime does not know.
    """
    for name in ("left_window_size", "right_window_size"):
        operation.require(name, -1)
    if operation.item(6) is not None:
        raise operation.error(
            "has lengths of keys (input 6); expected queries, keys, values, a mask and a past"
        )
    query, key, value = (_heads(operation, _tensor(operation, place), place) for place in range(3))
    key, value = (_with_past(operation, item, place) for item, place in ((key, 4), (value, 5)))
    present = (key, value)
    batch, heads, tokens, width = query.shape
    key, value = (_repeated(operation, item, heads) for item in (key, value))
    keys = key.shape[2]
    past = keys - operation.operand(1).shape[-2]
    scale = operation.number("scale", 1.0 / math.sqrt(width))
    scores = operation.emit(product_of(operation, query, key.transposed([0, 1, 3, 2])))
    scores = first = operation.emit(Pointwise((scores,), scores, (Affine(scale=scale),)))
    softcap = operation.number("softcap", 0.0)
    if softcap > 0:
        capped = (Affine(scale=1.0 / softcap), Apply(StepOp.TANH), Affine(scale=softcap))
        scores = operation.emit(Pointwise((scores,), scores, capped))
    for mask in _masks(operation, tokens, keys, past):
        scores = operation.emit(joined(operation, StepOp.ADD, [scores, mask]))
    weights = operation.emit(softmax_over(operation, scores, [3]))
    found = operation.emit(product_of(operation, weights, value))
    if len(operation.operand(0).shape) != 4:
        shape = [batch, tokens, heads * value.shape[3]]
        found = operation.reshaped(found.transposed([0, 2, 1, 3]), shape)
    return (found, *present, _scores(operation, first, weights))


def _scores(operation: Operation, first: Value, weights: Value) -> Value | None:
    """The fourth output, where it is read."""
    if operation.node.output[3:] and operation.node.output[3] in operation.read_names:
        mode = operation.integer("qk_matmul_output_mode", 0)
        if mode not in (0, 3):
            raise operation.error(f"gives out scores by qk_matmul_output_mode {mode}; expected 0 or 3")
        return weights if mode else first
    return None


def _tensor(operation: Operation, place: int) -> Value:
    """Input `place`, a constant as a tensor."""
    item = operation.operand(place)
    if isinstance(item, Value):
        return item
    like = next((x for x in operation.inputs if isinstance(x, Value) and x.rank == item.ndim), None)
    return operation.constant_tensor(item, str(operation.node.input[place]), like)


def _with_past(operation: Operation, value: Value, place: int) -> Value:
    """Keys or values (B, heads, T, D) behind those of input `place`."""
    if operation.item(place) is None:
        return value
    if not all([*operation.node.output, "", "", ""][1:3]):
        # onnxruntime asks for them too.
        raise operation.error("has past keys and values, and no present ones as outputs; expected both")
    past = operation.operand(place)
    if not isinstance(past, Value):
        past = operation.constant_tensor(past, str(operation.node.input[place]), value)
    if past.rank != 4:
        raise operation.error(
            f"input {place} has shape {operation.text(past)}; expected (B, heads, past tokens, D)"
        )
    return concatenated(operation, [past, value], 2)


def _heads(operation: Operation, value: Value, place: int) -> Value:
    """(B, heads, T, D) of an input that may be (B, T, heads x D)."""
    if value.rank == 4:
        return value
    count = operation.integer("kv_num_heads" if place else "q_num_heads", 0)
    if value.rank != 3 or count < 1 or value.shape[2] % count:
        raise operation.error(
            f"input {place} has shape {operation.text(value)} for {count} heads; expected (B, heads, T, D) or "
            "(B, T, heads x D)"
        )
    batch, tokens, width = value.shape
    return operation.reshaped(value, [batch, tokens, count, width // count]).transposed([0, 2, 1, 3])


def _repeated(operation: Operation, value: Value, heads: int) -> Value:
    """Keys or values for so many heads, each of their own one after another."""
    batch, count, tokens, width = value.shape
    if heads % count:
        raise operation.error(f"{heads} heads of queries and {count} of keys; expected a multiple")
    if heads == count:
        return value
    parted = operation.reshaped(value, [batch, count, 1, tokens, width])
    return operation.reshaped(
        parted.broadcast([batch, count, heads // count, tokens, width]), [batch, heads, tokens, width]
    )


def _masks(operation: Operation, tokens: int, keys: int, past: int) -> list[Value | Array]:
    """What is added to the scores: one constant for a constant mask and causality, and a mask that is an activation.
    Query i is at position past + i."""
    item = operation.item(3)
    fixed = np.zeros((1, 1))
    if isinstance(item, np.ndarray):
        sizes = zip(item.shape[-2:][::-1], (keys, tokens), strict=False)
        if any(size not in (1, wanted) for size, wanted in sizes) or not item.size:
            raise operation.error(f"the mask has shape {list(item.shape)}; expected [.., {tokens}, {keys}]")
        fixed = np.where(item, 0.0, MASKED) if item.dtype == np.bool_ else np.maximum(item, MASKED)
    if operation.integer("is_causal", 0):
        fixed = np.where(np.tri(tokens, keys, past, np.bool_), fixed, MASKED)
    if operation.emitter.weights and (fixed.max(axis=-1) <= MASKED).any():
        raise operation.error("the mask leaves a query without keys; expected at least one for each")
    masks: list[Value | Array] = [] if fixed.size == 1 else [fixed.astype(np.float32)]
    return [*masks, _added(operation, operation.value(3))] if isinstance(item, Value) else masks


def _added(operation: Operation, mask: Value) -> Value:
    """A mask that is an activation as what is added."""
    mask = operation.stored(mask)
    if operation.element(3) is not Element.BOOLEAN:
        return mask
    return operation.emit(Pointwise((mask,), mask, (Affine(scale=-MASKED, shift=MASKED),)))
