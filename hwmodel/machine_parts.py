"""The parts of a machine's description, one pydantic model for each mapping in its file.

All are frozen, refuse unknown keys, and take no number for another: 1.0 is no whole number, nor is true.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from graph.primitives import VectorClass

MOST = 1 << 40
"""No figure is larger, so that sums of cycles stay far below what 64 bits hold."""

Count = Annotated[int, Field(ge=1, le=MOST)]
Cycles = Annotated[int, Field(ge=0, le=MOST)]
Picojoules = Annotated[float, Field(ge=0)]


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


class Matrix(Part):
    """The matrix engine: cycles to issue an instruction and to drain its last results (latency, not hold)."""

    unrolling: Unrolling
    issue_cycles: Cycles
    drain_cycles: Cycles


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


class Memories(Part):
    """The private memories of each core, and the last-level buffer (LLB) that the cores of a cluster share, or None
    where there is none; DRAM has no bound."""

    l1: Memory
    weights: Memory
    accumulator: Memory
    llb: Memory | None

    @model_validator(mode="after")
    def _llb_holds_an_l1(self) -> Memories:
        if self.llb is not None and self.llb.bytes < self.l1.bytes:
            raise ValueError(f"llb.bytes is {self.llb.bytes}, expected at least l1.bytes = {self.l1.bytes}")
        return self


class Link(Part):
    """A link between the cores of a cluster and a shared memory; `shared` where its directions are one."""

    read_bytes_per_cycle: Count
    write_bytes_per_cycle: Count
    shared: bool


class Exchange(Part):
    """The links between cores: the rate of each core's port, in each direction."""

    bytes_per_cycle: Count


class Links(Part):
    """All links of a cluster; `llb` is None where there is no LLB."""

    dram: Link
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
