"""What the agent sees: names of the columns, and the tables that hold them.

Everything is a ratio or a logarithm, so a feature means the same on a small and on a large network, and on another
machine. On a machine without an LLB, ratios to it are ratios to one core's L1. A row of zeros is a place of the table
without a candidate.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwmodel.machines.machine_table import MachineTable

Floats = NDArray[np.float32]

FEATURES_VERSION = 1
"""Goes up whenever a feature changes its meaning: a policy trained on other features is refused."""

MOST_ACTIONS = 97
"""Rows of the candidate table: the candidates of a frontier, and the default's choice where it is not among them."""

CANDIDATE = (
    "exists",  # 1
    "layers",  # log2 of layers taken / 6
    "work",  # share of the remaining ideal time
    "split",  # log2 / 4
    "pieces",  # log2 / 4
    "channel_pieces",  # 1 where pieces are along output channels
    "rule",  # log2 of the instruction-order rule / 8
    "ways_batch",  # log2 / 4
    "ways_channels",  # log2 / 4
    "slowdown",  # log of isolated time over ideal time
    "matrix",  # shares of isolated time
    "vector",
    "dma",
    "dram",
    "fill",
    "launch",
    "l1",  # footprint over L1
    "weights_buffer",  # log1p of weights over weight buffers
    "weights_llb",  # log1p of weights over LLB
    "crossing_llb",  # log1p of bytes that cross the end over LLB
    "crossing_slice_llb",  # the same, of one slice
    "entering_slice_llb",  # log1p of bytes that cross the start, of one slice of the coarser split, over LLB
    "crossing_least",  # log of crossing bytes over the least of all candidates
    "crossing_minimum",  # 1 at a local minimum of crossing bytes
    "spill",  # log1p of DRAM time of crossing bytes, where a slice does not fit the LLB, over isolated time
    "spill_before",  # the same of what crosses the start, by the previous split
    "is_default",  # 1 for the default's choice
    "is_last",  # 1 where nothing is left after it
    "split_change",  # log2 of split over the previous sub-graph's / 4
    "split_same",
    "regret_isolated",  # isolated time with spills + cost to go, over the least of all candidates: log, x10
    "regret_estimated",  # estimate with spills + cost to go, likewise
    "regret_plain",  # isolated time + cost to go, likewise
    "time_share",  # isolated time over isolated time + cost to go
    "pace",  # log of isolated time per ideal time over the best of all candidates
    "breadth_first",  # instance order: 1 for breadth first
    "prefetch",  # instance order: 1 with weight prefetch
)

GLOBAL = (
    "phase_subgraphs",
    "phase_instances",
    "phase_instructions",
    "batch",  # log2 / 4
    "progress_time",  # share of the ideal time that is decided
    "progress_layers",
    "above_bound",  # log of the current cost's cycles over ideal cycles
    "gain",  # log of the first cost over the current one
    "crossing_llb",  # log1p of bytes that cross the frontier over LLB
    "previous_split",  # log2 / 4
    "subgraphs",  # sub-graphs so far / 16
    "candidates",  # of the table / 97
    "layers_left",  # log2 / 8
    "dram_per_mac",  # log of DRAM bytes per cycle x 1000 over MACs per cycle
    "l1_llb",  # log of L1 of all cores over LLB
    "llb",  # log of LLB over the largest crossing bytes
    "launch",  # log of launch time x layers over ideal time
    "lanes_per_mac",  # log of vector lanes x 32 over MACs of a core
    "dma",  # log of DMA bytes per cycle over 64
    "weights_llb",  # log1p of all weights over LLB
    "cores",  # log2 / 4
    "objective_latency",
    "objective_off_core",
    "objective_energy",
    "objective_edp",
)

C = {name: index for index, name in enumerate(CANDIDATE)}
"""Column of each candidate feature."""

G = {name: index for index, name in enumerate(GLOBAL)}
"""Place of each global feature."""

LIMIT = 10.0
"""Features are clipped to [-LIMIT, LIMIT]."""


def shared_buffer_bytes(machine: MachineTable) -> int:
    """What features that are ratios to the LLB divide by: the least that one could hold where there is none."""
    return machine.llb_bytes or machine.l1_bytes
