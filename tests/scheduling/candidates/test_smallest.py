"""Layers that fit a machine only in slices over columns, and those that do not fit at all."""

from itertools import product
from pathlib import Path

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.verify import verify
from scheduling.candidates.estimate import estimate
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


def test_what_fits_in_no_slices_names_the_least_shortage(tmp_path: Path) -> None:
    """A window of 3 x 3 x 128 fp32 numbers is 4,608 bytes; with a core for each of two output channels there is one sum
    of 4 bytes beside it, and L1 has 4,096."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 128, 8, 8)
    path = graph.save(tmp_path, graph.node("Conv", image, graph.random(2, 128, 3, 3)))
    evaluator = Evaluator(load_model(path, weights=False).network, load_machine("tiny"))
    with pytest.raises(IllegalSchedule, match=r"l1 \(4096 bytes\) is short by 516 bytes"):
        CandidateSpace(evaluator).all(0)
