"""Cycles of engines, by hand on `tiny` and against the definition."""

import math
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
from tests.hwmodel.machine_variants import with_dram
from tests.hwmodel.timing.instructions import (
    STCP,
    TINY,
)

DRAM_LINK, LLB_LINK = 0, 1


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


def test_images_of_a_product_are_issued_once_and_never_merged() -> None:
    table = TINY.table()._replace(matrix_issue=7)
    assert matmul_cycles(table, 3, 1, 1, 4, 5) == 7 + 3 * 5
    assert matrix_cycles(table, 3, 1, 1, 4, 5, 1) == 7 + 5  # 3 pixels at once
    assert matmul_cycles(table, 0, 1, 1, 4, 5) == 7
