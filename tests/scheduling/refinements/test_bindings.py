"""`bindings`: the forms that are tried, and that two bindings are found where they must pay."""

from math import prod
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice, OwnRun
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.refinements.bindings import (
    bindings,
    bound_by,
    further_bindings,
    joined,
    two_bindings,
    ways_of_layers,
)
from scheduling.rules import Rules
from scheduling.strategies import solve
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import legal, random_model, random_own_bindings


def test_the_forms_of_a_sub_graph() -> None:
    """Over 2 cores there are 3 bindings, one of which needs 2 images."""
    assert sorted(bindings(2)) == [(1, 1, 2), (1, 2, 1), (2, 1, 1)]
    choice = Choice(4, 6, ways_rows=2)
    assert set(two_bindings(choice, 1)) == {
        choice.with_own_runs([OwnRun(5, 6, 1, 1, 2)]),
        choice._replace(ways_rows=1, ways_channels=2).with_own_runs([OwnRun(5, 6, 1, 2, 1)]),
    }
    three = list(two_bindings(choice._replace(stop=7), 2))
    assert len(three) == len(set(three)) == 2 * 6 + 2  # two borders, and the layer between them
    assert all(prod(run[2:]) == form.cores == 2 for form in three for run in form.own_runs)
    assert not list(two_bindings(choice._replace(stop=5), 2))


ROWS, CHANNELS, IMAGES = (1, 2, 1), (1, 1, 2), (2, 1, 1)


def test_a_third_binding() -> None:
    """Over 2 cores and for one image there are 2 bindings: of three layers of which the last has its own, each of three
    runs of layers that are bound alike can have the other one."""
    choice = Choice(4, 7, ways_rows=2).with_own_runs([OwnRun(6, 7, *CHANNELS)])
    forms = list(further_bindings(choice, 1))
    assert [ways_of_layers(form) for form in forms] == [
        [CHANNELS, ROWS, CHANNELS],
        [CHANNELS, CHANNELS, CHANNELS],
        [ROWS, CHANNELS, CHANNELS],
        [ROWS, ROWS, ROWS],
    ]
    assert [len(form.own_runs) for form in forms] == [1, 0, 1, 0]
    assert len(list(further_bindings(choice, 2))) == 2 * 4


def test_the_binding_with_fewest_runs_apart_is_the_sub_graphs() -> None:
    """Of seven runs of layers four share rows: three have a binding of their own. Of eleven that alternate five do, of
    thirteen six would, which a Choice has no room for."""
    choice = Choice(4, 11, ways_rows=2).with_own_runs([OwnRun(4, 10, *CHANNELS)])
    assert ways_of_layers(choice) == [*[CHANNELS] * 6, ROWS]
    found = bound_by(choice, [CHANNELS, ROWS, CHANNELS, ROWS, IMAGES, ROWS, ROWS])
    assert found == Choice(4, 11, ways_rows=2).with_own_runs(
        [OwnRun(4, 5, *CHANNELS), OwnRun(6, 7, *CHANNELS), OwnRun(8, 9, *IMAGES)]
    )
    eleven = bound_by(choice._replace(stop=15), [CHANNELS, ROWS] * 5 + [CHANNELS])
    assert eleven is not None
    assert (eleven.ways_channels, len(eleven.own_runs)) == (2, 5)
    assert bound_by(choice._replace(stop=17), [CHANNELS, ROWS] * 6 + [CHANNELS]) is None
    assert ways_of_layers(eleven) == [CHANNELS, ROWS] * 5 + [CHANNELS]


def test_a_binding_on_fewer_cores_is_never_the_sub_graphs() -> None:
    """The runs of a sub-graph may have fewer cores than its own binding, not more."""
    choice = Choice(0, 3, ways_rows=2).with_own_runs([OwnRun(1, 2, 1, 1, 1)])
    assert bound_by(choice, ways_of_layers(choice)) == choice
    alone = bound_by(choice, [(1, 1, 1)] * 3)
    assert alone == Choice(0, 3, ways_rows=2).with_own_runs([OwnRun(0, 3, 1, 1, 1)])


@pytest.mark.parametrize("machine_name", ["tiny", "stcp920"])
def test_it_makes_no_difference_which_binding_is_the_sub_graphs(tmp_path: Path, machine_name: str) -> None:
    """Random schedules whose layers have bindings of their own take as long, and move as much, written with another one
    of them as the sub-graph's."""
    rng = np.random.default_rng([len(machine_name), 7])
    machine = load_machine(machine_name)
    compared = 0
    for number in range(40):
        folder = tmp_path / str(number)
        folder.mkdir()
        evaluator = Evaluator(load_model(str(random_model(folder, rng)), 2).network, machine)
        choices = random_own_bindings(evaluator, rng)
        if choices is None or not legal(evaluator, choices, Rules()):
            continue
        written = tuple(bound_by(choice, ways_of_layers(choice)) or choice for choice in choices)
        for one, other in zip(choices, written, strict=True):
            assert ways_of_layers(one) == ways_of_layers(other)
        if written != choices:
            mine, its = (evaluator.evaluate(found, Rules()) for found in (choices, written))
            assert (mine.cycles, mine.counts) == (its.cycles, its.counts)
            compared += 1
        if compared == 4:
            break
    assert compared


def test_sub_graphs_with_several_bindings_are_joined(tmp_path: Path) -> None:
    """Four layers, two of which are a kernel with both bindings; joined, each layer keeps its own."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 8, 8)
    for before, channels in ((4, 6), (6, 8), (8, 6), (6, 4)):
        value = graph.node("Relu", graph.node("Conv", value, graph.random(channels, before, 1, 1)))
    evaluator = Evaluator(load_model(graph.save(tmp_path, value), 2).network, load_machine("stcp920"))
    rows, channels, images = (1, 8, 1), (1, 4, 2), (2, 4, 1)
    one = Choice(0, 2, 1, 1, *rows).with_own_runs([OwnRun(1, 2, *channels)])
    other = Choice(2, 4, 1, 1, *images).with_own_runs([OwnRun(3, 4, *rows)])
    both = joined(evaluator, one, other)
    assert both is not None
    assert ways_of_layers(both) == [rows, channels, images, rows]
    assert evaluator.evaluate((both,)).cycles
    assert joined(evaluator, one, other._replace(split_batch=2)) is None
    assert joined(evaluator, one._replace(own_1=0), Choice(2, 4, 1, 1, *rows)) is None  # what dp can have


def test_a_large_map_before_many_channels(tmp_path: Path) -> None:
    """A convolution of 64 x 64 pixels that makes 8 channels, then one of 4 x 4 pixels that makes 512: shared by rows,
    the second has half a row a core and every core all of its weights; shared by channels, the first has one channel a
    core of an engine that makes 32 at a time."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 32, 64, 64)
    for channels, kernel, stride in ((8, 3, 1), (16, 4, 4), (32, 4, 4), (512, 1, 1)):
        before = {8: 32, 16: 8, 32: 16, 512: 32}[channels]
        value = graph.node(
            "Conv", value, graph.random(channels, before, kernel, kernel), strides=[stride, stride],
            pads=[kernel // 2 if stride == 1 else 0] * 4,
        )  # fmt: skip
    model = load_model(graph.save(tmp_path, value), 1)
    evaluator = Evaluator(model.network, load_machine("stcp920"))
    problem = Problem(evaluator, CandidateSpace(evaluator), Objective.LATENCY, budget=80)
    found = solve("dp+bindings", problem)
    assert found.evaluation.cycles < solve("dp", problem).evaluation.cycles
    assert any(choice.several_bindings for choice in found.choices)
