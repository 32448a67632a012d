"""Segments: what each legal choice for a run of layers costs, by where its borders live.

The additive estimate of dynamic programming. A candidate is lowered once and timed four times on an empty machine:
with what enters it in the last-level buffer or in DRAM, and with what leaves it in either. That holds pipeline fill,
launches, weight traffic and the slower loads and stores of a border that spills, which share one queue with weights.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel.borrowing import borrowed
from hwmodel.compiled import compiled
from hwmodel.machines.machine import Machine
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import dram_cycles, dram_rate
from hwmodel.timing.counts import Counts
from hwmodel.timing.energy import energy_pj
from scheduling.choice import choice_of, row_pieces
from scheduling.lowering import lower
from scheduling.lowering.rows import (
    C_ENGINE,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_WAIT0,
    LINK_LLB_READ,
    LINK_LLB_WRITE,
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    OP_LAUNCH,
    OP_LOAD,
    OP_STORE,
    VECTOR,
)
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.timeline.isolated import resident_weights, supposed_scopes
from scheduling.timeline.weight_places import weight_bytes

Floats = NDArray[np.float64]

IN_LLB, IN_DRAM = 0, 1
COUNTS = len(Counts._fields)
ENTRY, EXIT, STAGED, KEPT = 4 + COUNTS, 5 + COUNTS, 6 + COUNTS, 7 + COUNTS
"""Columns of the timing behind the four times and the counts: border bytes read and written, weight bytes that are
copied to the LLB, and those of them that have to stay there while tensors come and go."""


@compiled
def time_borders(net: NetworkTable, m: MachineTable, choices: Ints) -> Ints:
    """(A, 8 + COUNTS) for legal choices, all instances together: cycles with (entries, exits) in (LLB, LLB),
    (LLB, DRAM), (DRAM, LLB), (DRAM, DRAM); counts of the first; ENTRY, EXIT, STAGED, KEPT. Without an LLB all four
    are of DRAM, and ENTRY and EXIT are 0."""
    net = borrowed(net)
    in_llb = supposed_scopes(net, m)
    ones = np.ones(net.tensor_rows.shape[0], np.int64)
    staged = np.zeros(net.is_matrix.shape[0], np.int64)
    # Free times: three engines, DRAM read, DRAM write, LLB read, LLB write.
    slot = np.array([3, 3 if m.dram_shared else 4, 5, 5 if m.llb_shared else 6])
    result = np.zeros((choices.shape[0], 8 + COUNTS), np.int64)
    for a in range(choices.shape[0]):
        c = choices[a]
        choice = choice_of(c)
        instances = choice.split_batch * choice.split_rows * choice.split_columns
        weights = 0
        for layer in range(choice.first, choice.stop):
            weights += weight_bytes(net, layer, m.element_bytes)
        resident = resident_weights(net, m, choice.first, choice.stop)
        staged[:] = 1 if resident else 0
        lowered = lower(net, m, choice, 0, 0, 0, False, in_llb, ones, ones, staged)
        rows = lowered.rows
        finish = np.zeros(rows.shape[0], np.int64)
        for variant in range(4):
            free = np.zeros(7, np.int64)
            makespan = 0
            entered, left = 0, 0
            for i in range(rows.shape[0]):
                engine, link = rows[i, C_ENGINE], rows[i, C_LINK]
                hold, latency, link_hold = rows[i, C_HOLD], rows[i, C_LATENCY], rows[i, C_LINK_HOLD]
                if rows[i, C_OP] == OP_LOAD and link == LINK_LLB_READ:
                    size = link_hold * m.llb_read
                    entered += size
                    if variant >= 2:
                        link = 0
                        link_hold = dram_cycles(m, size, 0)
                        hold = m.dram_latency + max(hold, m.dma_startup + link_hold)
                        latency = hold
                elif rows[i, C_OP] == OP_STORE and link == LINK_LLB_WRITE:
                    size = link_hold * m.llb_write
                    left += size
                    if variant % 2 == 1:
                        link = 1
                        link_hold = dram_cycles(m, size, 1)
                        hold = m.dram_latency + max(hold, m.dma_startup + link_hold)
                        latency = hold
                begin = free[engine]
                for w in range(C_WAIT0, C_WAIT0 + 3):
                    if rows[i, w] >= 0:
                        begin = max(begin, finish[rows[i, w]])
                if link >= 0:
                    begin = max(begin, free[slot[link]])
                    free[slot[link]] = begin + link_hold
                free[engine] = begin + hold
                if rows[i, C_OP] == OP_LAUNCH:
                    free[VECTOR] = begin + hold
                finish[i] = begin + latency
                makespan = max(makespan, finish[i])
            result[a, variant] = makespan * instances
            result[a, ENTRY] = entered * instances
            result[a, EXIT] = left * instances
        for k in range(COUNTS):
            result[a, 4 + k] = lowered.counts[k] * instances
        if resident:
            result[a, STAGED] = weights
            if row_pieces(choice) > 1 and weights > m.weights_bytes:
                result[a, KEPT] = weights
    return result


class Segments(NamedTuple):
    """A choices and their additive figures; (A, 2, 2) ones by where entries and exits live: IN_LLB or IN_DRAM."""

    choices: Ints  # (A, fields of Choice)
    cycles: Floats  # (A, 2, 2)
    dram_cycles: Floats  # (A, 2, 2) of the DRAM link
    energy: Floats  # (A, 2, 2)
    off_core: Floats  # (A, 2, 2)
    kept: Floats  # (A,) bytes of weights that the LLB holds beside tensors


def segments(net: NetworkTable, machine: Machine, m: MachineTable, choices: Ints) -> Segments:
    """Figures of legal choices."""
    times = time_borders(net, m, choices)
    cycles = times[:, :4].astype(np.float64).reshape(-1, 2, 2)
    counts = times[:, 4 : 4 + COUNTS].astype(np.float64)
    entry, leave = times[:, ENTRY, None, None], times[:, EXIT, None, None]
    spills_in = np.array([[0.0, 0.0], [1.0, 1.0]])
    spills_out = np.array([[0.0, 1.0], [0.0, 1.0]])
    staged = times[:, STAGED].astype(np.float64)
    read = counts[:, N_DRAM_READ] + staged
    counts[:, N_DRAM_READ] = read
    counts[:, N_LLB_WRITE] += staged
    prices = np.array([energy_pj(Counts(**{name: 1}), machine) for name in Counts._fields])
    dear_in = prices[N_DRAM_READ] - prices[N_LLB_READ]
    dear_out = prices[N_DRAM_WRITE] - prices[N_LLB_WRITE]
    energy = (counts @ prices)[:, None, None] + entry * spills_in * dear_in + leave * spills_out * dear_out
    read_rate, write_rate = dram_rate(m, 0), dram_rate(m, 1)
    dram = (read / read_rate + counts[:, 1] / write_rate)[:, None, None]
    dram = dram + entry * spills_in / read_rate + leave * spills_out / write_rate
    off_core = np.broadcast_to(counts[:, :4].sum(axis=1)[:, None, None], cycles.shape)
    return Segments(choices, cycles, dram, energy, off_core, times[:, KEPT].astype(np.float64))
