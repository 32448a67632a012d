"""What the system DMA copies in an arrangement: staged weights and moved tensors, in its order, chunk by chunk."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import system_copy_cycles
from scheduling.lowering.bursts import in_bursts
from scheduling.lowering.tables import Ints
from scheduling.timeline.slices import SPLIT_BATCH, slices
from scheduling.timeline.tensor_moves import TensorMoves

CHUNK_BYTES = 128 * 1024
"""Copies are cut so that one never keeps a kernel from the DRAM link for long."""


class SystemCopies(NamedTuple):
    """J copies in the order of the system DMA's queue, in C chunks. At one wave moves of tensors come first, those to
    DRAM before the others, then weights."""

    when: Ints  # (J,) the wave before whose instances a copy stands, ascending
    layer: Ints  # (J,) whose weights it copies, or -1
    move: Ints  # (J,) which of the arrangement's moves it does, or -1
    first_slice: Ints  # (J,) of a move: the first of the slices of the tensor that it moves ...
    slice_count: Ints  # (J,) ... and their number, 0 for weights
    to_dram: Ints  # (J,)
    job: Ints  # (C,) the copy that a chunk is of
    dram_offset: Ints  # (C,) bytes from where the tensor, or the layer's weights, begin in DRAM
    llb_address: Ints  # (C,)
    size_bytes: Ints  # (C,)
    last: Ints  # (C,) 1 where it is the copy's last chunk


@compiled_leaf
def copy_cycles(m: MachineTable, size_bytes: int, to_dram: int) -> tuple[int, int, int]:
    """Cycles that a copy holds the DRAM link, the LLB link, and the system DMA."""
    return system_copy_cycles(m, size_bytes, in_bursts(size_bytes, m.dram_burst), to_dram)


@compiled_leaf
def _add_chunks(fill: bool, chunks: int, job: int, dram: int, llb: int, size_bytes: int, into: Ints) -> int:
    """Cut a contiguous piece of a copy into chunks, rows (job, DRAM, LLB, bytes) of `into`; only counts them where it
    is not to `fill` them in. Returns the number of chunks by now."""
    left = size_bytes
    while left > 0:
        size = min(left, CHUNK_BYTES)
        if fill:
            into[chunks, 0] = job
            into[chunks, 1] = dram + size_bytes - left
            into[chunks, 2] = llb + size_bytes - left
            into[chunks, 3] = size
        chunks += 1
        left -= size
    return chunks


class CopyPlan(NamedTuple):
    """What copies read of an Arrangement, under the names that it has there."""

    in_llb: Ints
    source_rows: Ints
    slice_start: Ints
    slice_address: Ints
    staged_address: Ints
    copy_when: Ints
    copy_layer: Ints
    moves: TensorMoves


class CopiedThings(NamedTuple):
    """Sizes of what may be copied: tensors of `batch` images, and weights."""

    producer: Ints  # (T,)
    batch: int
    rows: Ints  # (T,)
    row_bytes: Ints  # (T,)
    weight_bytes: Ints  # (L,)


@compiled
def system_copies(things: CopiedThings, choices: Ints, plan: CopyPlan) -> SystemCopies:
    """All copies by the system DMA that an arrangement asks for."""
    moves = plan.moves
    most = moves.when.shape[0] + plan.copy_when.shape[0]
    when, layer, move = np.empty(most, np.int64), np.full(most, -1, np.int64), np.full(most, -1, np.int64)
    first_slice, slice_count = np.zeros(most, np.int64), np.zeros(most, np.int64)
    to_dram = np.zeros(most, np.int64)
    jobs, i, c = 0, 0, 0
    while i < moves.when.shape[0] or c < plan.copy_when.shape[0]:
        if c == plan.copy_when.shape[0] or (i < moves.when.shape[0] and moves.when[i] <= plan.copy_when[c]):
            if moves.address[i] >= 0 or _is_only_in_llb(things.producer, plan, i):
                when[jobs] = moves.when[i]
                move[jobs] = i
                source = _source(things.producer, choices, moves.tensor[i])
                own = slices(choices, source) if source >= 0 else 1
                first_slice[jobs] = plan.slice_start[moves.tensor[i]] + moves.part[i] * own
                slice_count[jobs] = own
                to_dram[jobs] = 1 if moves.address[i] < 0 else 0
                jobs += 1
            i += 1
        else:
            when[jobs] = plan.copy_when[c]
            layer[jobs] = plan.copy_layer[c]
            jobs += 1
            c += 1
    chunk = np.empty((0, 4), np.int64)
    for fill in (False, True):
        chunks = 0
        for job in range(jobs):
            if layer[job] >= 0:
                address = plan.staged_address[layer[job]]
                chunks = _add_chunks(fill, chunks, job, 0, address, things.weight_bytes[layer[job]], chunk)
            else:
                chunks = _move_chunks(
                    fill, chunks, job, things, choices, plan, move[job], first_slice[job], chunk
                )
        if not fill:
            chunk = np.empty((chunks, 4), np.int64)
    last = np.ones(chunk.shape[0], np.int64)
    for k in range(chunk.shape[0] - 1):
        last[k] = 1 if chunk[k + 1, 0] != chunk[k, 0] else 0
    return SystemCopies(
        when[:jobs], layer[:jobs], move[:jobs], first_slice[:jobs], slice_count[:jobs], to_dram[:jobs],
        chunk[:, 0].copy(), chunk[:, 1].copy(), chunk[:, 2].copy(), chunk[:, 3].copy(), last,
    )  # fmt: skip


@compiled
def _is_only_in_llb(producer: Ints, plan: CopyPlan, move: int) -> bool:
    """Whether what a move takes to DRAM is not there yet."""
    moves = plan.moves
    tensor, part = moves.tensor[move], moves.part[move]
    if producer[tensor] < 0 or plan.in_llb[tensor] == 0:
        return False
    copied = 0
    for i in range(move):
        if moves.tensor[i] == tensor and moves.part[i] == part and moves.address[i] < 0:
            copied = 1
    return copied == 0


@compiled
def _source(producer: Ints, choices: Ints, tensor: int) -> int:
    """The sub-graph that makes a tensor; -1 for what no layer makes."""
    for s in range(choices.shape[0]):
        if choices[s, 0] <= producer[tensor] < choices[s, 1]:
            return s
    return -1


@compiled
def _move_chunks(
    fill: bool,
    chunks: int,
    job: int,
    things: CopiedThings,
    choices: Ints,
    plan: CopyPlan,
    move: int,
    first_slice: int,
    into: Ints,
) -> int:
    """The chunks of a move: one piece, or of slices of rows one for each of their images."""
    tensor, part, address = plan.moves.tensor[move], plan.moves.part[move], plan.moves.address[move]
    source = _source(things.producer, choices, tensor)
    parts = choices[source, SPLIT_BATCH] if source >= 0 else 1
    low, high = things.batch * part // parts, things.batch * (part + 1) // parts
    rows, row_bytes = things.rows[tensor], things.row_bytes[tensor]
    apart = plan.source_rows[tensor]
    if address >= 0 or apart == 1:
        llb = address if address >= 0 else plan.slice_address[first_slice]
        size = (high - low) * rows * row_bytes
        return _add_chunks(fill, chunks, job, low * rows * row_bytes, llb, size, into)
    for r in range(apart):
        begin, end = rows * r // apart, rows * (r + 1) // apart
        for image in range(low, high):
            dram = (image * rows + begin) * row_bytes
            llb = plan.slice_address[first_slice + r] + (image - low) * (end - begin) * row_bytes
            chunks = _add_chunks(fill, chunks, job, dram, llb, (end - begin) * row_bytes, into)
    return chunks
