"""Cycles of instructions, by hand on `tiny`; those that make no sense are refused."""

from collections.abc import Mapping

import pytest

from graph.primitives import (
    Anchor,
    ChannelNorm,
    ChannelReduce,
    Concat,
    Contraction,
    MatMul,
    Move,
    Normalize,
    Softmax,
    Step,
    StepOp,
)
from hwmodel.errors import KernelError
from hwmodel.machines.machine import load_machine
from hwmodel.programs.isa import Instruction, Op, OperandKind, StepCode, Symbol, VectorKind
from hwmodel.timing.costs import (
    vector_cycles,
    vector_ops,
    vector_passes,
)
from hwmodel.timing.counts import Counts
from hwmodel.timing.instruction_cost import instruction_cost
from tests.hwmodel.made_programs import bits, box, instruction, parameter, relu, steps, view, window
from tests.hwmodel.timing.instructions import (
    DRAM,
    SHAPE,
    STCP,
    SYMBOLS,
    TINY,
    conv,
    cost,
    gathered,
    load,
    matmul,
    store,
    vector,
)


def test_a_launch_holds_the_compute_engines_of_the_cluster() -> None:
    engines = dict.fromkeys(["core 0 matrix", "core 0 vector", "core 1 matrix", "core 1 vector"], 10)
    assert cost(Op.LAUNCH, (0,)) == (10, engines, Counts())
    concurrent = TINY.model_copy(update={"concurrent_kernels": True})
    assert cost(Op.LAUNCH, (1,), machine=concurrent)[1] == {"core 1 matrix": 10, "core 1 vector": 10}


def test_convolutions_by_hand() -> None:
    counts = Counts(
        macs=128 * 27,
        l1_read_bytes=6 * 6 * 3 * 4,
        weights_read_bytes=8 * 27 * 4,
        accumulator_write_bytes=128 * 4,
    )
    assert cost(Op.CONV, (1,), conv()) == (216, {"core 1 matrix": 216}, counts)
    added = counts._replace(accumulator_read_bytes=128 * 4)
    assert cost(Op.CONV, (1,), conv(accumulate=1))[2] == added
    latency, holds, both = cost(Op.CONV, (0, 1), conv(rows=(4, 0)))
    assert (latency, both) == (216, counts)
    assert holds == {"core 0 matrix": 216, "core 1 matrix": 216}
    latency, holds, _ = cost(Op.CONV, (0,), conv(), machine=STCP)
    assert (latency, holds) == (27 + 64, {"core 0 matrix": 27})


def test_products_of_activations_by_hand() -> None:
    counts = Counts(
        macs=3 * 16 * 6 * 5,
        l1_read_bytes=3 * (16 * 5 + 5 * 6) * 4,
        accumulator_write_bytes=3 * 16 * 6 * 4,
    )
    cycles = 3 * 4 * 2 * 5  # of each image 16 pixels by fours, 6 channels by fours, 5 inputs
    assert cost(Op.MATMUL, (1,), matmul()) == (cycles, {"core 1 matrix": cycles}, counts)
    added = counts._replace(accumulator_read_bytes=3 * 16 * 6 * 4)
    assert cost(Op.MATMUL, (1,), matmul(accumulate=1))[2] == added
    latency, holds, both = cost(Op.MATMUL, (0, 1), matmul(rows=(4, 0)))
    assert (latency, both) == (cycles, counts)
    assert holds == {"core 0 matrix": cycles, "core 1 matrix": cycles}


def test_vectors_by_hand() -> None:
    scalar = {"op": StepCode.MUL, "kind": OperandKind.SCALAR, "low": bits(2.0)}
    clip = {"op": StepCode.CLIP, "kind": OperandKind.SCALAR, "low": bits(0.0), "high": bits(6.0)}
    residual = {"op": StepCode.ADD, "kind": OperandKind.TENSOR, **view("", 0, SHAPE[1:], 4)}
    residual = {name.removeprefix("_"): value for name, value in residual.items()}
    body = vector(VectorKind.ACCUMULATOR, parameter(StepCode.ADD, 0), residual, relu(), acc_addr=0)
    counts = Counts(
        vector_operations=256,
        l1_read_bytes=256,
        l1_write_bytes=256,
        weights_read_bytes=32,
        accumulator_read_bytes=256,
    )
    assert cost(Op.VECTOR, (0,), body) == (64, {"core 0 vector": 64}, counts)
    copied = cost(Op.VECTOR, (0,), vector(VectorKind.COPY, **view("in", 0, SHAPE[1:], 4)))
    assert copied[0] == 16
    assert copied[2] == Counts(vector_operations=64, l1_read_bytes=256, l1_write_bytes=256)
    scaled = cost(Op.VECTOR, (0,), vector(VectorKind.COPY, scalar, clip, **view("in", 0, SHAPE[1:], 4)))
    assert scaled[0] == 48
    halves = cost(Op.VECTOR, (0, 1), body, {"images": (1, 0)})
    assert halves == (64, {"core 0 vector": 64, "core 1 vector": 64}, counts)


def test_windows_and_norms_by_hand() -> None:
    names = ("stride_h", "stride_w", "pad_top", "pad_left", "count_include_pad")
    pool = dict.fromkeys(names, 1) | {"in_rows": 3, "in_columns": 5, "kernel_h": 2, "kernel_w": 2}
    pool |= view("in", 0, (3, 5, 8), 4)
    most = cost(Op.VECTOR, (0,), vector(VectorKind.WINDOW_MAX, **pool))
    assert most[0] == 16 * 4
    assert most[2] == Counts(vector_operations=256, l1_read_bytes=480, l1_write_bytes=256)
    assert cost(Op.VECTOR, (0,), vector(VectorKind.WINDOW_AVERAGE, **pool))[0] == 16 * 5
    norm = {"in_channels": 16, "channel_start": 8, **view("in", 0, (2, 4, 16), 4)}
    soft = cost(Op.VECTOR, (0,), vector(VectorKind.SOFTMAX, **norm))
    assert soft[0] == 16 * 5
    assert soft[2] == Counts(vector_operations=320, l1_read_bytes=512, l1_write_bytes=256)
    norm |= {"size": 5, "alpha": bits(1.0), "beta": bits(0.75), "bias": bits(1.0)}
    local = cost(Op.VECTOR, (0,), vector(VectorKind.CHANNEL_NORM, **norm))
    assert local[0] == 16 * 9


def test_vectors_over_groups_by_hand() -> None:
    wide = {"in_channels": 32, "channel_start": 8, "group": 4, **view("in", 0, (2, 4, 32), 4)}
    reduced = cost(Op.VECTOR, (0,), vector(VectorKind.REDUCE_AVERAGE, **(wide | {"channel_start": 0})))
    assert reduced[0] == 16 * 5
    assert reduced[2] == Counts(vector_operations=64 * 5, l1_read_bytes=64 * 4 * 4, l1_write_bytes=256)
    norm = cost(Op.VECTOR, (0,), vector(VectorKind.NORM, **wide, epsilon=0, center=1))
    assert norm[0] == 16 * 5
    assert norm[2] == Counts(vector_operations=64 * 5, l1_read_bytes=8 * 32 * 4, l1_write_bytes=256)
    assert cost(Op.VECTOR, (0,), vector(VectorKind.NORM, **wide, epsilon=0, center=0))[0] == 16 * 3
    assert cost(Op.VECTOR, (0,), vector(VectorKind.SOFTMAX, **wide, log=0))[0] == 16 * 5
    assert cost(Op.VECTOR, (0,), vector(VectorKind.SOFTMAX, **wide, log=1))[0] == 16 * 6


def test_rearrangements_and_repeated_operands_by_hand() -> None:
    """Each output element is read once, however often the view repeats it."""
    names = ("in_start", "row_start", "channel_start", "offset")
    fields = dict.fromkeys(names, 0) | view("in", 0, (2, 4, 99), 4)
    fields |= {"in_rows": 2, "in_columns": 4, "in_channels": 99}
    fields |= {"out_columns": 4, "out_channels": 8, "digits": 1, "d0_size": 64, "d0_stride": 1}
    moved = cost(Op.VECTOR, (0,), vector(VectorKind.REARRANGE, **fields))
    assert moved[0] == 16
    assert moved[2] == Counts(vector_operations=64, l1_read_bytes=256, l1_write_bytes=256)
    other = {name.removeprefix("_"): value for name, value in view("", 0, (1, 1, 1), 4).items()}
    other |= {"op": StepCode.POW, "kind": OperandKind.CHANNEL, "row_stride": 0, "col_stride": 0}
    powered = cost(Op.VECTOR, (0,), vector(VectorKind.COPY, other, **view("in", 0, SHAPE[1:], 4)))
    assert powered[0] == 16 * 3
    assert powered[2] == Counts(vector_operations=192, l1_read_bytes=512, l1_write_bytes=256)


def test_a_layer_and_its_instruction_cost_the_same() -> None:
    """Lowering starts from the layer, decoding from the fields."""
    pairs: list[tuple[Anchor, Instruction]] = []
    norm = {"in_channels": 8, "channel_start": 0, **view("in", 0, SHAPE[1:], 4)}
    pairs.append((Softmax(8), instruction(Op.VECTOR, (0,), vector(VectorKind.SOFTMAX, relu(), **norm))))
    norm |= {"size": 7, "alpha": 0, "beta": 0, "bias": 0}
    kind = VectorKind.CHANNEL_NORM
    pairs.append((ChannelNorm(7, 0.1, 0.2, 0.3), instruction(Op.VECTOR, (0,), vector(kind, relu(), **norm))))
    grouped = {"in_channels": 8, "channel_start": 0, "group": 4, **view("in", 0, SHAPE[1:], 4)}
    for anchor, kind, more in (
        (Softmax(4, log=True), VectorKind.SOFTMAX, {"log": 1}),
        (Normalize(4, 0.0), VectorKind.NORM, {"epsilon": 0, "center": 1}),
        (Normalize(4, 0.0, center=False), VectorKind.NORM, {"epsilon": 0, "center": 0}),
        (ChannelReduce(4, "average"), VectorKind.REDUCE_AVERAGE, {}),
        (ChannelReduce(4, "min"), VectorKind.REDUCE_MIN, {}),
    ):
        pairs.append((anchor, instruction(Op.VECTOR, (0,), vector(kind, relu(), **grouped, **more))))
    body = vector(VectorKind.ACCUMULATOR, relu(), acc_addr=0)
    pairs.append((MatMul(8, 8), instruction(Op.VECTOR, (0,), body)))
    pairs.append((Contraction(8, 8, 1, 1), instruction(Op.VECTOR, (0,), body)))
    source = view("in", 0, SHAPE[1:], 4)
    copy = instruction(Op.VECTOR, (0,), vector(VectorKind.COPY, relu(), **source))
    pairs += [(Move(), copy), (Concat(), copy)]
    after = (Step(StepOp.RELU),)
    for machine in (TINY, STCP):
        for anchor, body_instruction in pairs:
            found = instruction_cost(machine, (), body_instruction)
            passes = vector_passes(machine, anchor, after)
            assert found.latency_cycles == vector_cycles(machine.table(), 64, passes)
            assert found.counts.vector_operations == 64 * vector_ops(anchor, after)


@pytest.mark.parametrize("op", [Op.LOADW, Op.LOAD, Op.CONV, Op.VECTOR])
@pytest.mark.parametrize("machine_name", ["tiny", "meta_prototype_df"])
def test_extents_that_no_memory_holds_are_refused(op: Op, machine_name: str) -> None:
    """Extents of a damaged kernel: each fits 64 bits, what they make together does not."""
    machine = load_machine(machine_name)
    ones = dict.fromkeys(("kernel_h", "kernel_w", "stride_h", "stride_w", "dilation_h", "dilation_w"), 1)
    zeros = dict.fromkeys(("pad_top", "pad_left", "weight_addr", "acc_addr", "accumulate"), 0)
    for most in (1 << 20, (1 << 63) - 1):
        shape = (most, most, most)
        whole = box((1, *shape), "out_channels" if op is Op.CONV else "channels")
        fields: dict[Op, list[dict[str, int]]] = {
            Op.LOADW: [
                {"rows": most, "row_bytes": 1 << 30, "dst_addr": 0},
                {"src_symbol": DRAM, "src_offset": 0, "src_row_stride": 1},
            ],
            Op.LOAD: [whole, view("dst", 0, (1, 1, 4), 4), window("src", DRAM, 0, (1, 1, 4), 4)],
            Op.CONV: [
                ones,
                zeros,
                {"in_rows": most, "in_columns": most, "in_channels": most},
                whole,
                view("in", 0, (1, 1, 4), 4),
            ],
            Op.VECTOR: [
                {"kind": VectorKind.ACCUMULATOR, "acc_addr": 0},
                whole,
                view("out", 0, (1, 1, 4), 4),
                steps(),
            ],
        }
        with pytest.raises(KernelError, match=r"(more|larger) than 17592186044416"):
            instruction_cost(machine, SYMBOLS, instruction(op, (0,), *fields[op]))


@pytest.mark.parametrize(
    "op, fields, message",
    [
        (Op.LOAD, {**load(DRAM, 0), "rows": -1}, "rows: -1 is negative"),
        (Op.LOAD, load(7, 0), "src_symbol: 7 is not one of the kernel's 2 symbols"),
        (Op.STORE, store(-1, 0), "dst_symbol: -1 is not one of the kernel's 2 symbols"),
        (Op.CONV, {"rows": 1}, "CONV has no field"),
        (Op.MATMUL, {**matmul(), "in_channels": -1}, "in_channels: -1 is negative"),
        (Op.GATHER, {**gathered(), "src_symbol": 2}, "src_symbol: 2 is not one of the kernel's 2 symbols"),
        (Op.LAUNCH, {"colour": 1}, "LAUNCH has the unknown field colour"),
        (Op.BROADCAST, {**box(SHAPE), **view("src", 0, SHAPE[1:], 4), "targets": 4}, "targets: 0x4 names"),
        (
            Op.BROADCAST,
            {**box(SHAPE), **view("src", 0, SHAPE[1:], 4), "targets": 2, "dst_addr": 0},
            "BROADCAST has no field dst_col_stride",
        ),
        (Op.VECTOR, {**vector(VectorKind.COPY), "kind": 99}, "field kind is 99"),
    ],
)
def test_a_wrong_instruction_is_refused(op: Op, fields: Mapping[str, int], message: str) -> None:
    with pytest.raises(KernelError, match=message):
        instruction_cost(TINY, SYMBOLS, instruction(op, (0,), fields))


def test_cores_and_memories_must_exist() -> None:
    with pytest.raises(KernelError, match="core 2: tiny has cores 0 to 1"):
        instruction_cost(TINY, SYMBOLS, instruction(Op.LAUNCH, (2,)))
    with pytest.raises(KernelError, match="src_symbol: 'l1' is not a shared memory"):
        instruction_cost(TINY, (Symbol("x", "l1"),), instruction(Op.LOAD, (0,), load(0, 0)))
