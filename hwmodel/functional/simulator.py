"""The functional simulator: runs a Program on bytes, so that a wrong address or slice gives a wrong output.

DRAM, LLB and the memories of every core are byte arrays that start as NaNs. Each instruction reads and writes
those bytes and nothing else, one core after another; every access is checked against its memory, and no
instruction but BROADCAST reaches the memory of another core.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from hwmodel.errors import KernelError
from hwmodel.functional.execute import Action, Decoder
from hwmodel.functional.operands import Core
from hwmodel.functional.storage import FloatArray, Memory
from hwmodel.functional.threads import single_threaded
from hwmodel.programs.isa import STORED_ROLES, Buffer, Program, Trace
from hwmodel.programs.order import Position, positions
from hwmodel.programs.placement import PlacedKernels

if TYPE_CHECKING:
    from hwmodel.machines.machine import Machine

Arithmetic = Literal["native", "fp32"]

# Called with a trace and the tensor's slice, float32 (images, rows, columns, channels).
OnTrace = Callable[[Trace, NDArray[np.float32]], None]

# Memories that need more than this in all are refused rather than left to exhaust the host.
MAX_BYTES = 1 << 36

_DTYPES: dict[str, np.dtype[Any]] = {"fp16": np.dtype(np.float16), "fp32": np.dtype(np.float32)}


class FunctionalSimulator:
    """Runs one Program on one machine.

    `arithmetic` is "native", storage in the machine's element type, or "fp32", the same program with float32
    storage: addresses, strides and capacities are scaled, but for the accumulator's, which is float32 anyway.
    Either way numbers are computed as float32 and rounded when they are written to a memory.
    `weights` maps the name of every buffer whose role is among STORED_ROLES to its float32 values in the
    buffer's shape. DRAM reaches to the end of the last buffer or trace; what a program keeps there has a buffer.

    Raises KernelError where a weight is missing or has another shape, buffers are too large, or the machine
    computes in an element type that has no native arithmetic here (int8).
    """

    def __init__(
        self,
        program: Program,
        machine: Machine,
        arithmetic: Arithmetic,
        weights: Mapping[str, NDArray[np.float32]],
    ) -> None:
        element = "fp32" if arithmetic == "fp32" else machine.element
        if element not in _DTYPES:
            raise KernelError(f"{machine.element} has no native arithmetic: run with arithmetic 'fp32'")
        dtype = _DTYPES[element]
        self._scale = dtype.itemsize // machine.element_bytes
        self._program = program
        self._buffers = {buffer.name: buffer for buffer in program.buffers}
        self._traces: dict[int, list[Trace]] = {}
        for trace in program.traces:
            self._traces.setdefault(trace.step, []).append(trace)
        memories = machine.memories
        dram_bytes = self._dram_bytes(machine.element_bytes)
        private = machine.l1_bytes + machine.weights_bytes + memories.accumulator.bytes
        shared = {"dram": dram_bytes}
        if memories.llb is not None:
            shared["llb"] = memories.llb.bytes
        total = (sum(shared.values()) + private * machine.cores) * self._scale
        if total > MAX_BYTES:
            raise KernelError(
                f"the memories and DRAM buffers take {total} bytes; at most {MAX_BYTES} are held"
            )

        def memory(name: str, size: int) -> Memory:
            return Memory(name, np.full(size * self._scale, 0xFF, np.uint8), dtype, self._scale)

        self._cores = [
            Core(
                memory(f"l1 of core {core}", machine.l1_bytes),
                memory(f"weights of core {core}", machine.weights_bytes),
                Memory(
                    f"accumulator of core {core}",
                    np.full(memories.accumulator.bytes, 0xFF, np.uint8),
                    np.dtype(np.float32),
                    1,
                ),
            )
            for core in range(machine.cores)
        ]
        self._shared = {name: memory(name, size) for name, size in shared.items()}
        self._decoder = Decoder(self._cores, self._shared)
        self._kernels = PlacedKernels(program)
        self._decoded: dict[tuple[str, int], list[list[Action] | None]] = {
            (step.kernel, step.first_core): [None] * len(self._kernels.of(number).instructions)
            for number, step in enumerate(program.steps)
        }
        with np.errstate(all="ignore"):
            for buffer in program.buffers:
                if buffer.role in STORED_ROLES:
                    self._store_weight(buffer, weights)

    def _dram_bytes(self, element_bytes: int) -> int:
        end = 0
        for buffer in self._program.buffers:
            if buffer.address < 0 or any(extent < 1 for extent in buffer.shape):
                raise KernelError(
                    f"buffer {buffer.name!r} has address {buffer.address}, shape {buffer.shape}"
                )
            end = max(end, buffer.address + math.prod(buffer.shape) * element_bytes)
        for trace in self._program.traces:
            if trace.memory == "dram":
                end = max(end, trace.address + math.prod(_trace_shape(trace)) * element_bytes)
        return end

    def _buffer(self, name: str, roles: Sequence[str], rank: int) -> tuple[Buffer, FloatArray]:
        buffer = self._buffers.get(name)
        if buffer is None or buffer.role not in roles or len(buffer.shape) != rank:
            known = sorted(b.name for b in self._program.buffers if b.role in roles)
            raise KernelError(f"the program has no {' or '.join(roles)} {name!r}; it has {', '.join(known)}")
        return buffer, self._shared["dram"].dense(f"buffer {name!r}", buffer.address, buffer.shape)

    def _store_weight(self, buffer: Buffer, weights: Mapping[str, NDArray[np.float32]]) -> None:
        if buffer.name not in weights:
            raise KernelError(f"the values of {buffer.role} {buffer.name!r} are missing")
        values = weights[buffer.name]
        if values.shape != buffer.shape:
            raise KernelError(
                f"{buffer.role} {buffer.name!r} has shape {values.shape} instead of {buffer.shape}"
            )
        self._shared["dram"].dense(f"buffer {buffer.name!r}", buffer.address, buffer.shape)[...] = values

    def write_input(self, name: str, array: NDArray[np.float32]) -> None:
        """Write the input `name`, float32 (images, channels, rows, columns), to its buffer.

        Raises KernelError where the program has no such input or its shape differs.
        """
        buffer, stored = self._buffer(name, ("input",), 4)
        images, rows, columns, channels = buffer.shape
        if array.shape != (images, channels, rows, columns):
            raise KernelError(
                f"input {name!r} has shape {array.shape} instead of {(images, channels, rows, columns)}"
            )
        with np.errstate(all="ignore"):
            stored[...] = array.transpose(0, 2, 3, 1)

    def read_output(self, name: str) -> NDArray[np.float32]:
        """The output or boundary tensor `name` of DRAM: float32 (images, channels, rows, columns)."""
        _, stored = self._buffer(name, ("output", "boundary", "input"), 4)
        return stored.transpose(0, 3, 1, 2).astype(np.float32, order="C")

    def clear(self) -> None:
        """Make all that is neither an input nor a weight NaN again, as at the start."""
        dram = self._shared["dram"]
        kept = [
            dram.dense(buffer.name, buffer.address, buffer.shape)
            for buffer in self._program.buffers
            if buffer.role in (*STORED_ROLES, "input")
        ]
        copies = [stored.copy() for stored in kept]
        for memory in self._shared.values():
            memory.clear()
        for core in self._cores:
            for memory in (core.l1, core.weights, core.accumulator):
                memory.clear()
        for stored, values in zip(kept, copies, strict=True):
            stored[...] = values

    def run(self, order: Sequence[int] | None = None, on_trace: OnTrace | None = None) -> None:
        """Run all steps, in program order or in the positions of `order` (see hwmodel.programs.order).

        `on_trace` gets every trace of the program right after its step, and needs program order.
        Raises KernelError for traces with an order, an order that is no permutation, and an instruction at
        fault, naming step, instruction, core, field, address and size.
        """
        sequence = positions(self._program)
        if order is not None and (on_trace is not None or sorted(order) != list(range(len(sequence)))):
            raise KernelError("an order names every position once, and is run without traces")
        bases = [self._bases(step) for step in range(len(self._program.steps))]
        last = {at.step: number for number, at in enumerate(sequence)}
        with np.errstate(all="ignore"), single_threaded():
            for number in range(len(sequence)) if order is None else order:
                at = sequence[number]
                self._execute(at, bases[at.step])
                if on_trace is not None and last[at.step] == number:
                    for trace in self._traces.get(at.step, ()):
                        on_trace(trace, self._read_trace(trace))

    def _bases(self, step: int) -> list[int]:
        launch = self._program.steps[step]
        symbols = self._program.kernels[launch.kernel].symbols
        for symbol in symbols:
            if symbol.name not in launch.bindings:
                raise KernelError(f"step {step}: symbol {symbol.name!r} of {launch.kernel} is not bound")
        return [launch.bindings[symbol.name] for symbol in symbols]

    def _execute(self, at: Position, bases: Sequence[int]) -> None:
        launch = self._program.steps[at.step]
        actions = self._decoded[launch.kernel, launch.first_core]
        if at.index >= len(actions):
            self._system_copy(at, at.index - len(actions))
            return
        found = actions[at.index]
        if found is None:
            found = actions[at.index] = self._decode(at)
        for position, action in enumerate(found):
            try:
                action(bases)
            except KernelError as error:
                raise self._located(at, position, error) from error

    def _decode(self, at: Position) -> list[Action]:
        kernel = self._kernels.of(at.step)
        instruction = kernel.instructions[at.index]
        found = []
        for position in range(len(instruction.cores)):
            try:
                action = self._decoder.decode(kernel, instruction, position)
            except KernelError as error:
                raise self._located(at, position, error) from error
            found.append(action or _nothing)
        return found

    def _located(self, at: Position, position: int, error: KernelError) -> KernelError:
        kernel = self._kernels.of(at.step)
        instruction = kernel.instructions[at.index]
        return KernelError(
            f"step {at.step}, kernel {kernel.name}, instruction {at.index} {instruction.op.name}, "
            f"core {instruction.cores[position]}: {error}"
        )

    def _system_copy(self, at: Position, number: int) -> None:
        copy = self._program.steps[at.step].copies[number]
        try:
            if copy.size_bytes < 0:
                raise KernelError(f"size_bytes: {copy.size_bytes} is negative")
            if "llb" not in self._shared:
                raise KernelError("llb_address: the machine has no LLB")
            if copy.size_bytes:
                llb, dram = self._shared["llb"], self._shared["dram"]
                elements, rest = divmod(copy.size_bytes * self._scale, llb.dtype.itemsize)
                if rest:
                    raise KernelError(f"size_bytes: {copy.size_bytes} cuts an element in two")
                size = (elements,)
                on_chip = llb.dense("llb_address", copy.llb_address, size)
                outside = dram.dense("dram_address", copy.dram_address, size)
                if copy.to_dram:
                    outside[...] = on_chip
                else:
                    on_chip[...] = outside
        except KernelError as error:
            raise KernelError(f"step {at.step}, copy {number}: {error}") from error

    def _read_trace(self, trace: Trace) -> NDArray[np.float32]:
        if trace.memory not in self._shared:
            raise KernelError(f"the trace of {trace.tensor!r} is in {trace.memory!r}, which is not shared")
        field = f"trace of {trace.tensor!r} after step {trace.step}"
        return self._shared[trace.memory].dense(field, trace.address, _trace_shape(trace)).astype(np.float32)


def _trace_shape(trace: Trace) -> tuple[int, int, int, int]:
    """Extents of a trace; its images and rows are half-open intervals."""
    images, rows = trace.images[1] - trace.images[0], trace.rows[1] - trace.rows[0]
    if min(images, rows, trace.columns, trace.channels) < 1:
        raise KernelError(f"the trace of {trace.tensor!r} after step {trace.step} is empty")
    return (images, rows, trace.columns, trace.channels)


def _nothing(_: Iterable[int]) -> None:
    """What an instruction does on a core with a zero extent."""
