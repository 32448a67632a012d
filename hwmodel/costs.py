"""Cycles of instructions: the only place they come from, for lowering and for decoded kernels alike.

The compiled functions take the machine as a MachineTable and plain integers; the others say how many
operations a vector instruction makes of a primitive.
"""

from __future__ import annotations

from collections.abc import Sequence

from graph.primitives import Anchor, ChannelNorm, Contraction, Softmax, Step, StepOp, VectorClass, Window
from hwmodel.compiled import compiled
from hwmodel.isa import StepCode, VectorKind
from hwmodel.machine import Machine
from hwmodel.machine_table import MachineTable

Work = dict[VectorClass, int]
"""Operations of each class that a vector instruction makes for one element of its output."""

STEP_CODES = {
    StepOp.ADD: StepCode.ADD,
    StepOp.MUL: StepCode.MUL,
    StepOp.RELU: StepCode.RELU,
    StepOp.CLIP: StepCode.CLIP,
}

_STEP_WORK = {
    StepCode.ADD: (VectorClass.ADD, 1),
    StepCode.MUL: (VectorClass.MUL, 1),
    StepCode.RELU: (VectorClass.MAX, 1),
    StepCode.CLIP: (VectorClass.MAX, 2),
}


@compiled
def ceil_div(a: int, b: int) -> int:
    """a / b, rounded up; b is positive."""
    return -(-a // b)


@compiled
def matrix_cycles(
    m: MachineTable, images: int, rows: int, columns: int, out_channels: int, in_channels: int, taps: int
) -> int:
    """Cycles for which a contraction of these extents on one core holds the matrix engine.

    `in_channels` are those of one group, `taps` the kernel positions. Results are there `m.matrix_drain`
    cycles later.
    """
    if m.f_pixels > 1:
        pixels = ceil_div(images * rows * columns, m.f_pixels)
    else:
        pixels = images * ceil_div(rows, m.f_rows) * ceil_div(columns, m.f_columns)
    channels = ceil_div(out_channels, m.f_out_channels) * ceil_div(in_channels, m.f_in_channels)
    return m.matrix_issue + pixels * channels * taps


@compiled
def vector_cycles(m: MachineTable, elements: int, passes: int) -> int:
    """Cycles of a vector instruction with `elements` outputs on one core, `passes` cycles per element."""
    return ceil_div(elements, m.lanes) * passes


@compiled
def dma_hold(m: MachineTable, core_bytes: int, link_bytes: int, link_rate: int) -> int:
    """Cycles for which a transfer holds the DMA queues of its cores.

    `core_bytes` is the most that one core moves, `link_bytes` what crosses the link in all. The link itself
    is held ceil_div(link_bytes, link_rate).
    """
    return m.dma_startup + max(ceil_div(core_bytes, m.dma_bytes), ceil_div(link_bytes, link_rate))


def vector_work(kind: VectorKind, taps: int, size: int, steps: Sequence[StepCode]) -> Work:
    """Operations per output element of a VECTOR instruction.

    `taps` counts the positions of a window, `size` the neighbours of a channel norm; other kinds ignore
    them. A COPY is no operation of its own where steps read its input anyway.
    """
    work = dict.fromkeys(VectorClass, 0)
    if kind is VectorKind.ACCUMULATOR or (kind is VectorKind.COPY and not steps):
        work[VectorClass.MOVE] = 1
    elif kind is VectorKind.WINDOW_MAX:
        work[VectorClass.MAX] = taps
    elif kind is VectorKind.WINDOW_AVERAGE:
        work[VectorClass.ADD] = taps
        work[VectorClass.MUL] = 1
    elif kind is VectorKind.CHANNEL_NORM:
        work |= {VectorClass.MUL: 2, VectorClass.ADD: size, VectorClass.EXP: 1, VectorClass.DIV: 1}
    elif kind is VectorKind.SOFTMAX:
        classes = (VectorClass.MAX, VectorClass.ADD, VectorClass.EXP, VectorClass.REDUCE, VectorClass.DIV)
        work |= dict.fromkeys(classes, 1)
    for step in steps:
        name, count = _STEP_WORK[step]
        work[name] += count
    return work


def passes_of(machine: Machine, work: Work) -> int:
    """Cycles that the vector engine spends on each lane-element."""
    return sum(count * machine.vector.cycles[name] for name, count in work.items())


def _layer_work(anchor: Anchor, steps: Sequence[Step]) -> Work:
    kind, taps, size = VectorKind.COPY, 1, 1
    if isinstance(anchor, Contraction):
        kind = VectorKind.ACCUMULATOR
    elif isinstance(anchor, Window):
        kind = VectorKind.WINDOW_MAX if anchor.mode == "max" else VectorKind.WINDOW_AVERAGE
        taps = anchor.kernel_h * anchor.kernel_w
    elif isinstance(anchor, ChannelNorm):
        kind, size = VectorKind.CHANNEL_NORM, anchor.size
    elif isinstance(anchor, Softmax):
        kind = VectorKind.SOFTMAX
    return vector_work(kind, taps, size, [STEP_CODES[step.op] for step in steps])


def vector_passes(machine: Machine, anchor: Anchor, steps: Sequence[Step]) -> int:
    """Cycles per output lane-element of the vector instruction that ends a layer."""
    return passes_of(machine, _layer_work(anchor, steps))


def vector_ops(anchor: Anchor, steps: Sequence[Step]) -> int:
    """Vector operations per output element of a layer, whatever they cost; energy counts them."""
    return sum(_layer_work(anchor, steps).values())
