"""The race checker finds every wait that is missing and every access out of place, and nothing else."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Instruction, Kernel, Launch, Op, Program, Symbol, VectorKind
from tests.hwmodel import made_programs as programs
from tests.hwmodel import pipelines
from tests.hwmodel.made_programs import box, instruction, view, window
from tests.hwmodel.pipelines import L1, pipeline, with_instruction, without_a_wait
from tests.hwmodel.race_checker import find_races

MUTANTS = dict(without_a_wait(pipeline()))


def test_a_right_program_has_no_findings() -> None:
    assert find_races(pipeline(), pipelines.machine()) == []


@pytest.mark.parametrize("wait", MUTANTS)
def test_every_missing_wait_is_found(wait: str) -> None:
    assert any("may overlap in time" in line for line in find_races(MUTANTS[wait], pipelines.machine()))


def test_there_are_waits_of_every_kind() -> None:
    assert len(MUTANTS) == 19
    assert {"step 0 weights", "step 1 copied", "step 1 copy", "first 6 for 5"} <= MUTANTS.keys()


def changed(index: int, **fields: int | tuple[int, ...]) -> Program:
    """The pipeline with other values in fields of an instruction of the first kernel."""
    old = pipeline().kernels["first"].instructions[index]
    values = {name: value if isinstance(value, tuple) else (value,) for name, value in fields.items()}
    return with_instruction(pipeline(), "first", index, replace(old, fields={**old.fields, **values}))


@pytest.mark.parametrize(
    "index, fields, message",
    [
        (2, {"dst_addr": (1 << 16) - 4}, "of l1 0 are not in its 65536"),
        (2, {"src_offset": -4}, "bytes -4 to 92 of dram  are not in its"),
        (9, {"dst_offset": (0, 1 << 16)}, "of llb  are not in its"),
        (3, {"weight_addr": (1 << 16) - 4}, "of weights 0 are not in its"),
        (3, {"acc_addr": (0, 1 << 16)}, "of accumulator 1 are not in its"),
        (7, {"targets": 5}, "of l1 2 are not in its"),
        (9, {"dst_offset": 0}, "two of its cores touch byte 128 of ('llb', -1)"),
        (7, {"src_addr": L1["y"]}, "two of its cores touch"),
        (16, {"dst_offset": (0, -512)}, "are written and hold an input or a weight"),
        (4, {"dst_addr": L1["y"]}, "may overlap in time"),
    ],
)
def test_accesses_out_of_place_are_found(
    index: int, fields: dict[str, int | tuple[int, ...]], message: str
) -> None:
    findings = find_races(changed(index, **fields), pipelines.machine())
    assert any(message in line for line in findings), findings


def test_what_a_ring_wraps_to_is_seen() -> None:
    m = programs.machine()
    shape = (1, 3, 2, 2)
    load = instruction(
        *(Op.LOAD, [0], box(shape), window("src", 0, 0, shape[1:], 4)),
        view("dst", 64, shape[1:], 4, ring=4, row=2),  # slots 2, 3 and 0
    )
    for slot, races in ((0, True), (1, False), (2, True), (3, True)):
        read = instruction(
            *(Op.VECTOR, [0], {"kind": 1, "step_count": 0}, box((1, 1, 2, 2))),
            *(view("in", 64 + slot * 16, (1, 2, 2), 4), view("out", 512, (1, 2, 2), 4)),
        )
        assert bool(races_of(m, load, read)) == races


def copied(source: int, target: int) -> Instruction:
    """16 bytes of l1 from one place to another."""
    shape = (1, 1, 1, 4)
    return instruction(
        *(Op.VECTOR, [0], {"kind": VectorKind.COPY, "step_count": 0}, box(shape)),
        *(view("in", source, shape[1:], 4), view("out", target, shape[1:], 4)),
    )


def test_what_new_operations_touch_is_seen() -> None:
    """Each reads bytes 0 to 16 of l1, and none from 128 on."""
    one, four = (1, 1, 1, 4), (1, 4, 1, 1)
    gather = instruction(
        *(Op.GATHER, [0], box((1, 1, 2, 4)), view("dst", 256, (1, 2, 4), 4), view("idx", 0, (1, 2, 2), 4)),
        {"src_symbol": 0, "src_offset": 0, "src_row_stride": 16, "entries": 8},
    )
    product = {"in_channels": 4, "transposed": 0, "acc_addr": 0, "accumulate": 0}
    left = instruction(
        *(Op.MATMUL, [0], box((1, 1, 1, 1), "out_channels"), product),
        *(view("in", 0, one[1:], 4), view("w", 64, four[1:], 4)),
    )
    right = instruction(
        *(Op.MATMUL, [0], box((1, 1, 1, 1), "out_channels"), product),
        *(view("in", 64, one[1:], 4), view("w", 0, four[1:], 4)),
    )
    for reader in (gather, left, right):
        for address, races in ((0, True), (12, True), (128, False)):
            assert bool(races_of(programs.machine(), reader, copied(512, address))) == races
    assert races_of(programs.machine(), gather, copied(256, 512))


def test_a_reduction_reads_its_own_groups() -> None:
    """Of the 8 channels in its view, 4 for each pair of outputs."""
    total = instruction(
        *(Op.VECTOR, [1], {"kind": VectorKind.REDUCE_SUM, "step_count": 0}, box((1, 1, 1, 2))),
        *(view("in", 0, (1, 1, 8), 4), view("out", 256, (1, 1, 2), 4)),
        {"in_channels": 8, "channel_start": 0, "group": 2},
    )
    send = instruction(Op.BROADCAST, [0], box((1, 1, 1, 4)), view("src", 0, (1, 1, 4), 4), {"targets": 2})
    assert races_of(programs.machine(), send, total)
    second = replace(total, fields={**total.fields, "channel_start": (2,)})
    assert races_of(programs.machine(), send, second) == []


def test_a_table_is_read_as_a_whole() -> None:
    m = programs.machine()
    fields = {"src_symbol": 0, "src_offset": 64, "src_row_stride": 16, "entries": 8}
    pixel = (1, 1, 1, 2)
    gather = instruction(
        *(Op.GATHER, [0], box(pixel), view("dst", 256, pixel[1:], 4), view("idx", 0, pixel[1:], 4), fields)
    )
    for offset, races in ((56, False), (64, True), (72, False), (64 + 7 * 16, True), (64 + 8 * 16, False)):
        target = window("dst", 0, offset, pixel[1:], 4)
        store = instruction(Op.STORE, [1], box(pixel), view("src", 0, pixel[1:], 4), target)
        assert bool(races_of(m, gather, store)) == races


def test_products_finish_in_order_and_drain_late() -> None:
    fields = {"in_channels": 4, "transposed": 0, "acc_addr": 0, "accumulate": 0}
    matmul = instruction(
        *(Op.MATMUL, [0], box((1, 1, 1, 4), "out_channels"), fields),
        *(view("in", 0, (1, 1, 4), 4), view("w", 64, (4, 1, 4), 4)),
    )
    read = instruction(
        *(Op.VECTOR, [0], {"kind": VectorKind.ACCUMULATOR, "acc_addr": 0, "step_count": 0}),
        *(box((1, 1, 1, 4)), view("out", 512, (1, 1, 4), 4)),
    )
    m = programs.machine()
    assert races_of(m, matmul, matmul) == []
    assert races_of(m, matmul, read)
    assert races_of(m, matmul, matmul, replace(read, waits=(1,))) == []


def races_of(m: Machine, *body: Instruction) -> list[str]:
    """Findings for a kernel of one symbol in the LLB."""
    kernel = Kernel("k", (Symbol("s", "llb"),), body)
    return find_races(Program(m.name, {"k": kernel}, (Launch("k", {"s": 0}, {}),), ()), m)


def test_a_launch_does_not_hide_that_the_matrix_engine_drains() -> None:
    conv, vector = (pipeline().kernels["first"].instructions[index] for index in (3, 5))
    conv, vector = replace(conv, waits=()), replace(vector, waits=())
    launch = instruction(Op.LAUNCH, (0, 1))
    assert races_of(pipelines.machine(), conv, launch, vector)
    assert races_of(pipelines.machine(), conv, conv, replace(vector, waits=(1,))) == []


def test_a_queue_orders_a_thousand_loads_to_the_same_places() -> None:
    """Each place of L1 is written by every seventh load. What another engine reads of it is not ordered with them."""
    shape = (2, 8, 8, 4)
    source, rows = window("src", 0, 0, shape[1:], 4), (8, 9, 4)
    loads = [
        instruction(Op.LOAD, (0, 1), box(shape), view("dst", (number % 7) * 2048, rows, 4), source)
        for number in range(1000)
    ]
    assert races_of(programs.machine(), instruction(Op.LAUNCH, (0, 1)), *loads) == []
    other = instruction(
        *(Op.VECTOR, [1], {"kind": VectorKind.COPY, "step_count": 0}, box((1, 1, 1, 4))),
        *(view("in", 5120, (1, 1, 4), 4), view("out", 60_000, (1, 1, 4), 4)),
    )
    assert races_of(programs.machine(), *loads[:3], other)
    assert races_of(programs.machine(), *loads[:2], other) == []
