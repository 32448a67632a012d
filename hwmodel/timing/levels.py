"""Accesses of a core's inner memories: the only place they come from, for lowering and for decoded kernels alike.

A contraction is a nest of three loops over the engine's steps: P (pixels), K (output channels) and R (input channels
and kernel positions). One of their six orders is chosen for each instruction. A memory keeps what the innermost
loops touch, as many of them as it has room for, and gets it anew in every step of the loops around them; so the
order decides which operand stays. docs/machines.md, "Inner memories", has the rules in words.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.machines.level_table import Ints, LevelTable
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import ceil_div, matrix_cycles

READ, WRITE = 0, 1
"""Columns of accesses, which are (n + 2, 2) bytes: the n inner memories, then l1 and the weight buffer."""


class Extents(NamedTuple):
    """One contraction on one core: images B, rows H and columns W of outputs, K of their channels, C input channels
    (of one group), kernel positions T; the rows and columns of the input that it reads, and how many columns of it
    one step of the engine covers."""

    images: int
    rows: int
    columns: int
    out_channels: int
    in_channels: int
    taps: int
    in_rows: int
    in_columns: int
    step_columns: int


# The six orders of the loops P, K and R, innermost first; the first of equally cheap ones is taken. R innermost keeps
# the sums in the registers (output stationary), P the weights (weight stationary), K the inputs (input stationary).
_P, _K, _R = 0, 1, 2
_ORDERS = np.array([[_R, _K, _P], [_R, _P, _K], [_P, _R, _K], [_P, _K, _R], [_K, _R, _P], [_K, _P, _R]])


@compiled
def level_at(ends: Ints, address: int, outer: int) -> int:
    """The level whose part of an address space holds `address`: `outer` behind all inner ones."""
    for level in range(ends.shape[0]):
        if address < ends[level]:
            return level
    return outer


@compiled
def pass_down(t: LevelTable, ends: Ints, level: int, outer: int, size: int, out: Ints) -> None:
    """Count a transfer of `size` bytes into `level` through all memories outside it; the outermost write, which every
    transfer makes, is not counted here."""
    if level == outer:
        return
    out[outer, READ] += size
    for between in range(t.inner - 1, level, -1):
        if ends[between] > 0:
            out[between, WRITE] += size
            out[between, READ] += size
    out[level, WRITE] += size


@compiled
def pass_up(t: LevelTable, ends: Ints, level: int, outer: int, size: int, out: Ints) -> None:
    """Count a transfer of `size` bytes out of `level`; the outermost read is not counted here."""
    if level == outer:
        return
    out[level, READ] += size
    for between in range(level + 1, t.inner):
        if ends[between] > 0:
            out[between, WRITE] += size
            out[between, READ] += size
    out[outer, WRITE] += size


@compiled
def contraction_accesses(
    t: LevelTable,
    m: MachineTable,
    x: Extents,
    input_level: int,
    weight_level: int,
    accumulate: int,
    out: Ints,
) -> int:
    """Add a contraction's accesses to `out` (n + 2, 2) and return the cycles for which it holds the engine.

    `input_level` is the level that holds its input, `weight_level` the one that holds its weights (or, for a product
    of activations, the second operand). The order of the loops is that of least energy; it holds the engine for as
    long as the computation or the busiest port takes, whichever is longer.
    """
    if x.images * x.rows * x.columns * x.out_channels * x.in_channels * x.taps == 0:
        return matrix_cycles(m, x.images, x.rows, x.columns, x.out_channels, x.in_channels, x.taps)
    ideal = matrix_cycles(m, x.images, x.rows, x.columns, x.out_channels, x.in_channels, x.taps)
    best = np.zeros((t.inner + 2, 2), np.int64)
    best_energy, best_hold = 0.0, 0
    for order in range(_ORDERS.shape[0]):
        found = np.zeros((t.inner + 2, 2), np.int64)
        _count_inputs(t, m, x, _ORDERS[order], input_level, found)
        _count_weights(t, m, x, _ORDERS[order], weight_level, found)
        _count_sums(t, m, x, _ORDERS[order], accumulate, found)
        energy, hold = 0.0, ideal
        for level in range(t.inner + 2):
            energy += found[level, READ] * t.read_pj[level] + found[level, WRITE] * t.write_pj[level]
            if not t.registers[level]:
                reading = ceil_div(found[level, READ], t.word_bytes[level])
                writing = ceil_div(found[level, WRITE], t.word_bytes[level])
                hold = max(hold, reading + writing if t.ports[level] == 1 else max(reading, writing))
        if order == 0 or energy < best_energy or (energy == best_energy and hold < best_hold):
            best[:] = found
            best_energy, best_hold = energy, hold
    out += best
    return best_hold


@compiled
def product_accesses(
    t: LevelTable,
    m: MachineTable,
    x: Extents,
    input_level: int,
    second_level: int,
    accumulate: int,
    out: Ints,
) -> int:
    """The same for a product of activations: each image has its own second operand, and is a contraction of its own."""
    if x.images == 0:
        return m.matrix_issue
    one = Extents(
        1,
        x.rows,
        x.columns,
        x.out_channels,
        x.in_channels,
        x.taps,
        x.in_rows,
        x.in_columns,
        x.step_columns,
    )
    found = np.zeros((t.inner + 2, 2), np.int64)
    cycles = contraction_accesses(t, m, one, input_level, second_level, accumulate, found) - m.matrix_issue
    out += found * x.images
    return m.matrix_issue + x.images * cycles


@compiled
def _steps(m: MachineTable, x: Extents) -> tuple[int, int, int, int]:
    """Steps of the loops P, K and R, and the pixels of one step."""
    if m.f_pixels > 1:
        pixels = x.images * x.rows * x.columns
        return (
            ceil_div(pixels, m.f_pixels),
            ceil_div(x.out_channels, m.f_out_channels),
            ceil_div(x.in_channels, m.f_in_channels) * x.taps,
            min(pixels, m.f_pixels),
        )
    return (
        x.images * ceil_div(x.rows, m.f_rows) * ceil_div(x.columns, m.f_columns),
        ceil_div(x.out_channels, m.f_out_channels),
        ceil_div(x.in_channels, m.f_in_channels) * x.taps,
        min(x.rows, m.f_rows) * min(x.columns, m.f_columns),
    )


@compiled
def _inside(order: Ints, kept: int) -> tuple[bool, bool, bool]:
    """Whether P, K and R are among the `kept` innermost loops of an order."""
    has = np.zeros(3, np.bool_)
    for position in range(kept):
        has[order[position]] = True
    return has[_P], has[_K], has[_R]


@compiled
def _is_inside(order: Ints, loop: int, other: int) -> bool:
    """Whether a loop runs inside another."""
    for position in range(order.shape[0]):
        if order[position] == loop or order[position] == other:
            return bool(order[position] == loop)
    return False


@compiled
def _count_inputs(t: LevelTable, m: MachineTable, x: Extents, order: Ints, holder: int, found: Ints) -> None:
    """Reads of the input from its holder to the engine, each byte at once for all output channels of a step.

    A memory that keeps the loop R needs a strip of the input, as high as the instruction's rows and as wide as one
    step's window: it slides over the columns, and no element comes twice.
    """
    steps_p, steps_k, steps_r, pixels = _steps(m, x)
    eb = m.element_bytes
    window = x.images * x.in_rows * x.in_columns * x.in_channels * eb
    uses = x.images * x.rows * x.columns * x.in_channels * x.taps * eb
    need = uses * steps_k
    for level in range(min(holder, t.inner)):
        if not t.inputs[level]:
            continue
        found[level, READ] += need
        fill = need
        for kept in range(4):
            has_p, has_k, has_r = _inside(order, kept)
            if t.registers[level]:
                room = eb * (steps_p if has_p else 1) * (steps_r if has_r else 1)
                once = uses
            elif has_p and has_r:
                room = once = window
            elif has_r:
                room = x.in_rows * min(x.step_columns, x.in_columns) * x.in_channels * eb
                once = window
            else:
                share = min(x.in_channels, m.f_in_channels)
                room = (x.images * x.rows * x.columns if has_p else pixels) * share * eb
                once = uses
            if room > t.bytes[level]:
                break
            fill = min(fill, once * (1 if has_k else steps_k))
        found[level, WRITE] += fill
        need = fill
    found[holder, READ] += need


@compiled
def _count_weights(t: LevelTable, m: MachineTable, x: Extents, order: Ints, holder: int, found: Ints) -> None:
    """Reads of the weights (or second operand) from their holder to the engine, each at once for all pixels."""
    steps_p, steps_k, steps_r, _ = _steps(m, x)
    eb = m.element_bytes
    all_bytes = x.out_channels * x.in_channels * x.taps * eb
    need = all_bytes * steps_p
    for level in range(t.inner):
        if not t.weights[level] or (level >= holder and t.weight_end[holder] > 0):
            continue
        found[level, READ] += need
        fill = need
        for kept in range(4):
            has_p, has_k, has_r = _inside(order, kept)
            if t.registers[level]:
                room = eb * (steps_k if has_k else 1) * (steps_r if has_r else 1)
            else:
                room = x.out_channels if has_k else min(x.out_channels, m.f_out_channels)
                room *= x.in_channels * x.taps if has_r else min(x.in_channels, m.f_in_channels)
                room *= eb
            if room > t.bytes[level]:
                break
            fill = min(fill, all_bytes * (1 if has_p else steps_p))
        found[level, WRITE] += fill
        need = fill
    found[holder, READ] += need


@compiled
def _count_sums(
    t: LevelTable, m: MachineTable, x: Extents, order: Ints, accumulate: int, found: Ints
) -> None:
    """Accesses of partial sums: every step updates registers; sums that the registers cannot keep go out to the first
    buffer of outputs that has room for those that are unfinished, else to l1, and come back."""
    steps_p, steps_k, steps_r, pixels = _steps(m, x)
    sums = x.images * x.rows * x.columns * x.out_channels
    size = sums * t.sum_bytes
    rounds = steps_r
    for level in range(t.inner):
        if t.registers[level] and t.outputs[level]:
            found[level, READ] += size * steps_r
            found[level, WRITE] += size * (steps_r + accumulate)
            for kept in range(4):
                has_p, has_k, has_r = _inside(order, kept)
                if t.sum_bytes * (steps_p if has_p else 1) * (steps_k if has_k else 1) > t.bytes[level]:
                    break
                if has_r:
                    rounds = 1
    if rounds > 1:  # those that the loops inside R touch are unfinished at one time
        held = (sums // x.out_channels if _is_inside(order, _P, _R) else pixels) * t.sum_bytes
        held *= x.out_channels if _is_inside(order, _K, _R) else min(x.out_channels, m.f_out_channels)
    else:
        held = 0
    if accumulate:
        held = size
    outside, alone = t.inner, -1  # l1, none
    for level in range(t.inner - 1, -1, -1):
        if t.outputs[level] and not t.registers[level]:
            if not t.inputs[level]:
                alone = level
            if held <= t.bytes[level]:
                outside = level
    out_and_back = size * (rounds - 1 + accumulate)
    found[outside, READ] += out_and_back
    found[outside, WRITE] += out_and_back
    if alone >= 0:  # on their way to the vector engine
        found[alone, READ] += size
        found[alone, WRITE] += size
