"""The instruction set and the Program: what lowering produces, kernels store, and both simulators run.

One instruction is SPMD: it runs at the same time on every core of `cores`. Its operands are integer fields; a
field is one value for all cores or one value per core (in the order of `cores`). Addresses, offsets and strides
are in bytes at the machine's element size; nothing refers to the Python objects that an instruction came from.

Memories: `l1` (activations), `weights` (weight buffer) and `accumulator` (float32) are private to a core; `llb`
and `dram` are shared and named through symbols, which a step binds to absolute addresses.

A *view* named P in core memory is the fields P_addr, P_image_stride, P_row_stride, P_col_stride, and the ring:
logical row r of the view lies at slot (P_row + r) % P_ring, that is, at byte
P_addr + image * P_image_stride + slot * P_row_stride + column * P_col_stride; channels are contiguous.
A *window* named P in shared memory is P_symbol (index into the kernel's symbols), P_offset, P_image_stride,
P_row_stride, P_col_stride; rows do not wrap.

Operations, each with its engine, its fields and its meaning:

- LAUNCH (matrix and vector of all cores, or of those that the step names): start of a kernel.
- LOAD (dma): view dst; window src; images rows columns channels. Shared memory -> l1.
- LOADW (dma): dst_addr; src_symbol src_offset src_row_stride; rows row_bytes. Shared memory -> `weights`, dense.
- STORE (dma): view src; window dst; images rows columns channels. l1 -> shared memory.
- BROADCAST (dma): view src; targets (bit mask of cores); images rows columns channels. Own l1 -> the same place in
  the targets' l1; with a view dst (left out: none) to that place there, of which the core itself may be a target.
- CONV (matrix): view in; weight_addr; acc_addr; images rows columns out_channels; in_rows in_columns in_channels;
  kernel_h kernel_w stride_h stride_w dilation_h dilation_w pad_top pad_left; accumulate. Convolution into the dense
  float32 tile (images, rows, columns, out_channels) at acc_addr; weights are dense (out_channels, in_channels,
  kernel_h, kernel_w) or, with kernel_turned 1 (left out: 0), (out_channels, in_channels, kernel_w, kernel_h), for an
  image that lies with rows and columns swapped; positions outside the in_rows x in_columns that are given read zero.
- MATMUL (matrix): view in; view w; acc_addr; images rows columns out_channels in_channels; transposed; accumulate.
  For every image, the (rows x columns, in_channels) matrix of `in` times that of `w`, into the float32 tile as for
  CONV. `w` has one column; with transposed 1 its rows are the out_channels and its channels the in_channels, with 0
  its rows are the in_channels and its channels the out_channels.
- GATHER (dma): view dst; view idx; src_symbol src_offset src_row_stride entries; images rows columns channels.
  Shared memory -> l1: pixel (image, row, column) of dst is row i of the table at src_offset, i = first x 2048 +
  second of the two channels of the same pixel of `idx`; i must be below entries.
- VECTOR (vector): kind; view out; images rows columns channels; by kind, see VectorKind; step_count and steps.
  Element-wise, window, norm.

A VECTOR's steps: `step_count`, and per step i: s{i}_op (StepCode), s{i}_kind (OperandKind), and by kind
s{i}_addr (dense per-channel vector in `weights`, element type of the machine), a view s{i} in l1 (row_stride,
col_stride or image_stride 0 repeat a row, a column, an image; CHANNEL: one channel for all), or the bits of float32
numbers s{i}_low and s{i}_high (SCALAR uses s{i}_low; CLIP both). Arithmetic is float32; results are
rounded to the element type when they are written to l1.
A core with nothing to do in an instruction has a zero extent (rows, images or channels 0).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum

STORED_ROLES = ("weight", "parameter", "constant", "table")
"""Roles of the buffers whose values are there before a program runs, beside its inputs."""


class Op(IntEnum):
    """Operation codes; the numbers are part of the binary kernel format."""

    LAUNCH = 0
    LOAD = 1
    LOADW = 2
    STORE = 3
    BROADCAST = 4
    CONV = 5
    VECTOR = 6
    MATMUL = 7
    GATHER = 8


class VectorKind(IntEnum):
    """What a VECTOR instruction reads before its steps.

    ACCUMULATOR: the dense float32 tile at acc_addr. COPY: view in (same extents as the output).
    WINDOW_MAX and WINDOW_AVERAGE: view in, in_rows in_columns kernel_h kernel_w stride_h stride_w pad_top pad_left
    count_include_pad; positions outside the in_rows x in_columns that are given are padding: they never win a
    maximum, and an average divides by the positions inside, or by the whole window with count_include_pad.
    CHANNEL_NORM: view in over in_channels channels, channel_start, size, alpha,
    beta, bias (float32 bits): output channels are channel_start + [0, channels). SOFTMAX: view in over in_channels
    channels, channel_start, group, log: over each group of channels of `in` (older kernels have no group, which is all
    of in_channels, and no log, which is 0). NORM: view in over in_channels,
    channel_start, group, epsilon (float32 bits), center. REDUCE_SUM, REDUCE_AVERAGE, REDUCE_MAX, REDUCE_MIN: view in
    over in_channels, channel_start, group: output channel k is that of input channels (channel_start + k) x group on.
    WINDOW_MIN: as WINDOW_MAX. REARRANGE: graph.primitives.Rearrange of one image: view in over in_rows (the first is
    row in_start of the input) x in_columns x in_channels; offset, digits, and per digit d{i}_size d{i}_stride; the
    output's whole maps have out_columns columns and out_channels channels, and this one begins at row row_start,
    channel channel_start. Of some columns: column_start, the first of the output; in_column_start and in_map_columns,
    the first one given of the input and how many its maps have (kernels of whole rows have none of the three).
    """

    ACCUMULATOR = 0
    COPY = 1
    WINDOW_MAX = 2
    WINDOW_AVERAGE = 3
    CHANNEL_NORM = 4
    SOFTMAX = 5
    NORM = 6
    REDUCE_SUM = 7
    REDUCE_AVERAGE = 8
    REDUCE_MAX = 9
    REDUCE_MIN = 10
    WINDOW_MIN = 11
    REARRANGE = 12


class StepCode(IntEnum):
    """Codes of graph.primitives.StepOp, which says what each does; the numbers are part of the binary format."""

    ADD = 0
    MUL = 1
    RELU = 2
    CLIP = 3
    SUB = 4
    RSUB = 5
    DIV = 6
    RDIV = 7
    MAX = 8
    MIN = 9
    POW = 10
    RPOW = 11
    LESS = 12
    LESS_OR_EQUAL = 13
    GREATER = 14
    GREATER_OR_EQUAL = 15
    EQUAL = 16
    KEEP_IF = 17
    KEEP_UNLESS = 18
    PRELU = 19
    ELU = 20
    ABS = 21
    SIGN = 22
    FLOOR = 23
    CEIL = 24
    ROUND = 25
    EXP = 26
    LOG = 27
    SQRT = 28
    ERF = 29
    SIN = 30
    COS = 31
    TANH = 32
    SIGMOID = 33
    SOFTPLUS = 34
    GELU = 35
    GELU_TANH = 36
    SILU = 37
    MISH = 38


class OperandKind(IntEnum):
    """Where the operand of a vector step is."""

    NONE = 0
    PARAMETER = 1
    TENSOR = 2
    SCALAR = 3
    CHANNEL = 4


@dataclass(frozen=True, slots=True)
class Instruction:
    """One SPMD instruction.

    `fields` maps a name to one value for all cores (length 1) or one per core (length len(cores)). `waits` are
    indices of earlier instructions of the same kernel; `events` name what the step binds to instructions of
    earlier steps.
    """

    op: Op
    cores: tuple[int, ...]
    fields: Mapping[str, tuple[int, ...]]
    waits: tuple[int, ...] = ()
    events: tuple[str, ...] = ()

    def value(self, name: str, position: int) -> int:
        """Field `name` for the core at `position` of `cores`."""
        values = self.fields[name]
        return values[0] if len(values) == 1 else values[position]


@dataclass(frozen=True, slots=True)
class Symbol:
    """A buffer in shared memory (`llb` or `dram`) that a step binds to an address."""

    name: str
    memory: str


@dataclass(frozen=True, slots=True)
class Kernel:
    """Instructions of one kernel shape in program order, and the symbols that they use."""

    name: str
    symbols: tuple[Symbol, ...]
    instructions: tuple[Instruction, ...]


@dataclass(frozen=True, slots=True)
class Ref:
    """Instruction `index` of step `step`; indices from len(instructions) on are the step's copies."""

    step: int
    index: int


@dataclass(frozen=True, slots=True)
class SystemCopy:
    """A copy DRAM -> LLB, or LLB -> DRAM where it goes `to_dram`, by the system DMA, placed after `position`
    instructions of its step's kernel."""

    position: int
    dram_address: int
    llb_address: int
    size_bytes: int
    waits: tuple[Ref, ...] = ()
    to_dram: bool = False


@dataclass(frozen=True, slots=True)
class Launch:
    """One step: a kernel, the address of each of its symbols, what its events wait for, and the system copies
    merged into its program order.

    Where kernels run concurrently, the kernel's core 0 is the machine's `first_core`. Its LAUNCH starts the cores
    `launch_cores` and holds them for the launch; None are those of the kernel, and with () it takes no time, since an
    earlier LAUNCH has started them, or with `barrier` that of a barrier. `waits` is what all its instructions up to
    its LAUNCH wait for.
    """

    kernel: str
    bindings: Mapping[str, int]
    events: Mapping[str, tuple[Ref, ...]]
    copies: tuple[SystemCopy, ...] = ()
    first_core: int = 0
    launch_cores: tuple[int, ...] | None = None
    barrier: bool = False
    waits: tuple[Ref, ...] = ()


@dataclass(frozen=True, slots=True)
class Buffer:
    """A named interval of DRAM: `role` is input, output, boundary, weight, parameter, constant, table or overlaps;
    activations are (images, rows, columns, channels), weights (K, C/groups, kernel_h, kernel_w), parameters (K,),
    constants (rows, columns, channels), tables (entries, channels), overlaps (slices of the batch, elements)."""

    name: str
    role: str
    address: int
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Trace:
    """Where a tensor that crosses an instance boundary can be read after a step: images, rows and the window in
    `memory`; used to compare with the reference."""

    tensor: str
    step: int
    memory: str
    address: int
    images: tuple[int, int]
    rows: tuple[int, int]
    columns: int
    channels: int


@dataclass(frozen=True, slots=True)
class Run:
    """The next `count` instructions and copies of a step, in program order."""

    step: int
    count: int


@dataclass(frozen=True, slots=True)
class Program:
    """Kernels, the launches in order, DRAM buffers, and where boundary tensors can be seen.

    `order` is the program order where the instructions of steps interleave; without it step follows step.
    """

    machine: str
    kernels: Mapping[str, Kernel]
    steps: tuple[Launch, ...]
    buffers: tuple[Buffer, ...]
    traces: tuple[Trace, ...] = ()
    order: tuple[Run, ...] = ()
