"""LSTM, GRU and RNN, unrolled over time: the inputs' share of all steps at once, then layers for every step.

The two ways of a bidirectional one take their steps together, each at its own time, as two groups of channels. The
way back reads its input in reverse, once for all steps, so a step of both ways is one row of the inputs' share.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from graph.folded.constants import Array
from graph.layering.effects import Affine, Apply, Effect, Limit
from graph.layering.operation import Operation, Pointwise
from graph.layering.values import Value
from graph.operators.joining import joined
from graph.operators.linear import grouped_linear, linear
from graph.operators.pieces import concatenated, part
from graph.primitives import StepOp

State = list[Value | None]
Step = Callable[[Value, State], list[Value]]
"""From a step's input and the state before it (None for zeros) to the state after it, the output first; all of
them (B, ways, ..).
"""


def lstm(operation: Operation) -> tuple[Value | None, ...]:
    """Y, Y_h and Y_c of an LSTM without peepholes."""
    _check(operation, [["Sigmoid", "Tanh", "Tanh"]])
    operation.require("input_forget", 0)
    if operation.item(7) is not None:
        raise operation.error("has peepholes; expected none")
    return _unrolled(operation, gates=4, states=2)


def gru(operation: Operation) -> tuple[Value | None, ...]:
    """Y and Y_h of a GRU."""
    _check(operation, [["Sigmoid", "Tanh"]])
    return _unrolled(operation, gates=3, states=1)


def rnn(operation: Operation) -> tuple[Value | None, ...]:
    """Y and Y_h of a plain recurrent network: f(x W + h R + b), f Tanh or Relu."""
    _check(operation, [["Tanh"], ["Relu"]])
    return _unrolled(operation, gates=1, states=1)


def _check(operation: Operation, expected: list[list[str]]) -> None:
    """Refuse activations that are none of the expected (the first being the default), and all else not supported."""
    given = [item.decode() for item in operation.attributes.get("activations", [])]
    count = 2 if operation.word("direction", "forward") == "bidirectional" else 1
    if given and given not in [activations * count for activations in expected]:
        wanted = " or ".join(str(activations) for activations in expected)
        raise operation.error(f"attribute activations is {given}; expected {wanted}")
    if "clip" in operation.attributes:
        raise operation.error("attribute clip is set; expected none")
    operation.require("layout", 0)


def _unrolled(operation: Operation, gates: int, states: int) -> tuple[Value | None, ...]:
    value = operation.value()
    if value.rank != 3 or value.has_batch(0) or value.has_batch(2):
        raise operation.error(f"input 0 has shape {operation.text(value)}; expected (T, B, D)")
    weights, recurrent = operation.weight(1), operation.weight(2)
    direction = operation.word("direction", "forward")
    count, reverse = (2 if direction == "bidirectional" else 1), direction == "reverse"
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
        raise operation.error(f"sequence lengths {lengths.ravel().tolist()[:8]}; expected {length} for all")
    bias = operation.optional_constant(3)
    if bias is None:
        bias = np.zeros((count, 2 * gates * hidden), np.float32)
    if bias.shape != (count, 2 * gates * hidden):
        raise operation.error(f"input 3 has shape {list(bias.shape)}; expected {[count, 2 * gates * hidden]}")
    own, other = np.split(bias, 2, axis=1)
    step, offset = _STEPS[operation.node.op_type](operation, recurrent, own, other)
    shares = _shares(operation, value, weights, offset)
    like = replace(shares, dims=shares.dims[1:])
    state = [_initial(operation, 5 + i, (count, batch, hidden), like) for i in range(states)]
    found: list[Value] = []
    for time in range(length):
        now = part(operation, shares, 0, length - 1 - time if reverse else time, 1, 1)
        current = step(operation.reshaped(now, [batch, count, gates * hidden]), state)
        state = [*current]
        found.append(current[0])
    finals = [item.transposed([1, 0, 2]) for item in current]
    results = [_sequence(operation, found, reverse), *finals]
    return tuple(
        result if name else None for name, result in zip(operation.node.output, results, strict=False)
    )


def _shares(operation: Operation, value: Value, weights: Array, shift: Array) -> Value:
    """What the inputs (T, B, D) add to the gates of every step, (T, B, ways, gates x hidden), by weights (ways, gates x
    hidden, D); row t holds what the way back needs at its step t, of the input T - 1 - t.
    """
    ways, outputs, features = (int(size) for size in weights.shape)
    length, batch, _ = value.shape
    effects = (Affine(shift=shift.ravel().astype(np.float64)),)
    if ways == 1 or length == 1:
        found = operation.emit(linear(operation, value, weights.reshape(-1, features), effects))
        return operation.reshaped(found, [length, batch, ways, outputs])
    there = operation.arranged(value, rows=[0], channels=[2])
    back = operation.arranged(part(operation, there, 0, length - 1, -1, length), rows=[0], channels=[2])
    both = concatenated(
        operation, [operation.reshaped(way, [length, batch, 1, features]) for way in (there, back)], 2
    )
    product = grouped_linear(operation, both.transposed([1, 2, 0, 3]), weights.transpose(0, 2, 1))
    return operation.emit(replace(product, effects=effects)).transposed([2, 0, 1, 3])


def _sequence(operation: Operation, found: Sequence[Value], reverse: bool) -> Value:
    """(T, ways, B, hidden) of what the steps gave, (B, ways, hidden) each; the second way is reversed."""
    batch, ways, hidden = found[0].shape
    ordered = found[::-1] if reverse else found
    steps = [operation.reshaped(value, [1, batch, ways, hidden]) for value in ordered]
    rows = concatenated(operation, steps, 0)
    if ways == 2:
        there = part(operation, rows, 2, 0, 1, 1)
        back = part(operation, part(operation, rows, 2, 1, 1, 1), 0, len(found) - 1, -1, len(found))
        rows = concatenated(
            operation, [operation.arranged(way, rows=[0], channels=[2, 3]) for way in (there, back)], 2
        )
    return rows.transposed([0, 2, 1, 3])


def _initial(operation: Operation, index: int, shape: tuple[int, ...], like: Value) -> Value | None:
    """A state of `shape`, (ways, B, hidden), before the first step as (B, ways, hidden), its batch as in `like`."""
    if operation.item(index) is None:
        return None
    item = operation.operand(index)
    if item.shape != shape:
        raise operation.error(f"input {index} has shape {list(item.shape)}; expected {list(shape)}")
    if isinstance(item, Value):
        return item.transposed([1, 0, 2])
    name = f"{operation.node.input[index]}//turned"
    return operation.constant_tensor(item.transpose(1, 0, 2), name, like)


def _recurrent(operation: Operation, state: Value, weight: Array, shift: Array | None, name: str) -> Value:
    """State (B, ways, hidden) times a matrix (ways, K, hidden) for each way, which has this name in every step."""
    batch, ways, hidden = state.shape
    state = operation.reshaped(state, [batch, ways, 1, hidden])
    product = replace(grouped_linear(operation, state, weight.transpose(0, 2, 1)), weight_name=name)
    if shift is not None:
        product = replace(product, effects=(Affine(shift=shift.ravel().astype(np.float64)),))
    return operation.reshaped(operation.emit(product), [batch, ways, weight.shape[1]])


def _own(operation: Operation, value: Value) -> Value:
    """A part (B, ways, ..) as a tensor of its own, the ways as groups of channels."""
    return value if value.plain else operation.arranged(value, rows=[0], columns=[], channels=[1, 2])


def _gate(operation: Operation, value: Value, place: int, hidden: int, op: StepOp) -> Value:
    found = _own(operation, part(operation, value, 2, place * hidden, 1, hidden))
    return operation.emit(Pointwise((found,), found, (Apply(op),)))


def _lstm_step(operation: Operation, recurrent: Array, own: Array, other: Array) -> tuple[Step, Array]:
    hidden = int(recurrent.shape[-1])

    def step(now: Value, state: State) -> list[Value]:
        before, cell = state
        if before is not None:
            share = _recurrent(operation, before, recurrent, None, "recurrent")
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
    hidden = int(recurrent.shape[-1])
    late = bool(operation.integer("linear_before_reset", 0))
    offset = own + other
    if late:
        # The bias of the hidden gate's state is inside the reset.
        offset = own.copy()
        offset[:, : 2 * hidden] += other[:, : 2 * hidden]

    def step(now: Value, state: State) -> list[Value]:
        before = state[0]
        two = part(operation, now, 2, 0, 1, 2 * hidden)
        if before is not None:
            share = _recurrent(operation, before, recurrent[:, : 2 * hidden], None, "gates")
            two = operation.emit(joined(operation, StepOp.ADD, [share, two]))
        z, r = (_gate(operation, two, place, hidden, StepOp.SIGMOID) for place in range(2))
        new: Value = part(operation, now, 2, 2 * hidden, 1, hidden)
        last, shift = recurrent[:, 2 * hidden :], other[:, 2 * hidden :]
        if late:
            if before is not None:
                share = _recurrent(operation, before, last, shift, "new")
                share = operation.emit(joined(operation, StepOp.MUL, [share, r]))
            else:
                share = operation.emit(joined(operation, StepOp.MUL, [r, shift]))
            new = operation.emit(joined(operation, StepOp.ADD, [share, new]))
        elif before is not None:
            reset = operation.emit(joined(operation, StepOp.MUL, [r, before]))
            share = _recurrent(operation, reset, last, None, "new")
            new = operation.emit(joined(operation, StepOp.ADD, [share, new]))
        new = _own(operation, new)
        new = operation.emit(Pointwise((new,), new, (Apply(StepOp.TANH),)))
        # (1 - z) new + z before
        if before is None:
            kept = operation.emit(Pointwise((z,), z, (Affine(-1.0, 1.0),)))
            return [operation.emit(joined(operation, StepOp.MUL, [kept, new]))]
        change = operation.emit(joined(operation, StepOp.SUB, [before, new]))
        change = operation.emit(joined(operation, StepOp.MUL, [change, z]))
        return [operation.emit(joined(operation, StepOp.ADD, [change, new]))]

    return step, offset


def _rnn_step(operation: Operation, recurrent: Array, own: Array, other: Array) -> tuple[Step, Array]:
    rectified = operation.attributes.get("activations", [b"Tanh"])[0] == b"Relu"
    effect: Effect = Limit(0.0, None) if rectified else Apply(StepOp.TANH)

    def step(now: Value, state: State) -> list[Value]:
        before = state[0]
        if before is not None:
            share = _recurrent(operation, before, recurrent, None, "recurrent")
            now = operation.emit(joined(operation, StepOp.ADD, [share, now]))
        now = _own(operation, now)
        return [operation.emit(Pointwise((now,), now, (effect,)))]

    return step, own + other


_STEPS = {"LSTM": _lstm_step, "GRU": _gru_step, "RNN": _rnn_step}
