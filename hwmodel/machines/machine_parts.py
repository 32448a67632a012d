"""The parts of a machine's description, one pydantic model for each mapping in its file.

All are frozen, refuse unknown keys, and take no number for another: 1.0 is no whole number, nor is true.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from graph.primitives import VectorClass

MOST = 1 << 40
"""No figure is larger, so that sums of cycles stay far below what 64 bits hold."""

MOST_BURST_BYTES = 4096

DECIMALS = 1000
"""Shares are whole numbers of these parts."""

Count = Annotated[int, Field(ge=1, le=MOST)]
Cycles = Annotated[int, Field(ge=0, le=MOST)]
Side = Annotated[int, Field(ge=2, le=1 << 16)]
Picojoules = Annotated[float, Field(ge=0, le=1e9)]


class Part(BaseModel):
    """What the models of a machine file have in common."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Unrolling(Part):
    """How many steps of each loop of a contraction the matrix engine does in one cycle.

    `out_pixels` merges images, rows and columns, so it excludes `out_rows` and `out_columns`.
    """

    out_pixels: Count = 1
    out_rows: Count = 1
    out_columns: Count = 1
    out_channels: Count = 1
    in_channels: Count = 1

    @model_validator(mode="after")
    def _pixels_exclude_rows_and_columns(self) -> Unrolling:
        if self.out_pixels > 1 and max(self.out_rows, self.out_columns) > 1:
            raise ValueError(
                f"out_pixels is {self.out_pixels}, expected none beside out_rows and out_columns"
            )
        return self

    @property
    def macs(self) -> int:
        """Multiply-accumulates in a cycle."""
        return self.out_pixels * self.out_rows * self.out_columns * self.out_channels * self.in_channels


class Systolic(Part):
    """A systolic array, and which operand of a product stays in it.

    A product of M x K inputs and K x N weights runs in folds. Each holds a part of one operand in the array, the rows
    by its first dimension, the columns by its second, and streams the third dimension through it:
    `output_stationary` M on rows, N on columns, K streamed; `weight_stationary` K, N, M; `input_stationary` K, M, N.
    """

    rows: Side
    columns: Side
    dataflow: Literal["output_stationary", "weight_stationary", "input_stationary"]
    overlap_folds: bool

    @property
    def fill_cycles(self) -> int:
        """Cycles of a fold beside those in which it streams: the skew of rows and columns, and the loading of weights
        or inputs that stay. SCALE-Sim's closed forms (version 3) have the same."""
        loading = 0 if self.dataflow == "output_stationary" else self.rows
        return loading + self.rows + self.columns - 2

    @property
    def spatial(self) -> Unrolling:
        """The unrolling that has a cycle in common with the array while it streams."""
        if self.dataflow == "output_stationary":
            return Unrolling(out_pixels=self.rows, out_channels=self.columns)
        if self.dataflow == "weight_stationary":
            return Unrolling(in_channels=self.rows, out_channels=self.columns)
        return Unrolling(in_channels=self.rows, out_pixels=self.columns)


class Matrix(Part):
    """The matrix engine, unrolled or systolic, and what its instructions take beside that.

    `convolution` says how a kernel position (tap) is run: `per_tap` adds up a product for each, `im2col` makes the
    taps part of the reduction. `macs` is the size of the array where that is not what is unrolled. An instruction
    takes `issue_cycles` more of the engine; its results are there `drain_cycles` after it has let the engine go.
    """

    unrolling: Unrolling | None = None
    systolic: Systolic | None = None
    macs: Count | None = None
    convolution: Literal["per_tap", "im2col"]
    issue_cycles: Cycles
    drain_cycles: Cycles

    @model_validator(mode="after")
    def _unrolled_or_systolic(self) -> Matrix:
        if self.unrolling is not None and self.systolic is not None:
            raise ValueError("systolic is given, expected none beside unrolling")
        used = self.spatial.macs
        if self.macs is not None and used > self.macs:
            key = "unrolling" if self.systolic is None else "systolic"
            raise ValueError(f"{key} makes {used} MACs a cycle, expected at most macs = {self.macs}")
        return self

    @property
    def spatial(self) -> Unrolling:
        """Steps of each loop in one cycle, whichever engine it is."""
        if self.unrolling is not None:
            return self.unrolling
        if self.systolic is not None:
            return self.systolic.spatial
        raise ValueError("unrolling is missing, expected it or systolic")

    def reduction_steps(self, in_channels: int, taps: int) -> int:
        """Steps in which the engine goes through the inputs of an output: channels of one group, and taps."""
        if self.convolution == "im2col":
            return -(-in_channels * taps // self.spatial.in_channels)
        return -(-in_channels // self.spatial.in_channels) * taps


class VectorCycles(Part):
    """Cycles per lane-element of each class of vector operation."""

    move: Count
    add: Count
    mul: Count
    max: Count
    exp: Count
    div: Count
    reduce: Count

    def __getitem__(self, kind: VectorClass) -> int:
        return int(getattr(self, kind.value))


class Vector(Part):
    """The vector engine."""

    lanes: Count
    cycles: VectorCycles


class Dma(Part):
    """The DMA of a core."""

    queues: Literal[1]
    bytes_per_cycle: Count
    startup_cycles: Cycles


class SystemDma(Part):
    """The DMA between DRAM and LLB that needs no core."""

    bytes_per_cycle: Count
    startup_cycles: Cycles


class Memory(Part):
    """A memory of known size."""

    bytes: Count


class Dram(Part):
    """DRAM: how much a cluster has, None where nothing bounds it, the bytes of a burst, a power of two, and the cycles
    from a request to its first byte."""

    bytes: Count | None = None
    burst_bytes: Annotated[int, Field(ge=1, le=MOST_BURST_BYTES)] = 1
    latency_cycles: Cycles = 0

    @model_validator(mode="after")
    def _a_power_of_two(self) -> Dram:
        if self.burst_bytes & (self.burst_bytes - 1):
            raise ValueError(f"burst_bytes is {self.burst_bytes}, expected a power of two")
        return self


class Memories(Part):
    """The private memories of each core, the last-level buffer (LLB) that the cores of a cluster share, or None where
    there is none, and DRAM, which has no bound unless it says so."""

    l1: Memory
    weights: Memory
    accumulator: Memory
    llb: Memory | None
    dram: Dram | None = None

    @model_validator(mode="after")
    def _outer_memories_are_no_smaller(self) -> Memories:
        inner, least = "l1", self.l1.bytes
        for outer, memory in (("llb", self.llb), ("dram", self.dram)):
            size = None if memory is None else memory.bytes
            if size is None:
                continue
            if size < least:
                raise ValueError(f"{outer}.bytes is {size}, expected at least {inner}.bytes = {least}")
            inner, least = outer, size
        return self


class Link(Part):
    """A link between the cores of a cluster and a shared memory; `shared` where its directions are one."""

    read_bytes_per_cycle: Count
    write_bytes_per_cycle: Count
    shared: bool

    @property
    def rates(self) -> tuple[int, int]:
        """Of reads and of writes."""
        return self.read_bytes_per_cycle, self.write_bytes_per_cycle


class DramLink(Link):
    """The link to DRAM, and which share of its rates is sustained: a decimal fraction, so that what crosses in a number
    of cycles is exact."""

    sustained: Annotated[float, Field(gt=0, le=1)] = 1.0

    @model_validator(mode="after")
    def _of_few_decimals(self) -> DramLink:
        if DECIMALS % self.share.denominator:
            raise ValueError(f"sustained is {self.sustained}, expected a share in thousandths, such as 0.905")
        return self

    @property
    def share(self) -> Fraction:
        """`sustained` as it is written."""
        return Fraction(str(self.sustained))


class Exchange(Part):
    """The links between cores: the rate of each core's port, in each direction."""

    bytes_per_cycle: Count


class Links(Part):
    """All links of a cluster; `llb` is None where there is no LLB."""

    dram: DramLink
    llb: Link | None
    exchange: Exchange


class Energy(Part):
    """Picojoules of one operation, or of one byte read from or written to a memory; the LLB's where there is one."""

    mac_pj: Picojoules
    vector_op_pj: Picojoules
    l1_read_pj_per_byte: Picojoules
    l1_write_pj_per_byte: Picojoules
    weights_read_pj_per_byte: Picojoules
    weights_write_pj_per_byte: Picojoules
    accumulator_read_pj_per_byte: Picojoules
    accumulator_write_pj_per_byte: Picojoules
    llb_read_pj_per_byte: Picojoules | None = None
    llb_write_pj_per_byte: Picojoules | None = None
    dram_read_pj_per_byte: Picojoules
    dram_write_pj_per_byte: Picojoules
    exchange_pj_per_byte: Picojoules
