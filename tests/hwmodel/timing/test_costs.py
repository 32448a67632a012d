"""Cycles of instructions, by hand on `tiny` and against the definition."""

import math
from collections.abc import Mapping
from fractions import Fraction
from random import Random

import pytest

from graph.primitives import (
    Anchor,
    ChannelNorm,
    ChannelReduce,
    Concat,
    Contraction,
    Embedding,
    MatMul,
    Move,
    Normalize,
    Rearrange,
    Softmax,
    Step,
    StepOp,
    Window,
)
from hwmodel.errors import KernelError
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Instruction, Op, OperandKind, StepCode, Symbol, SystemCopy, VectorKind
from hwmodel.timing.costs import (
    dma_hold,
    dram_cycles,
    dram_rate,
    matmul_cycles,
    matrix_cycles,
    vector_cycles,
    vector_ops,
    vector_passes,
)
from hwmodel.timing.counts import Counts
from hwmodel.timing.instruction_cost import copy_cost, instruction_cost
from hwmodel.timing.resources import resource_name
from tests.hwmodel.machine_variants import with_bursts, with_dram, without_llb
from tests.hwmodel.made_programs import Shape, bits, box, instruction, parameter, relu, steps, view, window

TINY = load_machine("tiny")
STCP = load_machine("stcp920")
SYMBOLS = (Symbol("d", "dram"), Symbol("l", "llb"))
DRAM, LLB = 0, 1
"""Symbols."""

DRAM_LINK, LLB_LINK = 0, 1


def cost(
    op: Op, cores: tuple[int, ...], *fields: Mapping[str, int | tuple[int, ...]], machine: Machine = TINY
) -> tuple[int, dict[str, int], Counts]:
    """Latency, holds by name of the resource, counts."""
    found = instruction_cost(machine, SYMBOLS, instruction(op, cores, *fields))
    names = {resource_name(i, machine.cores): hold for i, hold in found.holds}
    assert len(names) == len(found.holds)
    return found.latency_cycles, names, found.counts


def test_matrix_cycles_are_the_product_of_rounded_up_ratios() -> None:
    rng = Random(0)
    for _ in range(300):
        sizes = [rng.randrange(1, 70) for _ in range(6)]
        images, rows, columns, out_channels, in_channels, taps = sizes
        factors = [rng.choice([1, 2, 3, 4, 16, 32]) for _ in range(4)]
        table = TINY.table()._replace(
            f_pixels=1,
            f_rows=factors[0],
            f_columns=factors[1],
            f_out_channels=factors[2],
            f_in_channels=factors[3],
            matrix_issue=5,
        )
        loops = zip((rows, columns, out_channels, in_channels), factors, strict=True)
        expected = images * taps * math.prod(math.ceil(size / factor) for size, factor in loops)
        assert matrix_cycles(table, *sizes) == 5 + expected
        merged = table._replace(f_pixels=16)
        pixels = math.ceil(images * rows * columns / 16)
        channels = math.ceil(out_channels / factors[2]) * math.ceil(in_channels / factors[3])
        assert matrix_cycles(merged, *sizes) == 5 + pixels * channels * taps


def test_costs_of_tiny_by_hand() -> None:
    tiny = TINY.table()
    assert matrix_cycles(tiny, 1, 4, 4, 8, 3, 9) == 4 * 2 * 3 * 9
    assert matrix_cycles(tiny, 1, 1, 1, 1, 1, 1) == 1
    assert matrix_cycles(tiny, 0, 4, 4, 8, 3, 9) == 0
    assert vector_cycles(tiny, 17, 3) == 15
    assert dma_hold(tiny, 64, 64, DRAM_LINK, 0) == 16  # the link is slower
    assert dma_hold(tiny, 64, 64, LLB_LINK, 0) == 8  # the queue is slower
    assert dma_hold(STCP.table(), 0, 1, DRAM_LINK, 0) == 65


def test_dram_that_sustains_less_and_answers_late_by_hand() -> None:
    """72 bytes through 4 bytes a cycle, of which 0.9 are sustained: 20 cycles and not 18; the first after 100."""
    table = with_dram(TINY, sustained=0.9, latency_cycles=100).table()
    assert (table.dram_read, table.dram_write, table.dram_period) == (18, 18, 5)
    assert [dram_cycles(table, size, 0) for size in (0, 3, 4, 72, 73)] == [0, 1, 2, 20, 21]
    assert dram_rate(table, 1) == 3.6
    assert dma_hold(table, 72, 72, DRAM_LINK, 0) == 120
    assert dma_hold(table, 72, 72, LLB_LINK, 0) == 9  # the LLB answers at once
    assert dma_hold(table, 400, 72, DRAM_LINK, 1) == 150  # the queue is slower than the link


def test_what_is_sustained_is_exact() -> None:
    """In ceil(bytes / rate) cycles, with fractions of any size instead of integers."""
    rng = Random(3)
    for _ in range(200):
        read, write, share = rng.randrange(1, 70), rng.randrange(1, 70), rng.randrange(1, 1001)
        links = {"read_bytes_per_cycle": read, "write_bytes_per_cycle": write}
        table = with_dram(TINY, sustained=share / 1000, **links).table()
        size = rng.randrange(1 << rng.randrange(1, 41))
        for writes, peak in ((0, read), (1, write)):
            assert dram_cycles(table, size, writes) == math.ceil(size / (Fraction(share, 1000) * peak))


def test_what_the_keys_of_dram_change_in_transfers() -> None:
    """The queue is held until the last byte is there, the link only while bytes cross it."""
    slow = with_dram(TINY, sustained=0.9, latency_cycles=100)
    rows = {"rows": 1, "row_bytes": 72, "dst_addr": 0, "src_offset": 0, "src_row_stride": 72}
    from_dram = cost(Op.LOADW, (0,), rows, {"src_symbol": DRAM}, machine=slow)
    assert from_dram[:2] == (120, {"core 0 dma": 120, "dram read": 20})
    from_llb = cost(Op.LOADW, (0,), rows, {"src_symbol": LLB}, machine=slow)
    assert from_llb[:2] == (9, {"core 0 dma": 9, "llb read": 5})
    assert from_dram[2] == cost(Op.LOADW, (0,), rows, {"src_symbol": DRAM})[2]  # the same bytes
    copies = with_dram(STCP, sustained=0.9, latency_cycles=100)  # 24.3 bytes a cycle
    for to_dram in (False, True):
        found = copy_cost(copies, SystemCopy(0, 0, 0, 2430, to_dram=to_dram))
        assert found.latency_cycles == 64 + 100 + 100
        assert sorted(hold for _, hold in found.holds) == [10, 100, 264]


ADD = Step(StepOp.ADD, parameter=0)
RELU = Step(StepOp.RELU)
CLIP = Step(StepOp.CLIP, low=0.0, high=6.0)


@pytest.mark.parametrize(
    "anchor, layer_steps, operations, passes",
    [
        (Contraction(8, 8, 3, 3), (), 1, 1),
        (Contraction(8, 8, 3, 3), (ADD, RELU), 3, 3),
        (Contraction(8, 8, 3, 3), (Step(StepOp.MUL, parameter=0), ADD, CLIP), 5, 5),
        (Window("max", 3, 3), (), 9, 9),
        (Window("average", 7, 7), (RELU,), 51, 51),
        (ChannelNorm(5, 1e-4, 0.75, 1.0), (), 9, 15),
        (Softmax(8), (), 5, 11),
        (Softmax(8, log=True), (), 6, 12),
        (Normalize(8, 1e-5), (), 5, 5),
        (Normalize(8, 1e-5, center=False), (RELU,), 4, 4),
        (ChannelReduce(8, "sum"), (), 8, 8),
        (ChannelReduce(8, "average"), (), 9, 9),
        (ChannelReduce(8, "max"), (), 8, 8),
        (ChannelReduce(8, "min"), (RELU,), 9, 9),
        (Window("min", 3, 2), (), 6, 6),
        (MatMul(8, 8), (), 1, 1),
        (MatMul(8, 8), (Step(StepOp.GELU),), 14, 20),
        (Embedding(100, 8), (), 0, 0),
        (Rearrange((8,), (1,)), (), 1, 1),
        (Rearrange((8,), (1,)), (RELU,), 2, 2),
        (Concat(), (), 1, 1),
        (Concat(), (RELU,), 1, 1),
        (Move(), (), 1, 1),
        (Move(), (Step(StepOp.ADD, tensor=1), RELU), 2, 2),
    ],
)
def test_vector_work_of_a_layer(
    anchor: Anchor, layer_steps: tuple[Step, ...], operations: int, passes: int
) -> None:
    """`passes` is on stcp920, where exp and div take 4 cycles and the rest 1; on tiny all take 1."""
    assert vector_ops(anchor, layer_steps) == operations
    assert vector_passes(STCP, anchor, layer_steps) == passes
    assert vector_passes(TINY, anchor, layer_steps) == operations


# Operations of a step, and cycles where exp and div take 4.
STEP_WORK = {
    **dict.fromkeys(["add", "sub", "rsub", "mul", "max", "min", "relu", "abs", "sign"], (1, 1)),
    **dict.fromkeys(["less", "less_or_equal", "greater", "greater_or_equal", "equal"], (1, 1)),
    **dict.fromkeys(["keep_if", "keep_unless", "floor", "ceil", "round"], (1, 1)),
    **dict.fromkeys(["div", "rdiv", "exp", "log", "sqrt"], (1, 4)),
    **dict.fromkeys(["pow", "rpow"], (3, 9)),
    **dict.fromkeys(["clip", "prelu"], (2, 2)),
    "elu": (4, 7),
    **dict.fromkeys(["sin", "cos"], (3, 6)),
    "erf": (10, 16),
    **dict.fromkeys(["tanh", "sigmoid"], (3, 9)),
    "softplus": (3, 9),
    "gelu": (13, 19),
    "gelu_tanh": (9, 15),
    "silu": (4, 10),
    "mish": (7, 19),
}


@pytest.mark.parametrize("op", StepOp)
def test_vector_work_of_a_step(op: StepOp) -> None:
    operations, passes = STEP_WORK[op]
    assert vector_ops(Move(), (Step(op),)) == operations
    assert vector_passes(STCP, Move(), (Step(op),)) == passes


def test_a_launch_holds_the_compute_engines_of_the_cluster() -> None:
    engines = dict.fromkeys(["core 0 matrix", "core 0 vector", "core 1 matrix", "core 1 vector"], 10)
    assert cost(Op.LAUNCH, (0,)) == (10, engines, Counts())
    concurrent = TINY.model_copy(update={"concurrent_kernels": True})
    assert cost(Op.LAUNCH, (1,), machine=concurrent)[1] == {"core 1 matrix": 10, "core 1 vector": 10}


SHAPE: Shape = (1, 2, 4, 8)  # 64 elements, 256 bytes on tiny


def load(symbol: int | tuple[int, ...], offset: int | tuple[int, ...]) -> dict[str, int | tuple[int, ...]]:
    fields: dict[str, int | tuple[int, ...]] = {**box(SHAPE), **view("dst", 0, SHAPE[1:], 4)}
    return fields | window("src", 0, 0, SHAPE[1:], 4) | {"src_symbol": symbol, "src_offset": offset}


def store(symbol: int, offset: int) -> dict[str, int]:
    return {**box(SHAPE), **view("src", 0, SHAPE[1:], 4), **window("dst", symbol, offset, SHAPE[1:], 4)}


def dma(hold: int, **links: int) -> dict[str, int]:
    """Holds of both cores' queues and of links, as in dram_read=4."""
    return {"core 0 dma": hold, "core 1 dma": hold} | {
        name.replace("_", " "): value for name, value in links.items()
    }


def test_transfers_by_hand() -> None:
    both = (0, 1)
    apart = cost(Op.LOAD, both, load(DRAM, (0, 256)))
    assert apart == (128, dma(128, dram_read=128), Counts(dram_read_bytes=512, l1_write_bytes=512))
    shared = cost(Op.LOAD, both, load(DRAM, 0))
    assert shared == (64, dma(64, dram_read=64), Counts(dram_read_bytes=256, l1_write_bytes=512))
    near = cost(Op.LOAD, both, load(LLB, 0))
    assert near == (32, dma(32, llb_read=16), Counts(llb_read_bytes=256, l1_write_bytes=512))
    mixed = cost(Op.LOAD, both, load((DRAM, LLB), 0))
    assert mixed[:2] == (64, dma(64, dram_read=64, llb_read=16))
    assert mixed[2] == Counts(dram_read_bytes=256, llb_read_bytes=256, l1_write_bytes=512)
    one = cost(Op.LOAD, (1,), load(DRAM, 0))
    assert one[:2] == (64, {"core 1 dma": 64, "dram read": 64})
    stored = cost(Op.STORE, both, store(LLB, 0))
    assert stored == (32, dma(32, llb_write=32), Counts(llb_write_bytes=512, l1_read_bytes=512))


def test_a_store_on_a_shared_link_holds_the_link_of_reads() -> None:
    assert cost(Op.STORE, (0,), store(DRAM, 0), machine=STCP)[1] == {"core 0 dma": 69, "dram read": 5}


def test_idle_cores_go_through_their_queues_too() -> None:
    some = cost(Op.LOAD, (0, 1), load((DRAM, LLB), 0), {"rows": (2, 0)})
    assert some == (64, dma(64, dram_read=64), Counts(dram_read_bytes=256, l1_write_bytes=256))
    none = cost(Op.LOAD, (0, 1), load(DRAM, 0), {"rows": 0}, machine=STCP)
    assert none == (64, {"core 0 dma": 64, "core 1 dma": 64, "dram read": 0}, Counts())


def test_bursts_by_hand() -> None:
    """Bursts of 64 bytes on `tiny`, 4 bytes a cycle: what is contiguous in DRAM is rounded up, nothing else."""
    bursts = with_bursts(TINY, 64)
    # 1 x 2 x 4 x 8 elements, all of a tensor: one run of 256 bytes.
    assert cost(Op.LOAD, (0,), load(DRAM, 0), machine=bursts) == cost(Op.LOAD, (0,), load(DRAM, 0))
    # Of rows of 8 columns 4: two runs of 128 bytes. Of 9 channels 8: eight runs of 32 bytes, a burst each.
    assert cost(Op.LOAD, (0,), load(DRAM, 0), {"src_row_stride": 256}, machine=bursts)[1]["dram read"] == 64
    apart = cost(Op.LOAD, (0,), load(DRAM, 0), {"src_col_stride": 36, "src_row_stride": 144}, machine=bursts)
    counts = Counts(dram_read_bytes=512, l1_write_bytes=256)
    assert apart == (128, {"core 0 dma": 128, "dram read": 128}, counts)
    # One row of 3 columns: 96 bytes, two bursts; the core's queue alone would take 12 cycles.
    short = cost(Op.STORE, (0,), store(DRAM, 0), {"rows": 1, "columns": 3}, machine=bursts)
    counts = Counts(dram_write_bytes=128, l1_read_bytes=96)
    assert short == (32, {"core 0 dma": 32, "dram write": 32}, counts)
    near = cost(Op.STORE, (0,), store(LLB, 0), {"rows": 1, "columns": 3}, machine=bursts)
    assert near[2] == Counts(llb_write_bytes=96, l1_read_bytes=96)
    # Weights of 4 channels, 36 of the 72 bytes of each; then all of them, 288 bytes: five bursts.
    fields = {
        "rows": 4,
        "row_bytes": 36,
        "dst_addr": 0,
        "src_symbol": 0,
        "src_offset": 0,
        "src_row_stride": 72,
    }
    assert cost(Op.LOADW, (0,), fields, machine=bursts)[2].dram_read_bytes == 4 * 64
    assert cost(Op.LOADW, (0,), fields, {"row_bytes": 72}, machine=bursts)[2].dram_read_bytes == 5 * 64
    # Eight gathered rows of 32 bytes lie anywhere.
    assert cost(Op.GATHER, (1,), gathered(), machine=bursts)[2].dram_read_bytes == 8 * 64
    copied = copy_cost(with_bursts(STCP, 64), SystemCopy(0, 0, 0, 2700))
    assert copied.counts == Counts(dram_read_bytes=43 * 64, llb_write_bytes=2700)


@pytest.mark.parametrize(
    ("columns", "channels", "bytes_moved", "cycles"),
    [(56, 24, 21_504, 7_168), (56, 8, 114_688, 38_230), (10, 24, 4_096, 1_366)],
)
def test_bursts_of_the_documentation(columns: int, channels: int, bytes_moved: int, cycles: int) -> None:
    """16 rows of a tensor of 56 columns and 24 channels on edge_tcm: bursts of 128 bytes at 3 bytes a cycle."""
    shape = (1, 16, columns, channels)
    fields = {**box(shape), **view("dst", 0, shape[1:], 1), **window("src", DRAM, 0, (16, 56, 24), 1)}
    latency, holds, counts = cost(Op.LOAD, (0,), fields, machine=load_machine("edge_tcm"))
    assert (counts.dram_read_bytes, counts.l1_write_bytes) == (bytes_moved, math.prod(shape))
    assert holds["dram read"] == cycles
    assert latency == 500 + max(cycles, -(-math.prod(shape) // 16))


def test_weight_loads_by_hand() -> None:
    fields = {
        "rows": 4,
        "row_bytes": 36,
        "dst_addr": 0,
        "src_symbol": 0,
        "src_offset": 0,
        "src_row_stride": 72,
    }
    counts = Counts(dram_read_bytes=144, weights_write_bytes=288)
    assert cost(Op.LOADW, (0, 1), fields) == (36, dma(36, dram_read=36), counts)
    apart = cost(Op.LOADW, (0, 1), fields, {"src_offset": (0, 36)})
    assert apart[:2] == (72, dma(72, dram_read=72))


def test_broadcasts_by_hand() -> None:
    fields = {**box(SHAPE), **view("src", 0, SHAPE[1:], 4)}
    gather = cost(Op.BROADCAST, (0, 1), fields, {"targets": (2, 1)})
    ports = {f"core {core} exchange {way}": 32 for core in (0, 1) for way in ("in", "out")}
    counts = Counts(exchange_bytes=512, l1_read_bytes=512, l1_write_bytes=512)
    assert gather == (32, dma(32) | ports, counts)
    alone = cost(Op.BROADCAST, (0, 1), fields, {"targets": (3, 0)})
    counts = Counts(exchange_bytes=256, l1_read_bytes=256, l1_write_bytes=256)
    assert alone == (32, dma(32) | {"core 0 exchange out": 32, "core 1 exchange in": 32}, counts)
    many = cost(Op.BROADCAST, tuple(range(8)), fields, {"targets": 255}, machine=STCP)
    assert many[0] == 64 + 7 * 128 // 64  # seven parts come in
    assert many[1]["core 3 exchange out"] == 2
    assert many[1]["core 3 exchange in"] == 14
    assert many[2] == Counts(exchange_bytes=56 * 128, l1_read_bytes=8 * 128, l1_write_bytes=56 * 128)
    # To another place: core 0 to itself and core 1, whose port gets 256 bytes; what stays is no exchange.
    elsewhere = cost(Op.BROADCAST, (0, 1), fields, view("dst", 1024, SHAPE[1:], 4), {"targets": (3, 0)})
    counts = Counts(exchange_bytes=256, l1_read_bytes=256, l1_write_bytes=512)
    ports = {"core 0 exchange out": 32, "core 0 exchange in": 32, "core 1 exchange in": 32}
    assert elsewhere == (32, dma(32) | ports, counts)
    nothing = cost(Op.BROADCAST, (0, 1), fields, {"targets": 0}, machine=STCP)
    assert nothing == (64, {"core 0 dma": 64, "core 1 dma": 64}, Counts())


def conv(rows: int | tuple[int, ...] = 4, accumulate: int = 0) -> dict[str, int | tuple[int, ...]]:
    """A 3 x 3 convolution of (6, 6, 3) into (rows, 4, 8)."""
    fields: dict[str, int | tuple[int, ...]] = dict(view("in", 0, (6, 6, 3), 4))
    ones = ("stride_h", "stride_w", "dilation_h", "dilation_w")
    fields |= dict.fromkeys(ones, 1) | dict.fromkeys(("pad_top", "pad_left", "weight_addr", "acc_addr"), 0)
    fields |= {"images": 1, "columns": 4, "out_channels": 8, "in_rows": 6, "in_columns": 6, "in_channels": 3}
    return fields | {"kernel_h": 3, "kernel_w": 3, "rows": rows, "accumulate": accumulate}


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


def matmul(rows: int | tuple[int, ...] = 4, accumulate: int = 0) -> dict[str, int | tuple[int, ...]]:
    """For 3 images (rows x 4, 5) times (5, 6)."""
    fields: dict[str, int | tuple[int, ...]] = {**view("in", 0, (4, 4, 5), 4), **view("w", 0, (5, 1, 6), 4)}
    fields |= {"images": 3, "rows": rows, "columns": 4, "out_channels": 6, "in_channels": 5}
    return fields | {"transposed": 0, "acc_addr": 0, "accumulate": accumulate}


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


def test_images_of_a_product_are_issued_once_and_never_merged() -> None:
    table = TINY.table()._replace(matrix_issue=7)
    assert matmul_cycles(table, 3, 1, 1, 4, 5) == 7 + 3 * 5
    assert matrix_cycles(table, 3, 1, 1, 4, 5, 1) == 7 + 5  # 3 pixels at once
    assert matmul_cycles(table, 0, 1, 1, 4, 5) == 7


def gathered(rows: int | tuple[int, ...] = 2) -> dict[str, int | tuple[int, ...]]:
    fields: dict[str, int | tuple[int, ...]] = {**box(SHAPE), **view("dst", 0, SHAPE[1:], 4)}
    fields |= view("idx", 0, (2, 4, 2), 4) | {"rows": rows, "src_symbol": DRAM, "src_offset": 0}
    return fields | {"src_row_stride": 32, "entries": 1000}


def test_gathers_by_hand() -> None:
    """No two cores are known to read the same rows, and each pixel has an index of two elements."""
    one = cost(Op.GATHER, (1,), gathered())
    counts = Counts(dram_read_bytes=256, l1_write_bytes=256, l1_read_bytes=64)
    assert one == (64, {"core 1 dma": 64, "dram read": 64}, counts)
    counts = Counts(dram_read_bytes=512, l1_write_bytes=512, l1_read_bytes=128)
    assert cost(Op.GATHER, (0, 1), gathered()) == (128, dma(128, dram_read=128), counts)
    half = cost(Op.GATHER, (0, 1), gathered((2, 0)))
    assert half == (64, dma(64, dram_read=64), one[2])
    near = cost(Op.GATHER, (0, 1), gathered(), {"src_symbol": LLB})
    assert near[:2] == (32, dma(32, llb_read=32))
    assert cost(Op.GATHER, (0,), gathered(), machine=STCP)[1] == {"core 0 dma": 64 + 5, "dram read": 5}


def vector(kind: VectorKind, *parts: Mapping[str, int], **more: int) -> dict[str, int]:
    return {"kind": kind, **box(SHAPE), **view("out", 0, SHAPE[1:], 4), **steps(*parts), **more}


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
    for machine in (TINY, STCP):
        for anchor, body_instruction in pairs:
            found = instruction_cost(machine, (), body_instruction)
            passes = vector_passes(machine, anchor, (RELU,))
            assert found.latency_cycles == vector_cycles(machine.table(), 64, passes)
            assert found.counts.vector_operations == 64 * vector_ops(anchor, (RELU,))


def test_no_transfer_reaches_an_llb_that_is_not_there() -> None:
    fields = (box((1, 1, 1, 4)), view("dst", 0, (1, 1, 4), 4), window("src", LLB, 0, (1, 1, 4), 4))
    load = instruction(Op.LOAD, (0,), *fields)
    assert instruction_cost(TINY, SYMBOLS, load).counts.llb_read_bytes == 16
    with pytest.raises(KernelError, match="src_symbol: the machine has no LLB"):
        instruction_cost(without_llb(TINY), SYMBOLS, load)


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


def test_system_copies_by_hand() -> None:
    found = copy_cost(STCP, SystemCopy(0, 0, 0, 2700))
    holds = {resource_name(i, 8): hold for i, hold in found.holds}
    assert holds == {"system dma": 164, "dram read": 100, "llb write": 11}
    assert (found.latency_cycles, found.counts) == (164, Counts(dram_read_bytes=2700, llb_write_bytes=2700))
    found = copy_cost(STCP, SystemCopy(0, 0, 0, 2700, to_dram=True))
    holds = {resource_name(i, 8): hold for i, hold in found.holds}
    assert holds == {
        "system dma": 164,
        "dram read": 100,
        "llb read": 11,
    }  # both ways of DRAM are one resource
    assert (found.latency_cycles, found.counts) == (164, Counts(llb_read_bytes=2700, dram_write_bytes=2700))
    with pytest.raises(KernelError, match="tiny has no system DMA"):
        copy_cost(TINY, SystemCopy(0, 0, 0, 4))
    with pytest.raises(KernelError, match="size_bytes: -4 is negative"):
        copy_cost(STCP, SystemCopy(0, 0, 0, -4))


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
