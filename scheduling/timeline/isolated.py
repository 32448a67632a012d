"""Isolated template time: one instance of a candidate lowered and simulated on an empty machine.

More exact than the additive estimate, and dearer, so only the candidates that survive the estimate get it. Entries
and results are taken to be in the LLB, whole, and weights too where they fit beside tensors; in DRAM where the machine
has no LLB.
"""

from __future__ import annotations

import numpy as np

from hwmodel.borrowing import borrowed
from hwmodel.compiled import compiled, compiled_leaf
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import dram_cycles
from scheduling.choice import choice_of
from scheduling.lowering import lower
from scheduling.lowering.rows import (
    C_ENGINE,
    C_HOLD,
    C_LATENCY,
    C_LINK,
    C_LINK_HOLD,
    C_OP,
    C_WAIT0,
    N_DRAM_READ,
    N_DRAM_WRITE,
    OP_LAUNCH,
    VECTOR,
)
from scheduling.lowering.tables import NEVER, Ints, NetworkTable
from scheduling.timeline.weight_places import weight_bytes


@compiled_leaf
def resident_weights(net: NetworkTable, m: MachineTable, first: int, stop: int) -> bool:
    """Whether the weights of layers [first, stop) take at most half of the LLB, by rule of thumb."""
    total = 0
    for layer in range(first, stop):
        total += weight_bytes(net, layer, m.element_bytes)
    return m.sdma_bytes > 0 and 2 * total <= m.llb_bytes


@compiled
def supposed_scopes(net: NetworkTable, m: MachineTable) -> Ints:
    """(T,) 1 for the tensors that an instance by itself finds or leaves in the LLB: all but what lies in DRAM anyway,
    and none where the machine has no LLB."""
    in_llb = np.ones(net.tensor_rows.shape[0], np.int64)
    in_llb[: net.input_count] = 0
    for t in range(in_llb.shape[0]):
        if m.llb_bytes == 0 or net.last_use[t] == NEVER:
            in_llb[t] = 0
    return in_llb


@compiled
def lone_cycles(m: MachineTable, rows: Ints) -> int:
    """Cycles of a lowered instance on an empty machine."""
    link_slot = np.array([3, 3 if m.dram_shared else 4, 5, 5 if m.llb_shared else 6])
    finish = np.zeros(rows.shape[0], np.int64)
    free = np.zeros(7, np.int64)
    makespan = 0
    for i in range(rows.shape[0]):
        engine = rows[i, C_ENGINE]
        link = rows[i, C_LINK]
        begin = free[engine]
        for w in range(C_WAIT0, C_WAIT0 + 3):
            if rows[i, w] >= 0:
                begin = max(begin, finish[rows[i, w]])
        if link >= 0:
            begin = max(begin, free[link_slot[link]])
            free[link_slot[link]] = begin + rows[i, C_LINK_HOLD]
        free[engine] = begin + rows[i, C_HOLD]
        if rows[i, C_OP] == OP_LAUNCH:
            free[VECTOR] = begin + rows[i, C_HOLD]
        finish[i] = begin + rows[i, C_LATENCY]
        makespan = max(makespan, finish[i])
    return int(makespan)


@compiled
def isolated(net: NetworkTable, m: MachineTable, choices: Ints) -> Ints:
    """(A, 2): for each candidate, cycles of all its instances one after the other, and DRAM cycles of all of them
    (weights that fit the LLB once)."""
    net = borrowed(net)
    in_llb = supposed_scopes(net, m)
    ones = np.ones(net.tensor_rows.shape[0], np.int64)
    staged = np.zeros(net.is_matrix.shape[0], np.int64)
    result = np.empty((choices.shape[0], 2), np.int64)
    for a in range(choices.shape[0]):
        c = choices[a]
        choice = choice_of(c)
        resident = resident_weights(net, m, c[0], c[1])
        staged[:] = 1 if resident else 0
        lowered = lower(net, m, choice, 0, 0, 0, False, in_llb, ones, ones, staged)
        makespan = lone_cycles(m, lowered.rows)
        instances = choice.split_batch * choice.split_rows * choice.split_columns
        dram = dram_cycles(m, lowered.counts[N_DRAM_READ] * instances, 0)
        dram += dram_cycles(m, lowered.counts[N_DRAM_WRITE] * instances, 1)
        if resident:
            once = 0
            for layer in range(c[0], c[1]):
                once += weight_bytes(net, layer, m.element_bytes)
            dram += dram_cycles(m, once, 0)
        result[a, 0] = makespan * instances
        result[a, 1] = dram
    return result
