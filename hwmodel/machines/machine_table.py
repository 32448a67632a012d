"""A machine as a named tuple of plain integers: compiled code takes no pydantic model."""

from __future__ import annotations

from typing import NamedTuple

UNROLLED, STREAMS_INPUTS, STREAMS_PIXELS, STREAMS_OUTPUTS = range(4)
"""MachineTable.streamed: no systolic array, or the dimension that a fold of it streams: input channels (output
stationary), output pixels (weight stationary) or output channels (input stationary)."""


class MachineTable(NamedTuple):
    """The figures of a machine that decide cycles and what fits; `hwmodel.machines.machine.Machine.table` makes it.

    Rates are bytes per cycle, but `dram_read` and `dram_write` are the bytes that DRAM's link sustains in `dram_period`
    cycles (`hwmodel.timing.costs.dram_cycles` divides by them). An unrolling factor that the machine lacks is 1,
    `sdma_bytes` is 0 where there is no system DMA, `llb_bytes`, `llb_read` and `llb_write` are 0 where there is no
    last-level buffer, and the `_shared` flags are 1 where both directions of a link are one resource. `dram_burst` are
    the bytes of a burst, `dram_latency` the cycles from a request to its first byte. Addresses of l1 begin with the
    buffers that inputs and outputs share: the first ends at `l1_first_bytes`, the last at `l1_inner_bytes` (0 without
    one). `im2col` is 1 where taps are part of the reduction.

    A fold of a systolic array holds it for the larger of what it streams and `fold_least`, and `fold_fill` cycles
    more. Where folds overlap, fill and drain are part of `matrix_drain` and `fold_fill` is 0; else `fold_least` is.
    """

    cores: int
    element_bytes: int
    f_pixels: int
    f_rows: int
    f_columns: int
    f_out_channels: int
    f_in_channels: int
    im2col: int
    streamed: int
    fold_fill: int
    fold_least: int
    matrix_issue: int
    matrix_drain: int
    lanes: int
    dma_bytes: int
    dma_startup: int
    sdma_bytes: int
    sdma_startup: int
    l1_bytes: int
    l1_first_bytes: int
    l1_inner_bytes: int
    weights_bytes: int
    accumulator_bytes: int
    llb_bytes: int
    dram_read: int
    dram_write: int
    dram_period: int
    dram_shared: int
    dram_burst: int
    dram_latency: int
    llb_read: int
    llb_write: int
    llb_shared: int
    exchange: int
    launch: int
