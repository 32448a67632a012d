"""Systolic arrays: against a walk over every cell of the array, and against published cycles."""

import math
from itertools import product
from random import Random

import pytest
from pydantic import ValidationError

from benchmarks.systolic import GEMMINI, RESNET18, rows, systolic_machine
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.timing.costs import matmul_cycles, matrix_cycles
from tests.hwmodel.machine_variants import with_systolic

TINY = load_machine("tiny")
ARRAY = {"rows": 32, "columns": 32, "dataflow": "output_stationary", "overlap_folds": True}
DATAFLOWS = ("output_stationary", "weight_stationary", "input_stationary")


def fold_cycles(height: int, width: int, streamed: int, loading: int) -> int:
    """Cycles of one fold: `loading` until the operand that stays is there, then step t enters cell (0, 0) in cycle t,
    and every cell passes on to the right and downwards a cycle later. The last cell's last step ends it."""
    cells = product(range(height), range(width), range(streamed))
    return loading + max(row + column + step for row, column, step in cells) + 1


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_folds_that_do_not_overlap_take_what_a_walk_over_the_array_takes(dataflow: str) -> None:
    rng = Random(1)
    for _ in range(40):
        height, width = rng.randrange(2, 6), rng.randrange(2, 6)
        images, high, wide, outputs, inputs, taps = (rng.randrange(1, 8) for _ in range(6))
        m, k, n = images * high * wide, inputs * taps, outputs
        one, two, stream = {
            "output_stationary": (m, n, k),
            "weight_stationary": (k, n, m),
            "input_stationary": (k, m, n),
        }[dataflow]
        loading = 0 if dataflow == "output_stationary" else height
        folds = math.ceil(one / height) * math.ceil(two / width)
        expected = folds * fold_cycles(height, width, stream, loading) - 1
        machine = with_systolic(TINY, height, width, dataflow, overlap_folds=False, convolution="im2col")
        assert matrix_cycles(machine.table(), images, high, wide, outputs, inputs, taps) == expected


@pytest.mark.parametrize("dataflow", DATAFLOWS)
def test_overlapping_folds_hold_the_array_while_they_stream(dataflow: str) -> None:
    """One long fold takes as long as without overlap; more of them add what they stream, or the rows where a new
    operand takes longer to come in than the old one is needed."""
    overlapping = with_systolic(TINY, 4, 8, dataflow, overlap_folds=True, convolution="im2col").table()
    apart = with_systolic(TINY, 4, 8, dataflow, overlap_folds=False, convolution="im2col").table()
    at = {"output_stationary": 5, "weight_stationary": 3, "input_stationary": 4}[dataflow]

    def extents(stream: int, *stay: int) -> list[int]:
        first, second = stay
        sizes = {3: (stream, second, first), 4: (second, stream, first), 5: (first, second, stream)}[at]
        return [1, 1, *sizes, 1]

    one = matrix_cycles(overlapping, *extents(100, 4, 8))
    assert one == 100
    assert one + overlapping.matrix_drain == matrix_cycles(apart, *extents(100, 4, 8))
    assert matrix_cycles(overlapping, *extents(100, 9, 17)) == 9 * 100
    assert matrix_cycles(overlapping, *extents(3, 9, 17)) == 9 * 4
    assert matrix_cycles(overlapping, *extents(100, 0, 8)) == 0
    assert matrix_cycles(apart, *extents(100, 0, 8)) == 0
    assert apart.matrix_drain == 0


def test_taps_are_products_of_their_own_or_part_of_the_reduction() -> None:
    """A first layer of 7 x 7 x 3 to 64 channels on 128 x 128: about 615k cycles tap by tap, 26k by im2col."""
    layer = (1, 112, 112, 64, 3, 49)
    per_tap = with_systolic(TINY, 128, 128, "weight_stationary", overlap_folds=True, convolution="per_tap")
    assert matrix_cycles(per_tap.table(), *layer) == 49 * 112 * 112 == 614_656
    im2col = with_systolic(TINY, 128, 128, "weight_stationary", overlap_folds=False, convolution="im2col")
    assert matrix_cycles(im2col.table(), *layer) == 2 * (112 * 112 + 2 * 128 + 128 - 2) - 1 == 25_851
    unrolled = TINY.table()._replace(f_in_channels=32)
    assert matrix_cycles(unrolled, 1, 1, 4, 4, 3, 49) == 49
    assert matrix_cycles(unrolled._replace(im2col=1), 1, 1, 4, 4, 3, 49) == math.ceil(3 * 49 / 32)


def test_a_product_of_activations_is_one_for_each_image() -> None:
    table = with_systolic(TINY, 4, 8, "weight_stationary", overlap_folds=False, convolution="im2col").table()
    one = matrix_cycles(table, 1, 2, 3, 9, 5, 1)
    assert matmul_cycles(table, 3, 2, 3, 9, 5) == 3 * one
    issue = table._replace(matrix_issue=7)
    assert matmul_cycles(issue, 3, 2, 3, 9, 5) == 7 + 3 * one


def test_published_cycles() -> None:
    found = rows()
    exact = [row for row in found if row.what == "ResNet-18"]
    assert [row.measured for row in exact] == list(RESNET18.values())
    assert [row.published for row in found[len(exact) :]] == list(GEMMINI.values())
    assert [row.measured for row in found[len(exact) :]][:2] == [39, 47]
    assert all(-0.06 < row.deviation <= 0 for row in found)


def test_peak_and_bound_of_an_array() -> None:
    for dataflow in DATAFLOWS:
        machine = systolic_machine(32, dataflow, overlap_folds=True)
        assert machine.peak_macs_per_cycle == 1024
        assert matrix_cycles(machine.table(), 1, 64, 64, 64, 64, 1) == 64**4 // 1024


@pytest.mark.parametrize("change", [{"convolution": "im2col"}, {"unrolling": None, "systolic": ARRAY}])
def test_inner_memories_are_for_unrolled_loops_only(change: dict[str, object]) -> None:
    data = load_machine("meta_prototype").model_dump()
    data["matrix"] |= change
    with pytest.raises(
        ValidationError, match=r"levels is given, expected none beside matrix\.(convol|systolic)"
    ):
        Machine.model_validate(data)


@pytest.mark.parametrize(
    "change, message",
    [
        ({"unrolling": {"out_pixels": 4}}, "systolic is given, expected none beside unrolling"),
        ({"systolic": None}, "unrolling is missing, expected it or systolic"),
        ({"macs": 15}, "systolic makes 16 MACs a cycle, expected at most macs = 15"),
    ],
)
def test_a_matrix_engine_is_unrolled_or_systolic(change: dict[str, object], message: str) -> None:
    data = with_systolic(
        TINY, 4, 4, "output_stationary", overlap_folds=True, convolution="im2col"
    ).model_dump()
    data["matrix"] |= change
    with pytest.raises(ValidationError, match=message):
        Machine.model_validate(data)
