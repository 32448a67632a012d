"""Rows: what lowering writes and everything after it reads, an instruction per row of integers."""

from __future__ import annotations

from hwmodel.programs.isa import Op

OP_LAUNCH, OP_LOAD, OP_LOADW = int(Op.LAUNCH), int(Op.LOAD), int(Op.LOADW)
OP_STORE, OP_BROADCAST, OP_CONV, OP_VECTOR = int(Op.STORE), int(Op.BROADCAST), int(Op.CONV), int(Op.VECTOR)
OP_MATMUL, OP_GATHER = int(Op.MATMUL), int(Op.GATHER)

# Columns of a row: what the instruction does.
C_OP, C_TENSOR, C_PIECE = 0, 1, 2
C_K0, C_K1 = 3, 4  # output channels, from the start of the core's share
C_R0, C_R1 = (
    5,
    6,
)  # input channels of a group; of VECTOR: C_R0 is 1 where it reads the accumulator; of LOAD and
# STORE: C_R0 is 1 where the other end is the cache of the tensor's overlaps
C_I0, C_I1 = 7, 8  # images, from the core's first
C_H0, C_H1 = 9, 10  # rows, from the start of the piece
C_WEIGHT, C_ACC = 11, 12  # addresses; of VECTOR, C_WEIGHT is where its parameters are
C_A, C_B = (
    13,
    14,
)  # LOAD: image and row part of the source; LOADW: C_A 1 for parameters; CONV: C_A accumulate,
# C_B group; VECTOR: C_A input of a Concat, C_B VECTOR_*; BROADCAST to a copy: C_A 1 + the round
# Columns of a row: what it costs. Engines: MATRIX, VECTOR, DMA; links as in LINK_*.
C_ENGINE, C_HOLD, C_LATENCY, C_LINK, C_LINK_HOLD = 15, 16, 17, 18, 19
C_EXTERNAL0, C_EXTERNAL1 = 20, 21  # slots of what it waits for outside the instance, or -1
C_WAIT0 = 22  # three waits, indices or -1
COLUMNS = 25

VECTOR_COMPUTES, VECTOR_RESTORES, VECTOR_KEEPS = 0, 1, 2
"""In C_B of VECTOR: ends a layer, or copies columns from, or to, the cache."""

MATRIX, VECTOR, DMA, SYSTEM = 0, 1, 2, 3
LINK_NONE, LINK_DRAM_READ, LINK_DRAM_WRITE, LINK_LLB_READ, LINK_LLB_WRITE = -1, 0, 1, 2, 3

SLOT_COMPUTE, SLOT_DMA, SLOT_ENTRIES = 0, 1, 2
"""External slots: the previous step's compute, its DMA, then each entry tensor, then each layer's staged weights."""

# Order of the counts: hwmodel.timing.counts.Counts.
(
    N_DRAM_READ,
    N_DRAM_WRITE,
    N_LLB_READ,
    N_LLB_WRITE,
    N_EXCHANGE,
    N_MACS,
    N_VECTOR,
    N_L1_READ,
    N_L1_WRITE,
    N_WEIGHTS_READ,
    N_WEIGHTS_WRITE,
    N_ACC_READ,
    N_ACC_WRITE,
) = range(13)
