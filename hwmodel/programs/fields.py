"""The fields of every instruction: which an op must have and which it may have, in the order of files.

Instructions are open records; this table is what makes the kernel files and the simulator strict.
"""

from __future__ import annotations

from typing import TypeVar

from graph.primitives import UNARY
from hwmodel.errors import KernelError
from hwmodel.programs.isa import Instruction, Op, OperandKind, StepCode, VectorKind

_Code = TypeVar("_Code", VectorKind, StepCode, OperandKind)

# An instruction has fewer steps than this: a step has at least an op and a kind, and few are ever fused.
MAX_STEPS = 64

# A REARRANGE has at most this many digits.
MAX_DIGITS = 16

# Steps without an operand. CLIP is one that has fields nevertheless: its limits.
UNARY_CODES = frozenset(StepCode[op.name] for op in UNARY)


def view_fields(name: str) -> tuple[str, ...]:
    """Fields of the view `name` in core memory."""
    parts = ("addr", "image_stride", "row_stride", "col_stride", "row", "ring")
    return tuple(f"{name}_{part}" for part in parts)


def window_fields(name: str) -> tuple[str, ...]:
    """Fields of the window `name` in shared memory."""
    return tuple(
        f"{name}_{part}" for part in ("symbol", "offset", "image_stride", "row_stride", "col_stride")
    )


_BOX = ("images", "rows", "columns", "channels")
_KERNEL = ("kernel_h", "kernel_w", "stride_h", "stride_w")
_PAD = ("pad_top", "pad_left")
_WINDOW = (*view_fields("in"), "in_rows", "in_columns", *_KERNEL, *_PAD, "count_include_pad")
_CHANNELS = (*view_fields("in"), "in_channels", "channel_start")

_OP_FIELDS: dict[Op, tuple[str, ...]] = {
    Op.LAUNCH: (),
    Op.LOAD: (*_BOX, *view_fields("dst"), *window_fields("src")),
    Op.LOADW: ("rows", "row_bytes", "dst_addr", "src_symbol", "src_offset", "src_row_stride"),
    Op.STORE: (*_BOX, *view_fields("src"), *window_fields("dst")),
    Op.BROADCAST: (*_BOX, *view_fields("src"), "targets"),
    Op.CONV: (
        *("images", "rows", "columns", "out_channels", "acc_addr", "accumulate", "weight_addr"),
        *(*view_fields("in"), "in_rows", "in_columns", "in_channels"),
        *(*_KERNEL, "dilation_h", "dilation_w", *_PAD),
    ),
    Op.VECTOR: ("kind", *_BOX, *view_fields("out"), "step_count"),
    Op.MATMUL: (
        *("images", "rows", "columns", "out_channels", "in_channels", "acc_addr", "accumulate"),
        *("transposed", *view_fields("in"), *view_fields("w")),
    ),
    Op.GATHER: (
        *(*_BOX, *view_fields("dst"), *view_fields("idx")),
        *("src_symbol", "src_offset", "src_row_stride", "entries"),
    ),
}

_KIND_FIELDS: dict[VectorKind, tuple[str, ...]] = {
    VectorKind.ACCUMULATOR: ("acc_addr",),
    VectorKind.COPY: view_fields("in"),
    VectorKind.WINDOW_MAX: _WINDOW,
    VectorKind.WINDOW_AVERAGE: _WINDOW,
    VectorKind.CHANNEL_NORM: (*_CHANNELS, "size", "alpha", "beta", "bias"),
    VectorKind.SOFTMAX: _CHANNELS,
    VectorKind.NORM: (*_CHANNELS, "group", "epsilon", "center"),
    VectorKind.REDUCE_SUM: (*_CHANNELS, "group"),
    VectorKind.REDUCE_AVERAGE: (*_CHANNELS, "group"),
    VectorKind.REDUCE_MAX: (*_CHANNELS, "group"),
    VectorKind.REDUCE_MIN: (*_CHANNELS, "group"),
    VectorKind.WINDOW_MIN: _WINDOW,
    VectorKind.REARRANGE: (
        *(*view_fields("in"), "in_start", "in_rows", "in_columns", "in_channels"),
        *("out_columns", "out_channels", "row_start", "channel_start", "offset", "digits"),
    ),
}

# Fields that an instruction may have beside those that it needs: of a VECTOR those of SOFTMAX, and those of a
# REARRANGE of some columns.
_OPTIONAL: dict[Op, tuple[str, ...]] = {
    Op.VECTOR: ("group", "log", "in_map_columns", "in_column_start", "column_start"),
    Op.CONV: ("kernel_turned",),
    Op.BROADCAST: view_fields("dst"),
}

# Fields that hold the bits of a float32 number; the same names in a step end so after its prefix.
FLOAT_FIELDS = frozenset({"alpha", "beta", "bias", "epsilon", "low", "high"})


def _step_names(index: int) -> tuple[str, ...]:
    prefix = f"s{index}"
    return (f"{prefix}_op", f"{prefix}_kind", *view_fields(prefix), f"{prefix}_low", f"{prefix}_high")


def _digit_names(index: int) -> tuple[str, ...]:
    return (f"d{index}_size", f"d{index}_stride")


def _ordered(op: Op) -> tuple[str, ...]:
    names = dict.fromkeys(_OP_FIELDS[op])
    if op is Op.VECTOR:
        names |= dict.fromkeys(name for fields in _KIND_FIELDS.values() for name in fields)
        names |= dict.fromkeys(_OPTIONAL[op])
        names |= dict.fromkeys(name for index in range(MAX_DIGITS) for name in _digit_names(index))
        names |= dict.fromkeys(name for index in range(MAX_STEPS) for name in _step_names(index))
    else:
        names |= dict.fromkeys(_OPTIONAL.get(op, ()))
    return tuple(names)


# Every field that an op may have, and its place in the order in which files give them.
KNOWN: dict[Op, dict[str, int]] = {op: {name: i for i, name in enumerate(_ordered(op))} for op in Op}


def is_float(name: str) -> bool:
    """Whether field `name` holds the bits of a float32 number."""
    return name in FLOAT_FIELDS or (name.startswith("s") and name.rpartition("_")[2] in ("low", "high"))


def _get(instruction: Instruction, name: str, position: int) -> int:
    if name not in instruction.fields:
        raise KernelError(f"{instruction.op.name} has no field {name}")
    return instruction.value(name, position)


def code(kind: type[_Code], value: int, name: str) -> _Code:
    """The member of an enumeration that field `name` names; raises KernelError where there is none."""
    try:
        return kind(value)
    except ValueError:
        raise KernelError(f"field {name} is {value}, which is no {kind.__name__}") from None


def required(instruction: Instruction, position: int) -> set[str]:
    """Fields that an instruction needs on the core at `position`; raises KernelError on an unknown code."""
    names = set(_OP_FIELDS[instruction.op])
    if instruction.op is Op.BROADCAST and not instruction.fields.keys().isdisjoint(view_fields("dst")):
        names.update(view_fields("dst"))
    if instruction.op is not Op.VECTOR:
        return names
    kind = code(VectorKind, _get(instruction, "kind", position), "kind")
    names.update(_KIND_FIELDS[kind])
    if kind is VectorKind.REARRANGE:
        digits = _get(instruction, "digits", position)
        if not 0 <= digits <= MAX_DIGITS:
            raise KernelError(f"field digits is {digits}, which is not from 0 to {MAX_DIGITS}")
        names.update(name for index in range(digits) for name in _digit_names(index))
    steps = _get(instruction, "step_count", position)
    if not 0 <= steps < MAX_STEPS:
        raise KernelError(f"field step_count is {steps}, which is not from 0 to {MAX_STEPS - 1}")
    for index in range(steps):
        prefix = f"s{index}"
        names.update((f"{prefix}_op", f"{prefix}_kind"))
        step = code(StepCode, _get(instruction, f"{prefix}_op", position), f"{prefix}_op")
        operand = code(OperandKind, _get(instruction, f"{prefix}_kind", position), f"{prefix}_kind")
        if step is StepCode.CLIP:
            names.update((f"{prefix}_low", f"{prefix}_high"))
        elif (operand is OperandKind.NONE) != (step in UNARY_CODES):
            problem = "takes none" if step in UNARY_CODES else "needs one"
            raise KernelError(f"step {index} has the operand {operand.name}, and {step.name} {problem}")
        else:
            names.update(_operand_fields(operand, prefix))
    return names


def _operand_fields(operand: OperandKind, prefix: str) -> tuple[str, ...]:
    if operand is OperandKind.PARAMETER:
        return (f"{prefix}_addr",)
    if operand in (OperandKind.TENSOR, OperandKind.CHANNEL):
        return view_fields(prefix)
    return (f"{prefix}_low",) if operand is OperandKind.SCALAR else ()


def check(instruction: Instruction) -> None:
    """Raise KernelError unless an instruction has the fields of its op and no others, a value per core."""
    known = KNOWN[instruction.op]
    if not instruction.cores or len(set(instruction.cores)) != len(instruction.cores):
        raise KernelError(f"{instruction.op.name} names no core, or one twice")
    count = len(instruction.cores)
    for name, values in instruction.fields.items():
        if name not in known:
            raise KernelError(f"{instruction.op.name} has the unknown field {name}")
        if len(values) not in (1, count):
            raise KernelError(f"field {name} has {len(values)} values for {count} cores")
    selectors = [
        values
        for name, values in instruction.fields.items()
        if name.endswith(("kind", "step_count", "_op", "digits"))
    ]
    same = all(len(values) == 1 for values in selectors)
    for position in range(1 if same else count):
        missing = required(instruction, position) - instruction.fields.keys()
        if missing:
            raise KernelError(f"{instruction.op.name} has no field {min(missing)}")
