"""Cycles of instructions: the only place they come from, for lowering and for decoded kernels alike.

The compiled functions take the machine as a MachineTable and plain integers; the others say how many
operations a vector instruction makes of a primitive.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from graph.primitives import (
    Anchor,
    ChannelNorm,
    ChannelReduce,
    Contraction,
    Embedding,
    MatMul,
    Normalize,
    Rearrange,
    Softmax,
    Step,
    StepOp,
    VectorClass,
    Window,
)
from hwmodel.compiled import compiled
from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_table import STREAMS_INPUTS, STREAMS_OUTPUTS, UNROLLED, MachineTable
from hwmodel.programs.isa import StepCode, VectorKind

Work = dict[VectorClass, int]
"""Operations of each class that a vector instruction makes for one element of its output."""

STEP_CODES = {op: StepCode[op.name] for op in StepOp}

_ADD, _MUL, _MAX = (Counter({name: 1}) for name in (VectorClass.ADD, VectorClass.MUL, VectorClass.MAX))
_EXP, _DIV = (Counter({name: 1}) for name in (VectorClass.EXP, VectorClass.DIV))
_NONE = Counter[VectorClass]()

_POWER = _EXP + _EXP + _MUL
_ANGLE = _EXP + _MUL + _MUL
_ERF = _EXP + _DIV + Counter({VectorClass.MUL: 4, VectorClass.ADD: 4})
_SIGMOID = _EXP + _ADD + _DIV
_SOFTPLUS = _EXP + _EXP + _ADD

_STEP_WORK: dict[StepCode, Counter[VectorClass]] = {
    StepCode.ADD: _ADD,
    StepCode.SUB: _ADD,
    StepCode.RSUB: _ADD,
    StepCode.MUL: _MUL,
    StepCode.DIV: _DIV,
    StepCode.RDIV: _DIV,
    StepCode.MAX: _MAX,
    StepCode.MIN: _MAX,
    StepCode.POW: _POWER,
    StepCode.RPOW: _POWER,
    StepCode.LESS: _MAX,
    StepCode.LESS_OR_EQUAL: _MAX,
    StepCode.GREATER: _MAX,
    StepCode.GREATER_OR_EQUAL: _MAX,
    StepCode.EQUAL: _MAX,
    StepCode.KEEP_IF: _MAX,
    StepCode.KEEP_UNLESS: _MAX,
    StepCode.PRELU: _MAX + _MUL,
    StepCode.ELU: _EXP + _MUL + _ADD + _MAX,
    StepCode.RELU: _MAX,
    StepCode.CLIP: _MAX + _MAX,
    StepCode.ABS: _MAX,
    StepCode.SIGN: _MAX,
    StepCode.FLOOR: _MAX,
    StepCode.CEIL: _MAX,
    StepCode.ROUND: _MAX,
    StepCode.EXP: _EXP,
    StepCode.LOG: _EXP,
    StepCode.SQRT: _DIV,
    StepCode.ERF: _ERF,
    StepCode.SIN: _ANGLE,
    StepCode.COS: _ANGLE,
    StepCode.TANH: _SIGMOID,
    StepCode.SIGMOID: _SIGMOID,
    StepCode.SOFTPLUS: _SOFTPLUS,
    StepCode.GELU: _ERF + _MUL + _MUL + _ADD,
    StepCode.GELU_TANH: _SIGMOID + Counter({VectorClass.MUL: 4, VectorClass.ADD: 2}),
    StepCode.SILU: _SIGMOID + _MUL,
    StepCode.MISH: _SOFTPLUS + _SIGMOID + _MUL,
}

WINDOWS = {
    "max": VectorKind.WINDOW_MAX,
    "min": VectorKind.WINDOW_MIN,
    "average": VectorKind.WINDOW_AVERAGE,
}
"""The vector kind of each mode of graph.primitives.Window."""

REDUCTIONS = {
    "sum": VectorKind.REDUCE_SUM,
    "average": VectorKind.REDUCE_AVERAGE,
    "max": VectorKind.REDUCE_MAX,
    "min": VectorKind.REDUCE_MIN,
}
"""The vector kind of each mode of graph.primitives.ChannelReduce."""


@compiled
def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up; b is positive."""
    return -(-a // b)


@compiled
def matrix_cycles(
    m: MachineTable, images: int, rows: int, columns: int, out_channels: int, in_channels: int, taps: int
) -> int:
    """Cycles for which a contraction of these extents on one core holds the matrix engine.

    `in_channels` are those of one group, `taps` the kernel positions: each is a contraction of its own, or with
    im2col a part of the reduction. Results are there `m.matrix_drain` cycles later.

    An unrolled engine takes a cycle for each step that is not unrolled. A systolic array takes folds, of R x C that
    stay and what streams through them; where folds do not overlap, the sum is SCALE-Sim's closed form:

        output stationary  ceil(M/R) ceil(N/C) (K + R + C - 2) - 1
        weight stationary  ceil(K/R) ceil(N/C) (M + 2R + C - 2) - 1
        input stationary   ceil(K/R) ceil(M/C) (N + 2R + C - 2) - 1

    with M = images x rows x columns, K = in_channels (x taps) and N = out_channels. Where they overlap, a fold holds
    the array while it streams, but for R cycles at least: so long the next operand takes to come in and the last
    results to go out.
    """
    if m.f_pixels > 1:
        pixels = ceil_div(images * rows * columns, m.f_pixels)
    else:
        pixels = images * ceil_div(rows, m.f_rows) * ceil_div(columns, m.f_columns)
    outputs = ceil_div(out_channels, m.f_out_channels)
    if m.im2col:
        in_channels, taps = in_channels * taps, 1
    inputs = ceil_div(in_channels, m.f_in_channels)
    steps = pixels * outputs * inputs * taps
    if m.streamed == UNROLLED or steps == 0:
        return m.matrix_issue + steps
    stream = pixels
    if m.streamed == STREAMS_INPUTS:
        stream = inputs
    elif m.streamed == STREAMS_OUTPUTS:
        stream = outputs
    cycles = steps // stream * (max(stream, m.fold_least) + m.fold_fill)
    if m.fold_least == 0:
        cycles -= 1
    return m.matrix_issue + cycles


@compiled
def matmul_cycles(
    m: MachineTable, images: int, rows: int, columns: int, out_channels: int, in_channels: int
) -> int:
    """Cycles for which a product of activations, one for each image, holds the matrix engine.

    The images' second operands differ, so pixels of different images are never merged. Results are there
    `m.matrix_drain` cycles later.
    """
    one = matrix_cycles(m, 1, rows, columns, out_channels, in_channels, 1) - m.matrix_issue
    return m.matrix_issue + images * one


@compiled
def vector_cycles(m: MachineTable, elements: int, passes: int) -> int:
    """Cycles of a vector instruction with `elements` outputs on one core, `passes` cycles per element."""
    return ceil_div(elements, m.lanes) * passes


@compiled
def dram_cycles(m: MachineTable, size_bytes: int, writes: int) -> int:
    """Cycles for which bytes, in whole bursts, hold the link to DRAM; all that crosses it takes its time from here."""
    return ceil_div(size_bytes * m.dram_period, m.dram_write if writes else m.dram_read)


@compiled
def dram_rate(m: MachineTable, writes: int) -> float:
    """Bytes a cycle that the link to DRAM sustains, for estimates and for printing."""
    return (m.dram_write if writes else m.dram_read) / m.dram_period


@compiled
def link_cycles(m: MachineTable, size_bytes: int, in_llb: int, writes: int) -> int:
    """Cycles for which bytes hold the link of the LLB, or of DRAM (there in whole bursts)."""
    if in_llb:
        return ceil_div(size_bytes, m.llb_write if writes else m.llb_read)
    return dram_cycles(m, size_bytes, writes)


@compiled
def transfer_startup(m: MachineTable, in_llb: int) -> int:
    """Cycles of a core's transfer before its first byte: the queue's own, and DRAM's latency where it goes there."""
    return m.dma_startup + (0 if in_llb else m.dram_latency)


@compiled
def dma_hold(m: MachineTable, core_bytes: int, link_bytes: int, in_llb: int, writes: int) -> int:
    """Cycles for which a transfer holds the DMA queues of its cores.

    `core_bytes` is the most that one core moves, `link_bytes` what crosses the link in all. The link itself
    is held for `link_cycles`; a queue has one transfer on its way at a time, so it is held from the request on.
    """
    most = max(ceil_div(core_bytes, m.dma_bytes), link_cycles(m, link_bytes, in_llb, writes))
    return transfer_startup(m, in_llb) + most


@compiled
def system_copy_cycles(
    m: MachineTable, size_bytes: int, dram_bytes: int, to_dram: int
) -> tuple[int, int, int]:
    """Cycles for which a copy holds the DRAM link, the LLB link, and the system DMA; `dram_bytes` are `size_bytes` in
    whole bursts. `m` has a system DMA."""
    on_dram = dram_cycles(m, dram_bytes, to_dram)
    on_llb = link_cycles(m, size_bytes, 1, 1 - to_dram)
    own = ceil_div(size_bytes, m.sdma_bytes)
    return on_dram, on_llb, m.sdma_startup + m.dram_latency + max(own, max(on_dram, on_llb))


def vector_work(
    kind: VectorKind, taps: int, size: int, steps: Sequence[StepCode], variant: bool = False
) -> Work:
    """Operations per output element of a VECTOR instruction.

    `taps` counts the positions of a window, `size` the neighbours of a channel norm or the channels of a group;
    other kinds ignore them. `variant` is the center of a NORM or the log of a SOFTMAX. A COPY is no operation
    of its own where steps read its input anyway.
    """
    work = dict.fromkeys(VectorClass, 0)
    if kind is not VectorKind.COPY or not steps:
        work |= _anchor_work(kind, taps, size, variant)
    for step in steps:
        for name, count in _STEP_WORK[step].items():
            work[name] += count
    return work


def _anchor_work(kind: VectorKind, taps: int, size: int, variant: bool) -> Counter[VectorClass]:
    """What a VECTOR does before its steps."""
    if kind in (VectorKind.WINDOW_MAX, VectorKind.WINDOW_MIN):
        return Counter({VectorClass.MAX: taps})
    if kind is VectorKind.WINDOW_AVERAGE:
        return Counter({VectorClass.ADD: taps}) + _MUL
    if kind is VectorKind.CHANNEL_NORM:
        return Counter({VectorClass.ADD: size}) + _MUL + _MUL + _EXP + _DIV
    if kind is VectorKind.SOFTMAX:
        return _MAX + _ADD + _EXP + Counter({VectorClass.REDUCE: 1}) + (_ADD + _EXP if variant else _DIV)
    if kind is VectorKind.NORM:
        return Counter({VectorClass.REDUCE: 1 + variant, VectorClass.ADD: int(variant), VectorClass.MUL: 2})
    if kind in (VectorKind.REDUCE_SUM, VectorKind.REDUCE_AVERAGE):
        scale = _MUL if kind is VectorKind.REDUCE_AVERAGE else _NONE
        return Counter({VectorClass.REDUCE: size}) + scale
    if kind in (VectorKind.REDUCE_MAX, VectorKind.REDUCE_MIN):
        return Counter({VectorClass.MAX: size})
    return Counter({VectorClass.MOVE: 1})  # ACCUMULATOR, COPY and REARRANGE


def passes_of(machine: Machine, work: Work) -> int:
    """Cycles that the vector engine spends on each lane-element."""
    return sum(count * machine.vector.cycles[name] for name, count in work.items())


def _layer_work(anchor: Anchor, steps: Sequence[Step]) -> Work:
    if isinstance(anchor, Embedding) and not steps:
        return dict.fromkeys(VectorClass, 0)  # the DMA has written all of it
    kind, taps, size, variant = VectorKind.COPY, 1, 1, False
    if isinstance(anchor, Contraction | MatMul):
        kind = VectorKind.ACCUMULATOR
    elif isinstance(anchor, Window):
        kind, taps = WINDOWS[anchor.mode], anchor.kernel_h * anchor.kernel_w
    elif isinstance(anchor, ChannelNorm):
        kind, size = VectorKind.CHANNEL_NORM, anchor.size
    elif isinstance(anchor, Softmax):
        kind, size, variant = VectorKind.SOFTMAX, anchor.group, anchor.log
    elif isinstance(anchor, Normalize):
        kind, size, variant = VectorKind.NORM, anchor.group, anchor.center
    elif isinstance(anchor, ChannelReduce):
        kind, size = REDUCTIONS[anchor.mode], anchor.group
    elif isinstance(anchor, Rearrange):
        kind = VectorKind.REARRANGE
    return vector_work(kind, taps, size, [STEP_CODES[step.op] for step in steps], variant)


def vector_passes(machine: Machine, anchor: Anchor, steps: Sequence[Step]) -> int:
    """Cycles per output lane-element of the vector instruction that ends a layer."""
    return passes_of(machine, _layer_work(anchor, steps))


def vector_ops(anchor: Anchor, steps: Sequence[Step]) -> int:
    """Vector operations per output element of a layer, whatever they cost; energy counts them."""
    return sum(_layer_work(anchor, steps).values())
