"""Layers that fit a machine only in slices over columns or channels, and those that do not fit at all."""

from collections.abc import Callable
from itertools import product
from pathlib import Path

import pytest

from graph.importer import load_model
from graph.primitives import Rearrange
from hwmodel.machines.machine import load_machine
from report.verify import verify
from scheduling.candidates.estimate import estimate
from scheduling.candidates.sliced import estimate_of
from scheduling.candidates.smallest import smallest
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CHANNELS, ROWS, Choice
from scheduling.emission.program import program_weights
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.tiling import LEGAL
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import COMPOSED, solve, strategy_names
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.random_cases import checked_program

ROWS_OF_IMAGE, COLUMNS_OF_IMAGE = 6, 96


def wide(folder: Path) -> str:
    """Of the first convolution no core of `tiny` has room for three rows of 96 pixels of 4 channels: 4,608 bytes."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, ROWS_OF_IMAGE, COLUMNS_OF_IMAGE)
    first = graph.node("Conv", image, graph.random(4, 4, 3, 3), graph.random(4), pads=[1, 1, 1, 1])
    pooled = graph.node("MaxPool", graph.node("Relu", first), kernel_shape=[2, 2], strides=[2, 2])
    return graph.save(folder, graph.node("Conv", pooled, graph.random(3, 4, 1, 1)))


def test_slices_over_columns_are_as_few_as_can_be(tmp_path: Path) -> None:
    evaluator = Evaluator(load_model(wide(tmp_path), weights=False).network, load_machine("tiny"))
    table, machine = evaluator.table, evaluator.machine_table

    def legal(slices: int) -> list[Choice]:
        ways = [(1, 1), (1, 2), (2, 1)]
        forms = product(ways, range(1, ROWS_OF_IMAGE + 1), (ROWS, CHANNELS))
        choices = [Choice(0, 1, 1, 1, 1, *way, n, axis, split_columns=slices) for way, n, axis in forms]
        return [choice for choice in choices if estimate(table, machine, choice).status == LEGAL]

    choice, figures = smallest(evaluator, 0)
    assert not legal(1)
    assert choice.split_columns == 2 and choice in legal(2)
    assert figures == estimate(table, machine, choice)


def test_every_strategy_runs_what_fits_only_in_slices(tmp_path: Path) -> None:
    """Two images, four cores that run kernels side by side: so instances of one layer follow one another in a step."""
    model = load_model(wide(tmp_path), batch=2)
    evaluator = Evaluator(model.network, concurrent("tiny"))
    space = CandidateSpace(evaluator)
    with pytest.raises(IllegalSchedule, match="short by"):
        evaluator.evaluate([Choice(layer, layer + 1, split_batch=2) for layer in range(space.layers)])
    for name in (*strategy_names(), *COMPOSED):
        problem = Problem(evaluator, space, Objective.LATENCY, 4)
        found = solve(name, problem)
        own = problem.reordered(found.layer_order).evaluator
        evaluation, program = checked_program(own, found.choices, found.rules)
        assert evaluation == found.evaluation, name
        if name in ("layerwise", "graphturbo", "rammer"):  # others may know another way
            assert max(choice.instances for choice in found.choices) == 4, name
        if name in ("layerwise", "depth_first", "rammer"):
            assert verify(model, program, own.machine, program_weights(own.network)).passed, name


def up_sampled(folder: Path) -> str:
    """A row of 48 pixels of 4 phases of 8 channels is 6,144 bytes, and `tiny` has 4,096."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 2, 2, 48)
    weight, bias = graph.random(2, 8, 2, 2), graph.random(8)
    return graph.save(
        folder, graph.node("Relu", graph.node("ConvTranspose", image, weight, bias, strides=[2, 2]))
    )


def turned(folder: Path) -> str:
    """Halves of 32 features of 40 tokens, 5,120 bytes, of which every row of each half needs all tokens."""
    graph = GraphBuilder()
    mixed = graph.node("MatMul", graph.input("x", 1, 40, 4), graph.random(4, 32))
    halves = graph.nodes_of("Split", 2, graph.node("Transpose", mixed, perm=[0, 2, 1]), axis=1)
    return graph.save(folder, graph.node("Mul", halves[0], graph.node("Sigmoid", halves[1])))


def backwards(folder: Path) -> str:
    """The second half of 64 features of 24 steps, the last step first: 6,144 bytes, and a row needs all steps."""
    graph = GraphBuilder()
    mixed = graph.node("MatMul", graph.input("x", 1, 24, 4), graph.random(4, 64))
    half = graph.node("Slice", mixed, graph.integers(32), graph.integers(64), graph.integers(2))
    ends = (graph.integers(-1), graph.integers(-25), graph.integers(1), graph.integers(-1))
    return graph.save(folder, graph.node("Sigmoid", graph.node("Slice", half, *ends)))


def first_steps(folder: Path) -> str:
    """Five of 20 columns of 8 channels of 8 rows, 5,120 bytes, as steps of a sequence."""
    graph = GraphBuilder()
    image = graph.node("Conv", graph.input("image", 1, 1, 8, 20), graph.random(8, 1, 1, 1))
    some = graph.node("Slice", image, graph.integers(0), graph.integers(5), graph.integers(3))
    flat = graph.node("Reshape", some, graph.integers(1, 64, 5))
    return graph.save(folder, graph.node("Relu", graph.node("Transpose", flat, perm=[0, 2, 1])))


@pytest.mark.parametrize(
    ("made", "columns", "channels"),
    [(up_sampled, 2, 1), (turned, 1, 2), (backwards, 1, 2), (first_steps, 1, 1)],
)
def test_copies_that_fit_only_in_slices_run_with_every_strategy(
    tmp_path: Path, made: Callable[[Path], str], columns: int, channels: int
) -> None:
    model = load_model(made(tmp_path))
    evaluator = Evaluator(model.network, concurrent("tiny"))
    space = CandidateSpace(evaluator)
    copies = [k for k, layer in enumerate(model.network.layers) if isinstance(layer.anchor, Rearrange)]
    for layer in copies:
        choice, figures = smallest(evaluator, layer)
        assert (choice.split_columns, choice.split_channels) == (columns, channels)
        assert figures == estimate_of(evaluator, choice)
    for name in (*strategy_names(), *COMPOSED):
        problem = Problem(evaluator, space, Objective.LATENCY, 2)
        found = solve(name, problem)
        own = problem.reordered(found.layer_order).evaluator
        evaluation, program = checked_program(own, found.choices, found.rules)
        assert evaluation == found.evaluation, name
        if name in ("layerwise", "depth_first", "rammer"):
            assert verify(model, program, own.machine, program_weights(own.network)).passed, name


def test_what_fits_in_no_slices_names_the_least_shortage(tmp_path: Path) -> None:
    """A window of 3 x 3 x 128 fp32 numbers is 4,608 bytes; with a core for each of two output channels there is one sum
    of 4 bytes beside it, and L1 has 4,096."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 128, 8, 8)
    path = graph.save(tmp_path, graph.node("Conv", image, graph.random(2, 128, 3, 3)))
    evaluator = Evaluator(load_model(path, weights=False).network, load_machine("tiny"))
    with pytest.raises(IllegalSchedule, match=r"l1 \(4096 bytes\) is short by 516 bytes"):
        CandidateSpace(evaluator).all(0)
