"""What one instruction does on one core: its fields are decoded once into a function that moves the bytes.

All private addresses are checked when an instruction is decoded, those in shared memory at every launch, when
the addresses of the symbols are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from hwmodel import compute
from hwmodel.errors import KernelError
from hwmodel.fields import code, required
from hwmodel.isa import Instruction, Kernel, Op, OperandKind, StepCode, VectorKind
from hwmodel.matrices import WeightMatrices
from hwmodel.storage import Box, FloatArray, Memory, Values, View, ring_view, window

# Runs an instruction on a core, given the address of each symbol of the kernel.
Action = Callable[[Sequence[int]], None]

# A convolution or a window covers at most this many elements of its input, padding included.
MAX_COVERED = 1 << 29

# Changes the values of a step's accumulator or input in place, or returns others.
_Step = Callable[[NDArray[np.float32], NDArray[np.float32] | None], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Core:
    """The memories that are private to one core."""

    l1: Memory
    weights: Memory
    accumulator: Memory


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
        box = _box(values, "channels")
        if 0 in box:
            return None
        if instruction.op is Op.VECTOR:
            return _vector(core, values, box)
        if instruction.op is Op.LOAD:
            return self._load(kernel, core, values, box)
        if instruction.op is Op.STORE:
            return self._store(kernel, core, values, box)
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
        target = ring_view(core.l1, values, "dst", box)

        def load(bases: Sequence[int]) -> None:
            for part, rows in target.pairs(window(memory, bases[symbol], values, "src", box)):
                part[...] = rows

        return load

    def _store(self, kernel: Kernel, core: Core, values: Values, box: Box) -> Action:
        symbol, memory = self._symbol(kernel, values, "dst")
        source = ring_view(core.l1, values, "src", box)

        def store(bases: Sequence[int]) -> None:
            for part, rows in source.pairs(window(memory, bases[symbol], values, "dst", box)):
                rows[...] = part

        return store

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
        source = ring_view(core.l1, values, "src", box)
        copies = []
        for number, other in enumerate(self.cores):
            if mask >> number & 1 and other is not core:
                copies.append(ring_view(other.l1, values, "src", box))

        def broadcast(_: Sequence[int]) -> None:
            for target in copies:
                _copy(source, target)

        return broadcast


def _copy(source: View, target: View) -> None:
    target.first.array[...] = source.first.array
    if source.second is not None and target.second is not None:
        target.second.array[...] = source.second.array


def _box(values: Values, channels: str) -> Box:
    box = (values["images"], values["rows"], values["columns"], values[channels])
    if min(box) < 0:
        raise KernelError(f"an extent of (images, rows, columns, {channels}) = {box} is negative")
    return box


def _positive(values: Values, *names: str) -> tuple[int, ...]:
    for name in names:
        if values[name] < 1:
            raise KernelError(f"{name}: {values[name]} is not positive")
    return tuple(values[name] for name in names)


def _input(core: Core, values: Values, channels: int, dilation: tuple[int, int] = (1, 1)) -> View:
    rows, columns = _positive(values, "in_rows", "in_columns")
    images = values["images"]
    height = compute.span(values["rows"], values["kernel_h"], values["stride_h"], dilation[0])
    width = compute.span(values["columns"], values["kernel_w"], values["stride_w"], dilation[1])
    if images * height * width * channels > MAX_COVERED:
        raise KernelError(f"kernel_h: windows over {height} x {width} positions are more than is possible")
    return ring_view(core.l1, values, "in", (images, rows, columns, channels))


def _conv(core: Core, values: Values, matrices: WeightMatrices) -> Action | None:
    box = _box(values, "out_channels")
    if 0 in box:
        return None
    images, rows, columns, k = box
    (c,) = _positive(values, "in_channels")
    kernel_h, kernel_w = _positive(values, "kernel_h", "kernel_w")
    stride_h, stride_w, dilation_h, dilation_w = _positive(
        values, "stride_h", "stride_w", "dilation_h", "dilation_w"
    )
    source = _input(core, values, c, (dilation_h, dilation_w))
    weights = core.weights.dense("weight_addr", values["weight_addr"], (k, c, kernel_h, kernel_w))
    tile = core.accumulator.dense("acc_addr", values["acc_addr"], box)
    pad = (values["pad_top"], values["pad_left"])
    out, kernel = (rows, columns), (kernel_h, kernel_w)
    stride, dilation = (stride_h, stride_w), (dilation_h, dilation_w)
    pixels = images * rows * columns
    accumulate = values["accumulate"]

    def conv(_: Sequence[int]) -> None:
        matrix = matrices.get(weights, pixels)
        result = compute.convolve(source.read(), matrix, out, kernel, stride, dilation, pad)
        if accumulate:
            np.add(tile, result, out=tile)
        else:
            tile[...] = result

    return conv


def _vector(core: Core, values: Values, box: Box) -> Action:
    produce = _producer(core, values, box)
    steps = [_step(core, values, f"s{index}", box) for index in range(values["step_count"])]
    target = ring_view(core.l1, values, "out", box)

    def vector(_: Sequence[int]) -> None:
        result = produce()
        buffer: NDArray[np.float32] | None = None  # the input may lie in a memory: never change it in place
        for step in steps:
            result = buffer = step(result, buffer)
        target.write(result)

    return vector


def _producer(core: Core, values: Values, box: Box) -> Callable[[], NDArray[np.float32]]:
    kind = code(VectorKind, values["kind"], "kind")
    images, rows, columns, channels = box
    if kind is VectorKind.ACCUMULATOR:
        tile = core.accumulator.dense("acc_addr", values["acc_addr"], box)
        return lambda: tile.astype(np.float32, copy=False)
    if kind is VectorKind.COPY:
        return ring_view(core.l1, values, "in", box).read
    if kind in (VectorKind.WINDOW_MAX, VectorKind.WINDOW_AVERAGE):
        kernel_h, kernel_w, stride_h, stride_w = _positive(
            values, "kernel_h", "kernel_w", "stride_h", "stride_w"
        )
        source = _input(core, values, channels)
        out, kernel, stride = (rows, columns), (kernel_h, kernel_w), (stride_h, stride_w)
        pad = (values["pad_top"], values["pad_left"])
        include = bool(values["count_include_pad"])
        if kind is VectorKind.WINDOW_MAX:
            return lambda: compute.window_max(source.read(), out, kernel, stride, pad)
        return lambda: compute.window_average(source.read(), out, kernel, stride, pad, include)
    in_channels, start = values["in_channels"], values["channel_start"]
    if start < 0 or start + channels > in_channels:
        raise KernelError(f"channel_start: {start} + {channels} channels are not among {in_channels}")
    source = ring_view(core.l1, values, "in", (images, rows, columns, in_channels))
    if kind is VectorKind.SOFTMAX:
        return lambda: compute.softmax(source.read(), start, channels)
    (size,) = _positive(values, "size")
    size = min(size, 2 * in_channels + 1)
    alpha, beta, bias = (float32(values[name]) for name in ("alpha", "beta", "bias"))
    alpha *= size / values["size"]
    return lambda: compute.channel_norm(source.read(), start, channels, size, alpha, beta, bias)


def _step(core: Core, values: Values, name: str, box: Box) -> _Step:
    step = code(StepCode, values[f"{name}_op"], f"{name}_op")
    if step is StepCode.RELU:
        return lambda x, out: np.maximum(x, np.float32(0.0), out=out)
    if step is StepCode.CLIP:
        low, high = np.float32(float32(values[f"{name}_low"])), np.float32(float32(values[f"{name}_high"]))
        return lambda x, out: np.minimum(np.maximum(x, low, out=out), high, out=out)
    function = np.add if step is StepCode.ADD else np.multiply
    operand = code(OperandKind, values[f"{name}_kind"], f"{name}_kind")
    if operand is OperandKind.TENSOR:
        view = ring_view(core.l1, values, name, box)
        return lambda x, out: function(x, view.read(), out=out)
    if operand is OperandKind.SCALAR:
        scalar = np.float32(float32(values[f"{name}_low"]))
        return lambda x, out: function(x, scalar, out=out)
    vector: FloatArray = core.weights.dense(f"{name}_addr", values[f"{name}_addr"], box[3:])
    return lambda x, out: function(x, vector.astype(np.float32, copy=False), out=out)


def float32(bits: int) -> float:
    """The number that the low 32 bits of a field are as a float32."""
    return float(np.uint32(bits & 0xFFFFFFFF).view(np.float32))
