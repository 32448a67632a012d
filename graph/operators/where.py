"""Where: one of two operands by a condition, as two steps that keep and a sum; exact also with infinities."""

from __future__ import annotations

import math

import numpy as np

from graph.folded.constants import Array
from graph.layering.effects import Affine, Apply, Effect
from graph.layering.operation import Operation, Pointwise, Result
from graph.layering.values import Value
from graph.operators.joining import joined
from graph.primitives import StepOp


def where(operation: Operation) -> Result:
    """`a` where the condition holds, else `b`."""
    condition = operation.operand(0)
    terms: list[Value | Array] = []
    for index, keep in ((1, True), (2, False)):
        item = operation.operand(index)
        if isinstance(item, Value):
            op = StepOp.KEEP_IF if keep else StepOp.KEEP_UNLESS
            terms.append(operation.emit(joined(operation, op, [item, condition], fixed=True)))
        elif isinstance(condition, Value):
            term = _constant_term(operation, condition, item, keep)
            terms += [] if term is None else [term]
        else:
            zero = np.float32(0)
            terms.append(np.where(condition, item, zero) if keep else np.where(condition, zero, item))
    if not terms:
        raise operation.error("both operands are 0; expected one that is not")
    if len(terms) == 1 and isinstance(terms[0], Value):
        # The shape may still be that of the other operand.
        shapes = [operation.operand(index).shape for index in range(3)]
        return terms[0].broadcast(np.broadcast_shapes(*shapes))
    return joined(operation, StepOp.ADD, terms)


def _constant_term(operation: Operation, condition: Value, item: Array, keep: bool) -> Value | None:
    """The constant where the condition is 1 (or 0, without `keep`), else 0."""
    if item.size == 1:
        number = float(item.reshape(()))
        if number == 0:
            return None
        effects: tuple[Effect, ...]
        if math.isinf(number):
            # log 0 is the infinity, log 1 is 0.
            sign: tuple[Effect, ...] = (Affine(scale=-1.0),) if number > 0 else ()
            effects = (*((Affine(-1.0, 1.0),) if keep else ()), Apply(StepOp.LOG), *sign)
        else:
            effects = (Affine(number) if keep else Affine(-number, number),)
        condition = operation.stored(condition)
        return operation.emit(Pointwise((condition,), condition, effects))
    if operation.emitter.weights and not np.isfinite(item).all():
        raise operation.error("a constant operand of several elements is not finite; expected one number")
    if not keep:
        condition = operation.stored(condition)
        condition = operation.emit(Pointwise((condition,), condition, (Affine(-1.0, 1.0),)))
    return operation.emit(joined(operation, StepOp.MUL, [condition, item]))
