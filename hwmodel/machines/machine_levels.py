"""Inner memories of a core: registers at the multipliers and buffers between them and l1 or the weight buffer.

They are where a machine file says what an operand costs on its way from `l1` or `weights` into the matrix engine;
docs/machines.md, "Inner memories", tells how accesses are counted.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from typing import Annotated, Literal

from pydantic import Field, model_validator

from hwmodel.machines.machine_parts import Count, Part, Picojoules

Operand = Literal["inputs", "weights", "outputs"]

MOST_SHARED = 2
"""Buffers that inputs and outputs share, at most; `MachineTable` has so many borders in l1."""

WordBits = Annotated[int, Field(ge=8, le=1 << 20, multiple_of=8)]


class Inner(Part):
    """What registers and buffers have in common: capacity, the word that an access moves, and its energy.

    Accesses to less than a word cost their share of it.
    """

    name: Annotated[str, Field(pattern="^[a-z][a-z0-9_]*$")]
    operands: Annotated[tuple[Operand, ...], Field(strict=False)]
    bytes: Count
    word_bits: WordBits
    read_pj: Picojoules
    write_pj: Picojoules

    @model_validator(mode="after")
    def _operands_differ(self) -> Inner:
        if not self.operands or len(set(self.operands)) < len(self.operands):
            raise ValueError(f"operands is {list(self.operands)}, expected one or more, each once")
        return self

    @property
    def read_pj_per_byte(self) -> float:
        """Picojoules of a byte read."""
        return self.read_pj * 8 / self.word_bits

    @property
    def write_pj_per_byte(self) -> float:
        """Picojoules of a byte written."""
        return self.write_pj * 8 / self.word_bits


class Registers(Inner):
    """One register (or register file) of `bytes` for each element of the operand that the engine uses in a cycle."""

    @model_validator(mode="after")
    def _of_one_operand(self) -> Registers:
        if len(self.operands) > 1:
            raise ValueError(f"operands is {list(self.operands)}, expected one, since registers hold one")
        return self


class Buffer(Inner):
    """A buffer of `bytes` in all; `ports` 2: a port for reads and one for writes, 1: one for both."""

    ports: Literal[1, 2]

    @model_validator(mode="after")
    def _weights_apart(self) -> Buffer:
        if "weights" in self.operands and len(self.operands) > 1:
            raise ValueError(
                f"operands is {list(self.operands)}, expected weights alone, or inputs and outputs"
            )
        return self

    @property
    def shared(self) -> bool:
        """Whether inputs and outputs share it, so that a tensor can stay in it from layer to layer."""
        return set(self.operands) == {"inputs", "outputs"}

    @property
    def of_weights(self) -> bool:
        """Whether it holds weights."""
        return self.operands == ("weights",)


class Port(Part):
    """What a memory of a core moves in a cycle."""

    word_bits: WordBits
    ports: Literal[1, 2]


class Levels(Part):
    """The inner memories, each list from the engine outwards, and the ports of l1 and the weight buffer.

    `sum_bytes` is the size of a partial sum on the machine (the functional simulator keeps sums as float32).
    """

    sum_bytes: Annotated[int, Field(ge=1, le=8)]
    registers: Annotated[tuple[Registers, ...], Field(strict=False)]
    buffers: Annotated[tuple[Buffer, ...], Field(strict=False)]
    l1: Port
    weights: Port

    @model_validator(mode="after")
    def _make_chains(self) -> Levels:
        names = [level.name for level in self.inner]
        for name in names:
            if names.count(name) > 1 or name in ("l1", "weights", "accumulator", "llb", "dram"):
                raise ValueError(f"name {name!r} is taken, expected a name for each level")
        for operand in ("inputs", "weights", "outputs"):
            registers = [level.name for level in self.registers if operand in level.operands]
            if len(registers) > 1:
                raise ValueError(
                    f"registers are {' and '.join(registers)} for {operand}, expected at most one"
                )
            chain = [level for level in self.buffers if operand in level.operands]
            for inner, outer in pairwise(chain):
                if inner.bytes > outer.bytes:
                    raise ValueError(
                        f"buffers: {inner.name} has {inner.bytes} bytes, expected at most those of {outer.name} "
                        f"outside it = {outer.bytes}"
                    )
        sums = [level for level in self.registers if "outputs" in level.operands]
        if not sums:
            raise ValueError("registers has none for outputs, expected one that holds a partial sum")
        if sums[0].bytes < self.sum_bytes:
            raise ValueError(
                f"registers: {sums[0].name} has {sums[0].bytes} bytes, expected at least sum_bytes = {self.sum_bytes}"
            )
        if len(self.shared) > MOST_SHARED:
            raise ValueError(
                f"buffers has {len(self.shared)} of inputs and outputs, expected at most {MOST_SHARED}"
            )
        if len([level for level in self.buffers if level.operands == ("outputs",)]) > 1:
            raise ValueError("buffers has several of outputs alone, expected at most one")
        return self

    @property
    def inner(self) -> tuple[Registers | Buffer, ...]:
        """All of them, registers first: the order in which accesses are counted."""
        return (*self.registers, *self.buffers)

    @property
    def shared(self) -> tuple[Buffer, ...]:
        """The buffers that inputs and outputs share: l1's addresses begin with them."""
        return tuple(level for level in self.buffers if level.shared)

    @property
    def shared_bytes(self) -> int:
        """Bytes of those."""
        return _bytes(self.shared)

    @property
    def weight_bytes(self) -> int:
        """Bytes of the buffers of weights: the weight buffer's addresses begin with them."""
        return _bytes(level for level in self.buffers if level.of_weights)


def _bytes(levels: Iterable[Buffer]) -> int:
    return sum(level.bytes for level in levels)
