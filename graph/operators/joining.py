"""Element-wise operators with several operands: broadcasting, and constants as numbers, per-channel vectors or
tensors.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from graph.folded.constants import Array
from graph.layering.effects import REVERSED, Affine, Apply, Effect, Factor, Operand
from graph.layering.operation import Operation, Pointwise
from graph.layering.values import Element, Value
from graph.primitives import StepOp


def joined(
    operation: Operation,
    op: StepOp,
    items: Sequence[Value | Array],
    effects: tuple[Effect, ...] = (),
    fixed: bool = False,
) -> Pointwise:
    """`items` joined by `op` from left to right, at least one of them an activation; with `fixed` the first is
    what the steps work on, and an activation. Only ADD, MUL, MAX and MIN may join more than two.
    """
    try:
        shape = np.broadcast_shapes(*(item.shape for item in items))
    except (ValueError, RuntimeError) as error:  # the latter for more dimensions than numpy has
        shapes = " and ".join(str(list(item.shape)) for item in items)
        raise operation.error(f"inputs have shapes {shapes}; expected shapes that broadcast") from error
    main = _main(operation, items, shape, fixed)
    values: list[Value] = []
    steps: list[Effect] = []
    place = 0
    for index, item in enumerate(items):
        if item is main[0]:
            place = len(values)
            values.append(main[1])
            continue
        other = (
            item
            if isinstance(item, Value)
            else operation.constant_tensor(item, _name(operation, item), main[1])
        )
        operand = operation.emitter.operand(main[1], other)
        if operand is None:
            raise operation.error(
                f"inputs of shapes {operation.text(main[1])} and {operation.text(other)} cannot be stored "
                f"alike; expected the batch of {operation.file_batch} in one place"
            )
        turned = op if index else REVERSED[op]
        if isinstance(item, Value) or (factor := _factor(operation, operand)) is None:
            values.append(operand)
        elif op is StepOp.DIV and Element.of(item.dtype) is Element.INTEGER:
            # Times 1 / 3 is not exact, not even for multiples of 3.
            steps.append(Operand(turned, factor))
        else:
            steps.append(constant_effect(turned, factor))
    return Pointwise(
        values=tuple(values),
        output=main[1],
        effects=(*steps, *effects),
        combine=op if len(values) > 1 else None,
        main=place,
        fixed=fixed,
    )


def constant_effect(op: StepOp, factor: Factor) -> Effect:
    """y op a constant, as an Affine where it is one."""
    if op is StepOp.ADD:
        return Affine(shift=factor)
    if op is StepOp.SUB:
        return Affine(shift=-factor)
    if op is StepOp.RSUB:
        return Affine(scale=-1.0, shift=factor)
    if op is StepOp.MUL:
        return Affine(scale=factor)
    if op is StepOp.DIV:
        with np.errstate(divide="ignore"):
            inverse = np.float64(1) / factor
        return Affine(scale=inverse if isinstance(factor, np.ndarray) else float(inverse))
    if op is StepOp.POW and not isinstance(factor, np.ndarray) and factor == 0.5:
        return Apply(StepOp.SQRT)
    return Operand(op, factor)


def truncated(operation: Operation, value: Value) -> Pointwise:
    """`value` rounded towards zero."""
    value = operation.stored(value)
    sign = operation.emit(Pointwise((value,), value, (Apply(StepOp.SIGN),)))
    size = operation.emit(Pointwise((value,), value, (Apply(StepOp.ABS), Apply(StepOp.FLOOR))))
    return Pointwise((size, sign), value, combine=StepOp.MUL)


def scaled(operation: Operation, value: Value, scale: Array | None, shift: Array | None) -> Pointwise:
    """value x scale + shift with constants that broadcast; value is a tensor of its own."""
    found = value
    if scale is not None and shift is not None:
        found = operation.emit(joined(operation, StepOp.MUL, [value, scale]))
    if shift is not None:
        return joined(operation, StepOp.ADD, [found, shift])
    return joined(operation, StepOp.MUL, [found, np.ones((), np.float32) if scale is None else scale])


def _main(
    operation: Operation, items: Sequence[Value | Array], shape: tuple[int, ...], fixed: bool
) -> tuple[Value, Value]:
    """The operand that decides how the result is stored: as it was given, and with all of `shape`."""
    values = [item for item in items if isinstance(item, Value)][: 1 if fixed else None]
    if not values:
        raise operation.error("all inputs are constants; expected an activation")
    for plain in (True, False):
        for value in values:
            if int(np.prod(value.shape)) == int(np.prod(shape)) and value.plain >= plain:
                whole = value.broadcast(shape)
                if plain and whole.axis_digits() is not None:
                    return value, whole
                if not plain:
                    return value, operation.by_default(whole)
    return values[0], operation.by_default(values[0].broadcast(shape))


def _name(operation: Operation, array: Array) -> str:
    for name, item in zip(operation.node.input, operation.inputs, strict=True):
        if item is array:
            return str(name)
    return f"{operation.node.output[0]}//{len(operation.emitter.constants)}"


def _factor(operation: Operation, operand: Value) -> Factor | None:
    """A constant operand as a number or a per-channel vector; None where it varies over places."""
    if operand.rows * operand.columns > 1:
        return None
    array = operation.emitter.constants[operand.source]
    if array.size == 1:
        return float(array.reshape(()))
    return array.reshape(-1).astype(np.float64)
