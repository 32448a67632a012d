"""LSTM and GRU, unrolled over time: the inputs' share of all steps at once, then layers for every step."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from graph.constants import Array
from graph.effects import Affine, Apply
from graph.operation import Operation, Pointwise
from graph.operators.joining import joined
from graph.operators.linear import linear
from graph.operators.pieces import concatenated, part
from graph.primitives import StepOp
from graph.values import Value

State = list[Value | Array | None]
Step = Callable[[Value, State], list[Value]]
"""From a step's input and the state before it (None for zeros) to the state after it, the output first."""


def lstm(operation: Operation) -> tuple[Value | None, ...]:
    """Y, Y_h and Y_c of an LSTM without peepholes."""
    _check(operation, ["Sigmoid", "Tanh", "Tanh"])
    operation.require("input_forget", 0)
    if operation.item(7) is not None:
        raise operation.error("has peepholes; expected none")
    return _unrolled(operation, gates=4, states=2)


def gru(operation: Operation) -> tuple[Value | None, ...]:
    """Y and Y_h of a GRU."""
    _check(operation, ["Sigmoid", "Tanh"])
    return _unrolled(operation, gates=3, states=1)


def _check(operation: Operation, activations: list[str]) -> None:
    given = [item.decode() for item in operation.attributes.get("activations", [])]
    count = 2 if operation.word("direction", "forward") == "bidirectional" else 1
    if given and given != activations * count:
        raise operation.error(f"attribute activations is {given}; expected {activations}")
    if "clip" in operation.attributes:
        raise operation.error("attribute clip is set; expected none")
    operation.require("layout", 0)


def _unrolled(operation: Operation, gates: int, states: int) -> tuple[Value | None, ...]:
    value = operation.value()
    if value.rank != 3 or value.has_batch(0) or value.has_batch(2):
        raise operation.error(f"input 0 has shape {operation.text(value)}; expected (T, B, D)")
    weights, recurrent = operation.weight(1), operation.weight(2)
    direction = operation.word("direction", "forward")
    count = 2 if direction == "bidirectional" else 1
    hidden = int(recurrent.shape[-1])
    length, batch, features = value.shape
    if weights.shape != (count, gates * hidden, features) or recurrent.shape != (
        count,
        gates * hidden,
        hidden,
    ):
        raise operation.error(
            f"weights of shapes {list(weights.shape)} and {list(recurrent.shape)}; "
            f"expected [{count}, {gates} x hidden, {features}] and [{count}, {gates} x hidden, hidden]"
        )
    lengths = operation.optional_constant(4)
    if lengths is not None and (lengths != length).any():
        raise operation.error(f"sequence lengths {lengths.tolist()[:8]}; expected {length} for all")
    bias = operation.optional_constant(3)
    if bias is None:
        bias = np.zeros((count, 2 * gates * hidden), np.float32)
    outputs: list[Value] = []
    finals: list[list[Value]] = [[] for _ in range(states)]
    for way in range(count):
        state = [_initial(operation, 5 + i, way, batch, hidden) for i in range(states)]
        own, other = np.split(bias[way], 2)
        build = _lstm_step if gates == 4 else _gru_step
        step, offset = build(operation, recurrent[way], own, other)
        shares = operation.emit(
            linear(operation, value, weights[way], (Affine(shift=offset.astype(np.float64)),))
        )
        backwards = direction == "reverse" or way == 1
        found: list[Value] = []
        for time in reversed(range(length)) if backwards else range(length):
            now = part(operation, shares, 0, time, 1, 1)
            current = step(operation.reshaped(now, [batch, gates * hidden]), state)
            state = [*current]
            found.append(current[0])
        ordered = found[::-1] if backwards else found
        outputs.append(_stacked(operation, ordered, [1, 1, batch, hidden], 0))
        for place in range(states):
            finals[place].append(current[place])
    results: list[Value | None] = [concatenated(operation, outputs, 1)]
    for final in finals:
        results.append(_stacked(operation, final, [1, batch, hidden], 0))
    names = operation.node.output
    return tuple(result if name else None for name, result in zip(names, results, strict=False))


def _stacked(operation: Operation, values: Sequence[Value], shape: list[int], axis: int) -> Value:
    return concatenated(operation, [operation.reshaped(value, shape) for value in values], axis)


def _initial(operation: Operation, index: int, way: int, batch: int, hidden: int) -> Value | Array | None:
    item = operation.item(index)
    if item is None:
        return None
    if isinstance(item, Value):
        return operation.reshaped(part(operation, item, 0, way, 1, 1), [batch, hidden])
    array: Array = item[way]
    return array


def _recurrent(operation: Operation, state: Value | Array, weight: Array, shift: Array | None) -> Value:
    if not isinstance(state, Value):
        state = operation.constant_tensor(
            state, f"{operation.node.output[0]}//{len(operation.emitter.constants)}"
        )
    effects = () if shift is None else (Affine(shift=shift.astype(np.float64)),)
    return operation.emit(linear(operation, state, weight, effects))


def _gate(operation: Operation, value: Value, place: int, hidden: int, op: StepOp) -> Value:
    found = operation.stored(part(operation, value, 1, place * hidden, 1, hidden))
    return operation.emit(Pointwise((found,), found, (Apply(op),)))


def _lstm_step(operation: Operation, recurrent: Array, own: Array, other: Array) -> tuple[Step, Array]:
    hidden = int(recurrent.shape[1])

    def step(now: Value, state: State) -> list[Value]:
        before, cell = state
        if before is not None:
            share = _recurrent(operation, before, recurrent, None)
            now = operation.emit(joined(operation, StepOp.ADD, [share, now]))
        i, o, f = (_gate(operation, now, place, hidden, StepOp.SIGMOID) for place in range(3))
        c = operation.emit(joined(operation, StepOp.MUL, [_gate(operation, now, 3, hidden, StepOp.TANH), i]))
        if cell is not None:
            kept = operation.emit(joined(operation, StepOp.MUL, [f, cell]))
            c = operation.emit(joined(operation, StepOp.ADD, [c, kept]))
        squashed = operation.emit(Pointwise((c,), c, (Apply(StepOp.TANH),)))
        return [operation.emit(joined(operation, StepOp.MUL, [squashed, o])), c]

    return step, own + other


def _gru_step(operation: Operation, recurrent: Array, own: Array, other: Array) -> tuple[Step, Array]:
    hidden = int(recurrent.shape[1])
    late = bool(operation.integer("linear_before_reset", 0))
    offset = own + other
    if late:
        # The bias of the hidden gate's state is inside the reset.
        offset = own.copy()
        offset[: 2 * hidden] += other[: 2 * hidden]

    def step(now: Value, state: State) -> list[Value]:
        before = state[0]
        two = part(operation, now, 1, 0, 1, 2 * hidden)
        if before is not None:
            share = _recurrent(operation, before, recurrent[: 2 * hidden], None)
            two = operation.emit(joined(operation, StepOp.ADD, [share, two]))
        z, r = (_gate(operation, two, place, hidden, StepOp.SIGMOID) for place in range(2))
        new: Value = part(operation, now, 1, 2 * hidden, 1, hidden)
        last, shift = recurrent[2 * hidden :], other[2 * hidden :]
        if late:
            if before is not None:
                share = _recurrent(operation, before, last, shift)
                share = operation.emit(joined(operation, StepOp.MUL, [share, r]))
            else:
                share = operation.emit(joined(operation, StepOp.MUL, [r, shift]))
            new = operation.emit(joined(operation, StepOp.ADD, [share, new]))
        elif before is not None:
            reset = operation.emit(joined(operation, StepOp.MUL, [r, before]))
            share = _recurrent(operation, reset, last, None)
            new = operation.emit(joined(operation, StepOp.ADD, [share, new]))
        new = operation.stored(new)
        new = operation.emit(Pointwise((new,), new, (Apply(StepOp.TANH),)))
        # (1 - z) new + z before
        if before is None:
            kept = operation.emit(Pointwise((z,), z, (Affine(-1.0, 1.0),)))
            return [operation.emit(joined(operation, StepOp.MUL, [kept, new]))]
        change = operation.emit(joined(operation, StepOp.SUB, [before, new]))
        change = operation.emit(joined(operation, StepOp.MUL, [change, z]))
        return [operation.emit(joined(operation, StepOp.ADD, [change, new]))]

    return step, offset
