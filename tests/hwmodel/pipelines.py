"""A hand-written program with every kind of dependence, for the race checker and for orders of execution.

Two cores work on two images, one after the other. Each computes half of the output channels of a pointwise
convolution, sends them to the other, averages one row of all channels, and stores it to the LLB; then both
read it all, add a half and store an image each to DRAM. A second kernel, on one core, doubles that, which the
system DMA has brought to the LLB. No wait is there without need.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import (
    Buffer,
    Instruction,
    Kernel,
    Launch,
    Op,
    OperandKind,
    Program,
    Ref,
    StepCode,
    Symbol,
    SystemCopy,
    VectorKind,
)
from tests.hwmodel import made_programs as programs
from tests.hwmodel.made_programs import Array, bits, box, instruction, relu, steps, view, window

# Where things are, in bytes.
L1 = {"x": 0, "y": 256, "z": 512, "all": 768, "sum": 1024, "half": 1280, "twice": 1536}
LLB = {"w": 0, "z": 128, "half": 256}
DRAM = {"x": 0, "w": 256, "half": 512, "out": 768}

X, Y, Z = (1, 2, 3, 4), (2, 3, 4), (2, 2, 1, 4)


def machine() -> Machine:
    """Two cores, fp32, with a system DMA."""
    data = programs.machine(cores=2).model_dump()
    data["system_dma"] = {"bytes_per_cycle": 8, "startup_cycles": 3}
    return Machine.model_validate(data)


def weights() -> dict[str, Array]:
    """The weights of the program."""
    return {"w": np.random.default_rng(7).standard_normal((4, 4, 1, 1)).astype(np.float32)}


def inputs() -> Array:
    """The input x, (images, channels, rows, columns)."""
    return np.random.default_rng(8).standard_normal((2, 4, 2, 3)).astype(np.float32)


def expected() -> Array:
    """The output, (images, channels, rows, 1), with plain numpy."""
    y = np.maximum(np.einsum("kc,bchw->bkhw", weights()["w"][:, :, 0, 0], inputs()), 0)
    return np.asarray((y.mean(axis=3, keepdims=True) + 0.5) * 2, np.float32)


def _first() -> Kernel:
    cores = (0, 1)
    mine = {"y_addr": (L1["y"], L1["y"] + 8)}  # the channels of each core
    tile = (1, 2, 3, 2)
    shape = {"in_rows": 2, "in_columns": 3, "in_channels": 4}
    ones = ("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w")
    flat = {"pad_top": 0, "pad_left": 0}
    pooling: dict[str, int | tuple[int, ...]] = {
        **{"kind": VectorKind.WINDOW_AVERAGE, "in_rows": 1, "in_columns": 3, "count_include_pad": 0},
        **{"kernel_h": 1, "kernel_w": 3, "stride_h": 1, "stride_w": 1, "in_row": (0, 1)},
    }

    def load(image: int, waits: tuple[int, ...] = ()) -> Instruction:
        source = window("src", 0, image * 96, X[1:], 4)
        return instruction(Op.LOAD, cores, box(X), view("dst", L1["x"], X[1:], 4), source, waits=waits)

    def conv(*waits: int) -> Instruction:
        fields = {**dict.fromkeys(ones, 1), **shape, **flat, "weight_addr": 0, "acc_addr": 0, "accumulate": 0}
        return instruction(
            Op.CONV, cores, box(tile, "out_channels"), view("in", L1["x"], X[1:], 4), fields, waits=waits
        )

    def activate(wait: int) -> Instruction:
        fields = {"kind": VectorKind.ACCUMULATOR, "acc_addr": 0}
        target = view("out", 0, Y, 4) | {"out_addr": mine["y_addr"]}
        return instruction(Op.VECTOR, cores, fields, box(tile), target, steps(relu()), waits=(wait,))

    def send(wait: int) -> Instruction:
        source = view("src", 0, Y, 4) | {"src_addr": mine["y_addr"], "targets": (2, 1)}
        return instruction(Op.BROADCAST, cores, box(tile), source, waits=(wait,))

    def pool(wait: int) -> Instruction:
        views = view("in", L1["y"], Y, 4) | view("out", L1["z"], (1, 1, 4), 4)
        return instruction(Op.VECTOR, cores, views, pooling, flat, box((1, 1, 1, 4)), steps(), waits=(wait,))

    def store(image: int, wait: int) -> Instruction:
        target = window("dst", 2, 0, Z[1:], 4) | {"dst_offset": (image * 32, image * 32 + 16)}
        source = view("src", L1["z"], (1, 1, 4), 4)
        return instruction(Op.STORE, cores, box((1, 1, 1, 4)), source, target, waits=(wait,))

    weight = {"rows": 1, "row_bytes": 32, "dst_addr": 0, "src_symbol": 1, "src_row_stride": 0}
    add = steps({"op": StepCode.ADD, "kind": OperandKind.SCALAR, "low": bits(0.5)})
    views = view("in", L1["all"], Z[1:], 4) | view("out", L1["sum"], Z[1:], 4)
    halves = view("src", 0, Z[1:], 4) | {"src_addr": (L1["sum"], L1["sum"] + 32)}
    return Kernel(
        "first",
        (Symbol("x", "dram"), Symbol("w", "llb"), Symbol("z", "llb"), Symbol("half", "dram")),
        (
            instruction(Op.LAUNCH, cores),
            instruction(Op.LOADW, cores, weight, {"src_offset": (0, 32)}, events=("weights",)),
            load(0),
            conv(2),
            load(1, (3,)),
            activate(3),
            conv(4, 5),
            send(5),
            pool(7),
            store(0, 8),
            activate(6),
            send(10),
            pool(11),
            store(1, 12),
            instruction(
                Op.LOAD, cores, box(Z), view("dst", L1["all"], Z[1:], 4), window("src", 2, 0, Z[1:], 4)
            ),
            instruction(Op.VECTOR, cores, {"kind": VectorKind.COPY}, box(Z), views, add, waits=(14,)),
            instruction(
                *(Op.STORE, cores, box((1, *Z[1:])), halves),
                window("dst", 3, 0, Z[1:], 4) | {"dst_offset": (0, 32)},
                waits=(15,),
            ),
        ),
    )


def _second() -> Kernel:
    double = steps({"op": StepCode.MUL, "kind": OperandKind.SCALAR, "low": bits(2.0)})
    views = view("in", L1["half"], Z[1:], 4) | view("out", L1["twice"], Z[1:], 4)
    source, target = window("src", 0, 0, Z[1:], 4), window("dst", 1, 0, Z[1:], 4)
    return Kernel(
        "second",
        (Symbol("half", "llb"), Symbol("out", "dram")),
        (
            instruction(Op.LAUNCH, (1,)),
            instruction(Op.LOAD, (1,), box(Z), view("dst", L1["half"], Z[1:], 4), source, events=("copied",)),
            instruction(Op.VECTOR, (1,), {"kind": VectorKind.COPY}, box(Z), views, double, waits=(1,)),
            instruction(Op.STORE, (1,), box(Z), view("src", L1["twice"], Z[1:], 4), target, waits=(2,)),
        ),
    )


def pipeline() -> Program:
    """The program: two kernels, a step each, with a system copy before each."""
    first, second = _first(), _second()
    count = len(first.instructions)
    return Program(
        machine().name,
        {"first": first, "second": second},
        (
            Launch(
                "first",
                {"x": DRAM["x"], "w": LLB["w"], "z": LLB["z"], "half": DRAM["half"]},
                {"weights": (Ref(0, count),)},
                (SystemCopy(1, DRAM["w"], LLB["w"], 64),),
            ),
            Launch(
                "second",
                {"half": LLB["half"], "out": DRAM["out"]},
                {"copied": (Ref(1, len(second.instructions)),)},
                (SystemCopy(0, DRAM["half"], LLB["half"], 64, (Ref(0, count - 1),)),),
            ),
        ),
        (
            Buffer("x", "input", DRAM["x"], (2, 2, 3, 4)),
            Buffer("w", "weight", DRAM["w"], (4, 4, 1, 1)),
            Buffer("half", "boundary", DRAM["half"], Z),
            Buffer("out", "output", DRAM["out"], Z),
        ),
    )


def with_instruction(program: Program, kernel: str, index: int, changed: Instruction) -> Program:
    """The program with one instruction of a kernel replaced."""
    old = program.kernels[kernel]
    body = (*old.instructions[:index], changed, *old.instructions[index + 1 :])
    return replace(program, kernels={**program.kernels, kernel: replace(old, instructions=body)})


def without_a_wait(program: Program) -> Iterator[tuple[str, Program]]:
    """The program without one of its waits, for every wait, with a name for it."""
    for name, kernel in program.kernels.items():
        for index, each in enumerate(kernel.instructions):
            for wait in each.waits:
                fewer = replace(each, waits=tuple(other for other in each.waits if other != wait))
                yield f"{name} {index} for {wait}", with_instruction(program, name, index, fewer)
    for number, step in enumerate(program.steps):
        for event, refs in step.events.items():
            for ref in refs:
                events = {**step.events, event: tuple(other for other in refs if other != ref)}
                yield f"step {number} {event}", _with_step(program, number, replace(step, events=events))
        for index, copy in enumerate(step.copies):
            if copy.waits:
                copies = (*step.copies[:index], replace(copy, waits=()), *step.copies[index + 1 :])
                yield f"step {number} copy", _with_step(program, number, replace(step, copies=copies))


def _with_step(program: Program, number: int, step: Launch) -> Program:
    return replace(program, steps=(*program.steps[:number], step, *program.steps[number + 1 :]))
