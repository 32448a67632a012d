"""Small programs written by hand, for the tests of what runs, stores and checks programs."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import (
    Buffer,
    Instruction,
    Kernel,
    Launch,
    Op,
    OperandKind,
    Program,
    StepCode,
    Symbol,
)

Array = NDArray[np.float32]
Shape = tuple[int, int, int, int]


def machine(element: str = "fp32", cores: int = 2, **sizes: int) -> Machine:
    """The machine `tiny` with larger memories, another element type, or sizes in bytes by memory name."""
    data = load_machine("tiny").model_dump()
    data |= {"element": element, "cores": cores}
    for name in ("l1", "weights", "accumulator", "llb"):
        data["memories"][name]["bytes"] = sizes.get(name, 1 << 16)
    return Machine.model_validate(data)


def item(m: Machine) -> int:
    """Bytes of an element."""
    return m.element_bytes


def view(
    name: str, address: int, shape: Sequence[int], size: int, ring: int = 0, row: int = 0
) -> dict[str, int]:
    """Fields of a dense view of (rows, columns, channels), or of that many rows in a larger ring."""
    rows, columns, channels = shape
    by_row = columns * channels * size
    ring = ring or rows
    return {
        f"{name}_addr": address,
        f"{name}_image_stride": ring * by_row,
        f"{name}_row_stride": by_row,
        f"{name}_col_stride": channels * size,
        f"{name}_row": row,
        f"{name}_ring": ring,
    }


def window(name: str, symbol: int, offset: int, shape: Sequence[int], size: int) -> dict[str, int]:
    """Fields of a window into a dense (rows, columns, channels) tensor."""
    rows, columns, channels = shape
    return {
        f"{name}_symbol": symbol,
        f"{name}_offset": offset,
        f"{name}_image_stride": rows * columns * channels * size,
        f"{name}_row_stride": columns * channels * size,
        f"{name}_col_stride": channels * size,
    }


def box(shape: Shape, channels: str = "channels") -> dict[str, int]:
    """Fields of the extents (images, rows, columns, channels)."""
    return dict(zip(("images", "rows", "columns", channels), shape, strict=True))


def instruction(
    op: Op,
    cores: Iterable[int],
    *fields: Mapping[str, int | tuple[int, ...]],
    waits: Iterable[int] = (),
    events: Iterable[str] = (),
) -> Instruction:
    """An instruction; a field is a number for all cores or a tuple with one for each."""
    merged: dict[str, tuple[int, ...]] = {}
    for group in fields:
        for name, value in group.items():
            merged[name] = value if isinstance(value, tuple) else (value,)
    return Instruction(op, tuple(cores), merged, tuple(waits), tuple(events))


def bits(value: float) -> int:
    """The bits of a float32."""
    return int(np.float32(value).view(np.uint32))


def steps(*parts: Mapping[str, int]) -> dict[str, int]:
    """Fields of a VECTOR's steps, each given without its prefix; names of views as in view("", ...)."""
    fields = {"step_count": len(parts)}
    for index, part in enumerate(parts):
        fields |= {f"s{index}_{name.removeprefix('_')}": value for name, value in part.items()}
    return fields


def relu() -> dict[str, int]:
    """A step max(y, 0)."""
    return {"op": StepCode.RELU, "kind": OperandKind.NONE}


def parameter(op: StepCode, address: int) -> dict[str, int]:
    """A step with a vector of one number per channel."""
    return {"op": op, "kind": OperandKind.PARAMETER, "addr": address}


# Where `single` keeps things in core memory, in elements.
OUT, OTHER = 4096, 8192


def single(
    m: Machine,
    x: Shape,
    out: Shape,
    compute: Sequence[Instruction],
    weights: Mapping[str, Array] | None = None,
    other: bool = False,
    cores: Sequence[int] = (0,),
) -> Program:
    """A program of one step: load input x (NHWC), compute, store the output from element OUT of L1.

    The weights are loaded one after another into the weight buffer. With `other` a second input, of the shape
    of the output, is loaded to element OTHER. Each instruction waits for the one before it.
    """
    size = item(m)
    symbols, buffers, bindings = [], [], {}
    address = 0

    def buffer(name: str, role: str, shape: tuple[int, ...]) -> None:
        nonlocal address
        buffers.append(Buffer(name, role, address, shape))
        bindings[name] = address
        symbols.append(Symbol(name, "dram"))
        address += math.prod(shape) * size + 8

    buffer("x", "input", x)
    buffer("out", "output", out)
    if other:
        buffer("other", "input", out)
    body = [
        instruction(Op.LAUNCH, cores),
        instruction(Op.LOAD, cores, box(x), view("dst", 0, x[1:], size), window("src", 0, 0, x[1:], size)),
    ]
    if other:
        body.append(
            instruction(
                Op.LOAD,
                cores,
                box(out),
                view("dst", OTHER * size, out[1:], size),
                window("src", 2, 0, out[1:], size),
            )
        )
    used = 0
    for name, values in (weights or {}).items():
        buffer(name, "weight" if values.ndim == 4 else "parameter", values.shape)
        fields = {
            "rows": 1,
            "row_bytes": values.size * size,
            "dst_addr": used,
            "src_symbol": len(symbols) - 1,
            "src_offset": 0,
            "src_row_stride": 0,
        }
        body.append(instruction(Op.LOADW, cores, fields))
        used += values.size * size
    body += compute
    body.append(
        instruction(
            Op.STORE,
            cores[:1],
            box(out),
            view("src", OUT * size, out[1:], size),
            window("dst", 1, 0, out[1:], size),
        )
    )
    chained = tuple(
        Instruction(i.op, i.cores, i.fields, tuple(range(max(0, n - 1), n))) for n, i in enumerate(body)
    )
    kernel = Kernel("k", tuple(symbols), chained)
    return Program(m.name, {"k": kernel}, (Launch("k", bindings, {}),), tuple(buffers))
