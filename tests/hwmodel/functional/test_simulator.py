"""The functional simulator's memories: rings, cores, traces, what was never written, and what is refused."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest

from hwmodel.errors import KernelError
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import (
    Buffer,
    Instruction,
    Kernel,
    Launch,
    Op,
    Program,
    Symbol,
    SystemCopy,
    Trace,
    VectorKind,
)
from tests.hwmodel import made_programs as programs
from tests.hwmodel import pipelines
from tests.hwmodel.machine_variants import without_llb
from tests.hwmodel.made_programs import OUT, Array, box, instruction, relu, steps, view, window


def run(program: Program, m: Machine, x: Array, arithmetic: str = "native") -> Array:
    simulator = FunctionalSimulator(program, m, "fp32" if arithmetic == "fp32" else "native", {})
    simulator.write_input("x", x.transpose(0, 3, 1, 2))
    simulator.run()
    return simulator.read_output("out").transpose(0, 2, 3, 1)


def numbers(*shape: int) -> Array:
    return np.arange(1, 1 + np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("element", ["fp32", "fp16"])
@pytest.mark.parametrize("row", [0, 3, 4, 13])
def test_rings_wrap_for_every_engine(element: str, row: int) -> None:
    """x goes to a ring, by VECTOR to another, by BROADCAST to core 1 and from there to the output."""
    m = programs.machine(element)
    size = m.element_bytes
    shape = (2, 4, 3, 2)
    one = view("dst", 0, shape[1:], size, ring=5, row=row)
    two = view("out", OUT * size, shape[1:], size, ring=6, row=row)
    body = (
        instruction(Op.LOAD, [0], box(shape), one, window("src", 0, 0, shape[1:], size)),
        instruction(
            *(Op.VECTOR, [0], {"kind": VectorKind.COPY}, box(shape), two),
            *(view("in", 0, shape[1:], size, ring=5, row=row), steps(relu())),
            waits=(0,),
        ),
        instruction(
            *(Op.BROADCAST, [0], box(shape), {"targets": 2}),
            view("src", OUT * size, shape[1:], size, ring=6, row=row),
            waits=(1,),
        ),
        instruction(
            *(Op.STORE, [1], box(shape), window("dst", 1, 0, shape[1:], size)),
            view("src", OUT * size, shape[1:], size, ring=6, row=row),
            waits=(2,),
        ),
    )
    x = numbers(*shape)
    found = run(two_buffers(m, shape, shape, body), m, x)
    assert np.array_equal(found, x)


@pytest.mark.parametrize("element", ["fp32", "fp16"])
@pytest.mark.parametrize("row", [0, 3, 13])
def test_a_broadcast_to_another_place(element: str, row: int) -> None:
    """From a ring to one of another size, row and pixel, of core 0 itself and of core 1, which each store half."""
    m = programs.machine(element)
    size = m.element_bytes
    shape, half = (2, 4, 3, 2), (1, 4, 3, 2)
    there = view("dst", OUT * size, (7, 3, 4), size, ring=7, row=row + 1)
    read = {name.replace("dst", "src"): value for name, value in there.items()}
    second = read | {"src_addr": read["src_addr"] + read["src_image_stride"]}
    image = math.prod(shape[1:]) * size
    body = (
        instruction(
            Op.LOAD,
            [0],
            box(shape),
            view("dst", 0, shape[1:], size, ring=5, row=row),
            window("src", 0, 0, shape[1:], size),
        ),
        instruction(
            *(Op.BROADCAST, [0], box(shape), {"targets": 3}),
            *(view("src", 0, shape[1:], size, ring=5, row=row), there),
            waits=(0,),
        ),
        instruction(Op.STORE, [0], box(half), window("dst", 1, 0, shape[1:], size), read, waits=(1,)),
        instruction(Op.STORE, [1], box(half), window("dst", 1, image, shape[1:], size), second, waits=(1,)),
    )
    x = numbers(*shape)
    assert np.array_equal(run(two_buffers(m, shape, shape, body), m, x), x)


def test_a_convolution_reads_a_ring() -> None:
    m = programs.machine()
    shape, out = (1, 3, 4, 2), (1, 3, 4, 1)
    fields = {
        **{"in_rows": 3, "in_columns": 4, "in_channels": 2, "kernel_h": 3, "kernel_w": 1},
        **{"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": 1, "pad_left": 0},
        **{"weight_addr": 0, "acc_addr": 0, "accumulate": 0},
    }
    ring = view("in", 0, shape[1:], 4, ring=4, row=2)
    conv = instruction(Op.CONV, [0], box(out, "out_channels"), fields, ring)
    load = instruction(
        *(Op.LOAD, [0], box(shape), view("dst", 0, shape[1:], 4, ring=4, row=2)),
        window("src", 0, 0, shape[1:], 4),
    )
    target = view("out", OUT * 4, out[1:], 4)
    vector = instruction(Op.VECTOR, [0], {"kind": 0, "acc_addr": 0}, box(out), target, steps())
    w = np.array([1, 10, 100, 1000, 10000, 100000], np.float32).reshape(1, 2, 3, 1)
    program = programs.single(m, shape, out, [load, conv, vector], {"w": w})
    simulator = FunctionalSimulator(program, m, "native", {"w": w})
    x = numbers(*shape) / np.float32(8)
    simulator.write_input("x", x.transpose(0, 3, 1, 2))
    simulator.run()
    padded = np.pad(x, ((0, 0), (1, 1), (0, 0), (0, 0)))
    expected = sum(padded[:, i : i + 3] @ w[0, :, i, 0] for i in range(3))
    assert np.allclose(simulator.read_output("out")[:, 0], expected)


def two_buffers(m: Machine, x: programs.Shape, out: programs.Shape, body: tuple[Instruction, ...]) -> Program:
    """A program of one step over an input and an output, nothing else."""
    kernel = Kernel("k", (Symbol("x", "dram"), Symbol("out", "dram")), body)
    buffers = (Buffer("x", "input", 0, x), Buffer("out", "output", 4096, out))
    return Program(m.name, {"k": kernel}, (Launch("k", {"x": 0, "out": 4096}, {}),), buffers)


def test_cores_have_their_own_fields_and_memories() -> None:
    """Core 0 takes one row, core 1 two, core 2 none; all write to the same address of their own memory."""
    m = programs.machine("fp32", cores=3)
    shape = (1, 3, 2, 2)
    rows = {"rows": (1, 2, 0)}
    part = {"src_offset": (0, 16, 1 << 40)}  # where a core has nothing to do its address does not matter
    body = (
        instruction(
            *(Op.LOAD, (0, 1, 2), box(shape), view("dst", 64, shape[1:], 4)),
            *(window("src", 0, 0, shape[1:], 4), rows, part),
        ),
        instruction(
            *(Op.STORE, (0, 1, 2), box(shape), view("src", 64, shape[1:], 4)),
            *(window("dst", 1, 0, shape[1:], 4), rows, {"dst_offset": (0, 16, -1)}),
            waits=(0,),
        ),
    )
    assert np.array_equal(run(two_buffers(m, shape, shape, body), m, numbers(*shape)), numbers(*shape))


@pytest.mark.parametrize("arithmetic", ["native", "fp32"])
def test_what_was_never_written_is_nan(arithmetic: str) -> None:
    m = programs.machine("fp16")
    shape = (1, 2, 2, 3)
    load = instruction(
        *(Op.LOAD, [0], box((1, 2, 2, 2)), view("dst", 0, shape[1:], 2)), window("src", 0, 0, shape[1:], 2)
    )  # of three channels only two
    vector = instruction(
        *(Op.VECTOR, [0], {"kind": VectorKind.COPY}, box(shape), view("in", 0, shape[1:], 2)),
        *(view("out", OUT * 2, shape[1:], 2), steps(relu())),
        waits=(0,),
    )
    source = view("src", OUT * 2, shape[1:], 2)
    target = window("dst", 1, 0, shape[1:], 2)
    store = instruction(Op.STORE, [0], box(shape), source, target, waits=(1,))
    found = run(two_buffers(m, shape, shape, (load, vector, store)), m, numbers(*shape), arithmetic)
    assert np.array_equal(np.isnan(found), np.broadcast_to([False, False, True], shape))
    assert np.array_equal(found[..., :2], numbers(*shape)[..., :2])


def test_native_rounds_what_is_written_and_fp32_does_not() -> None:
    m = programs.machine("fp16")
    shape = (1, 1, 1, 1)
    add = steps(
        {"op": 0, "kind": 3, "low": programs.bits(2048)}, {"op": 0, "kind": 3, "low": programs.bits(1)}
    )
    views = view("in", 0, shape[1:], 2) | view("out", OUT * 2, shape[1:], 2)
    body = [instruction(Op.VECTOR, [0], {"kind": VectorKind.COPY}, box(shape), views, add)]
    program = programs.single(m, shape, shape, body)
    x = np.full(shape, 0.4375, np.float32)
    assert run(program, m, x).item() == 2050.0  # once, at the end: 2049 would be a tie that goes to 2048
    assert run(program, m, x, "fp32").item() == 2049.4375


def test_traces_show_tensors_after_their_steps() -> None:
    program = pipelines.pipeline()
    traces = (
        Trace("z", 0, "llb", pipelines.LLB["z"], (0, 2), (0, 2), 1, 4),
        Trace("half", 0, "dram", pipelines.DRAM["half"] + 32, (1, 2), (0, 2), 1, 4),
        Trace("half", 1, "dram", pipelines.DRAM["half"] + 16, (0, 1), (1, 2), 1, 4),
    )
    program = replace(program, traces=traces)
    simulator = FunctionalSimulator(program, pipelines.machine(), "native", pipelines.weights())
    simulator.write_input("x", pipelines.inputs())
    seen: list[tuple[Trace, Array]] = []
    simulator.run(on_trace=lambda trace, array: seen.append((trace, array)))
    assert [trace for trace, _ in seen] == list(traces)
    half = pipelines.expected().transpose(0, 2, 3, 1) / 2
    assert np.allclose(seen[0][1], half - 0.5, rtol=1e-5)
    assert np.allclose(seen[1][1], half[1:], rtol=1e-5)
    assert np.allclose(seen[2][1], half[:1, 1:], rtol=1e-5)
    with pytest.raises(KernelError, match="without traces"):
        simulator.run(list(range(10)), on_trace=lambda trace, array: None)


def test_clearing_keeps_inputs_and_weights() -> None:
    simulator = FunctionalSimulator(pipelines.pipeline(), pipelines.machine(), "native", pipelines.weights())
    simulator.write_input("x", pipelines.inputs())
    simulator.run()
    first = simulator.read_output("out")
    simulator.clear()
    assert np.isnan(simulator.read_output("out")).all()
    assert np.array_equal(simulator.read_output("x"), pipelines.inputs())
    simulator.run()
    assert np.array_equal(simulator.read_output("out"), first)


def pipeline_with(index: int, **fields: int) -> Program:
    old = pipelines.pipeline().kernels["first"].instructions[index]
    values = {name: (value,) for name, value in fields.items()}
    changed = replace(old, fields={**old.fields, **values})
    return pipelines.with_instruction(pipelines.pipeline(), "first", index, changed)


@pytest.mark.parametrize(
    "index, fields, message",
    [
        (
            2,
            {"dst_addr": 65536 - 92},
            "dst_addr: address 65444, size 96 (bytes 65444 to 65540) leaves l1 of core 0",
        ),
        (2, {"dst_addr": -4}, "leaves l1 of core 0 of 65536 bytes"),
        (2, {"dst_addr": 2}, "dst_addr: address 2, size 96 (bytes 2 to 98) cuts an element of l1 of core 0"),
        (2, {"dst_col_stride": 18}, "has a stride of 18 bytes"),
        (2, {"dst_ring": 1}, "dst_ring: a ring of 1 rows is to hold 2"),
        (2, {"dst_row_stride": -48}, "leaves l1"),
        (2, {"rows": -1}, "is negative"),
        (
            2,
            {"src_offset": 900},
            "src_offset: address 900, size 96 (bytes 900 to 996) leaves dram of 832 bytes",
        ),
        (2, {"src_symbol": 4}, "src_symbol: 4 is not one of the kernel's 4 symbols"),
        (1, {"dst_addr": 65536}, "leaves weights of core 0"),
        (1, {"row_bytes": 30}, "row_bytes: 30 cuts an element"),
        (3, {"acc_addr": 65536 - 8}, "leaves accumulator of core 0"),
        (3, {"weight_addr": 65536}, "leaves weights of core 0"),
        (3, {"in_addr": 65536 - 8}, "leaves l1 of core 0"),
        (3, {"kernel_h": 0}, "kernel_h: 0 is not positive"),
        (3, {"stride_h": 1 << 40}, "more than is possible"),
        (5, {"kind": 17}, "field kind is 17, which is no VectorKind"),
        (5, {"s0_op": 99}, "field s0_op is 99"),
        (5, {"step_count": 2}, "VECTOR has no field s1_op"),
        (5, {"step_count": 1 << 60}, "field step_count"),
        (7, {"targets": 4}, "targets: mask 0x4 names cores"),
        (9, {"dst_offset": 65536}, "dst_offset: address 65664"),
    ],
)
def test_instructions_at_fault_are_named(index: int, fields: dict[str, int], message: str) -> None:
    program = pipeline_with(index, **fields)
    simulator = FunctionalSimulator(program, pipelines.machine(), "native", pipelines.weights())
    simulator.write_input("x", pipelines.inputs())
    with pytest.raises(KernelError) as caught:
        simulator.run()
    op = program.kernels["first"].instructions[index].op.name
    assert str(caught.value).startswith(f"step 0, kernel first, instruction {index} {op}, core 0: ")
    assert message in str(caught.value)


def test_programs_that_do_not_fit_are_refused() -> None:
    program, m, w = pipelines.pipeline(), pipelines.machine(), pipelines.weights()
    for machine, arithmetic, weights, message in (
        (programs.machine("int8"), "native", w, "int8 has no native arithmetic"),
        (m, "native", {}, "the values of weight 'w' are missing"),
        (m, "native", {"w": w["w"][:1]}, r"has shape \(1, 4, 1, 1\) instead of \(4, 4, 1, 1\)"),
        (programs.machine(llb=1 << 37), "native", w, "are held"),
    ):
        with pytest.raises(KernelError, match=message):
            FunctionalSimulator(program, machine, "fp32" if arithmetic == "fp32" else "native", weights)
    simulator = FunctionalSimulator(program, m, "native", w)
    with pytest.raises(KernelError, match="the program has no input 'y'; it has x"):
        simulator.write_input("y", pipelines.inputs())
    with pytest.raises(KernelError, match="has shape"):
        simulator.write_input("x", pipelines.inputs()[:1])
    with pytest.raises(KernelError, match="names every position once"):
        simulator.run([0, 0])
    one_core = FunctionalSimulator(program, programs.machine(cores=1), "native", w)
    with pytest.raises(KernelError, match=r"core 1: there are cores 0 to 0"):
        one_core.run()
    step = replace(program.steps[0], copies=(SystemCopy(0, 0, 65536, 4),))
    wrong = FunctionalSimulator(replace(program, steps=(step, program.steps[1])), m, "native", w)
    with pytest.raises(KernelError, match="step 0, copy 0: llb_address: address 65536"):
        wrong.run()
    lacking = FunctionalSimulator(
        replace(program, steps=(step, program.steps[1])), without_llb(m), "native", w
    )
    with pytest.raises(KernelError, match="step 0, copy 0: llb_address: the machine has no LLB"):
        lacking.run()
