"""What one instruction does on one core: its fields are decoded once into a function that moves the bytes.

All private addresses are checked when an instruction is decoded, those in shared memory at every launch, when
the addresses of the symbols are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from graph.primitives import INDEX_BASE
from hwmodel.errors import KernelError
from hwmodel.functional import compute
from hwmodel.functional.matrices import WeightMatrices
from hwmodel.functional.operands import Core, extents, positive, windowed_input
from hwmodel.functional.storage import (
    Box,
    FloatArray,
    Memory,
    Values,
    View,
    check_apart,
    ring_view,
    target_view,
    window,
)
from hwmodel.functional.vector_unit import decode_vector
from hwmodel.programs.fields import required
from hwmodel.programs.isa import Instruction, Kernel, Op

# Runs an instruction on a core, given the address of each symbol of the kernel.
Action = Callable[[Sequence[int]], None]


@dataclass(frozen=True, slots=True)
class Decoder:
    """Decodes instructions for a machine's cores and its shared memories `llb` and `dram`."""

    cores: Sequence[Core]
    shared: Mapping[str, Memory]
    matrices: WeightMatrices = field(default_factory=WeightMatrices)

    def decode(self, kernel: Kernel, instruction: Instruction, position: int) -> Action | None:
        """The action of an instruction on the core at `position` of its cores; None if it has nothing to do.

        Raises KernelError on a missing field, an unknown code, or an address that leaves its memory.
        """
        number = instruction.cores[position]
        if not 0 <= number < len(self.cores):
            raise KernelError(f"there are cores 0 to {len(self.cores) - 1}")
        if instruction.op is Op.LAUNCH:
            return None
        missing = required(instruction, position) - instruction.fields.keys()
        if missing:
            raise KernelError(f"field {min(missing)} is missing")
        values = {
            name: field[0] if len(field) == 1 else field[position]
            for name, field in instruction.fields.items()
        }
        core = self.cores[number]
        if instruction.op is Op.LOADW:
            return self._load_weights(kernel, core, values)
        if instruction.op is Op.CONV:
            return _conv(core, values, self.matrices)
        if instruction.op is Op.MATMUL:
            return _matmul(core, values)
        box = extents(values, "channels")
        if 0 in box:
            return None
        if instruction.op is Op.VECTOR:
            return decode_vector(core, values, box)
        if instruction.op is Op.LOAD:
            return self._load(kernel, core, values, box)
        if instruction.op is Op.STORE:
            return self._store(kernel, core, values, box)
        if instruction.op is Op.GATHER:
            return self._gather(kernel, core, values, box)
        return self._broadcast(core, values, box)

    def _symbol(self, kernel: Kernel, values: Values, name: str) -> tuple[int, Memory]:
        symbol = values[f"{name}_symbol"]
        if not 0 <= symbol < len(kernel.symbols):
            raise KernelError(
                f"{name}_symbol: {symbol} is not one of the kernel's {len(kernel.symbols)} symbols"
            )
        memory = kernel.symbols[symbol].memory
        if memory not in self.shared:
            raise KernelError(f"{name}_symbol: {memory!r} is not a shared memory")
        return symbol, self.shared[memory]

    def _load(self, kernel: Kernel, core: Core, values: Values, box: Box) -> Action:
        symbol, memory = self._symbol(kernel, values, "src")
        target = target_view(core.l1, values, "dst", box)

        def load(bases: Sequence[int]) -> None:
            for part, rows in target.pairs(window(memory, bases[symbol], values, "src", box)):
                part[...] = rows

        return load

    def _store(self, kernel: Kernel, core: Core, values: Values, box: Box) -> Action:
        symbol, memory = self._symbol(kernel, values, "dst")
        source = ring_view(core.l1, values, "src", box)
        check_apart(memory, values, "dst", box)

        def store(bases: Sequence[int]) -> None:
            for part, rows in source.pairs(window(memory, bases[symbol], values, "dst", box)):
                rows[...] = part

        return store

    def _gather(self, kernel: Kernel, core: Core, values: Values, box: Box) -> Action:
        entries, _ = positive(values, "entries", "channels")
        symbol, memory = self._symbol(kernel, values, "src")
        target = target_view(core.l1, values, "dst", box)
        indices = ring_view(core.l1, values, "idx", (*box[:3], 2))
        item = memory.dtype.itemsize // memory.scale

        def gather(bases: Sequence[int]) -> None:
            address = bases[symbol] + values["src_offset"]
            strides = (values["src_row_stride"], item)
            table = memory.strided("src_offset", address, (entries, box[3]), strides)
            for part, rows in target.pairs(table[_numbers(indices.read(), entries)]):
                part[...] = rows

        return gather

    def _load_weights(self, kernel: Kernel, core: Core, values: Values) -> Action | None:
        rows, row_bytes = values["rows"], values["row_bytes"]
        item = core.weights.dtype.itemsize // core.weights.scale
        if rows == 0 or row_bytes == 0:
            return None
        if row_bytes % item:
            raise KernelError(f"row_bytes: {row_bytes} cuts an element of {item} bytes in two")
        shape = (rows, row_bytes // item)
        symbol, memory = self._symbol(kernel, values, "src")
        target = core.weights.dense("dst_addr", values["dst_addr"], shape)

        def load(bases: Sequence[int]) -> None:
            address = bases[symbol] + values["src_offset"]
            target[...] = memory.strided("src_offset", address, shape, (values["src_row_stride"], item))

        return load

    def _broadcast(self, core: Core, values: Values, box: Box) -> Action:
        mask = values["targets"]
        if mask < 0 or mask >> len(self.cores):
            raise KernelError(f"targets: mask {mask:#x} names cores that the machine has not")
        targets = [other for number, other in enumerate(self.cores) if mask >> number & 1]
        if "dst_addr" in values:
            read = ring_view(core.l1, values, "src", box)
            written = [target_view(other.l1, values, "dst", box) for other in targets]

            def send(_: Sequence[int]) -> None:
                sent = np.concatenate([part.array for part in (read.first, read.second) if part], axis=1)
                for target in written:
                    for place, rows in target.pairs(sent):
                        place[...] = rows

            return send
        source = target_view(core.l1, values, "src", box)  # written at the same place of the targets
        copies = [ring_view(other.l1, values, "src", box) for other in targets if other is not core]

        def broadcast(_: Sequence[int]) -> None:
            for target in copies:
                _copy(source, target)

        return broadcast


def _numbers(halves: NDArray[np.float32], entries: int) -> NDArray[np.int64]:
    """The indices whose two halves are the last axis; raises KernelError on one that is none of a table's."""
    high, low = halves[..., 0].astype(np.float64), halves[..., 1].astype(np.float64)
    index = high * INDEX_BASE + low
    wrong = ~((index >= 0) & (index < entries) & (np.rint(high) == high) & (np.rint(low) == low))
    if wrong.any():
        at = tuple(int(axis) for axis in np.argwhere(wrong)[0])
        raise KernelError(
            f"idx: the index at (image, row, column) = {at} is {high[at]:g} x {INDEX_BASE} + {low[at]:g} = "
            f"{index[at]:.10g}, which is not a whole number from 0 to {entries - 1}"
        )
    return index.astype(np.int64)


def _copy(source: View, target: View) -> None:
    target.first.array[...] = source.first.array
    if source.second is not None and target.second is not None:
        target.second.array[...] = source.second.array


def _conv(core: Core, values: Values, matrices: WeightMatrices) -> Action | None:
    box = extents(values, "out_channels")
    if 0 in box:
        return None
    images, rows, columns, k = box
    (c,) = positive(values, "in_channels")
    kernel_h, kernel_w = positive(values, "kernel_h", "kernel_w")
    stride_h, stride_w, dilation_h, dilation_w = positive(
        values, "stride_h", "stride_w", "dilation_h", "dilation_w"
    )
    source = windowed_input(core, values, c, (dilation_h, dilation_w))
    if values.get("kernel_turned", 0):
        stored = core.weights.dense("weight_addr", values["weight_addr"], (k, c, kernel_w, kernel_h))
        weights = stored.transpose(0, 1, 3, 2)
    else:
        weights = core.weights.dense("weight_addr", values["weight_addr"], (k, c, kernel_h, kernel_w))
    tile = core.accumulator.dense("acc_addr", values["acc_addr"], box)
    pad = (values["pad_top"], values["pad_left"])
    out, kernel = (rows, columns), (kernel_h, kernel_w)
    stride, dilation = (stride_h, stride_w), (dilation_h, dilation_w)
    pixels = images * rows * columns
    write = _tile_writer(tile, values["accumulate"])

    def conv(_: Sequence[int]) -> None:
        matrix = matrices.get(weights, pixels)
        write(compute.convolve(source.read(), matrix, out, kernel, stride, dilation, pad))

    return conv


def _matmul(core: Core, values: Values) -> Action | None:
    box = extents(values, "out_channels")
    if 0 in box:
        return None
    images, k = box[0], box[3]
    (c,) = positive(values, "in_channels")
    transposed = bool(values["transposed"])
    source = ring_view(core.l1, values, "in", (*box[:3], c))
    right = ring_view(core.l1, values, "w", (images, k, 1, c) if transposed else (images, c, 1, k))
    tile = core.accumulator.dense("acc_addr", values["acc_addr"], box)
    write = _tile_writer(tile, values["accumulate"])
    return lambda _: write(compute.matmul(source.read(), right.read(), transposed))


def _tile_writer(tile: FloatArray, accumulate: int) -> Callable[[NDArray[np.float32]], None]:
    """Stores a result in a tile of the accumulator, or adds it to what is there."""

    def write(result: NDArray[np.float32]) -> None:
        if accumulate:
            np.add(tile, result, out=tile)
        else:
            tile[...] = result

    return write
