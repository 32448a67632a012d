"""`bindings`: the forms that are tried, and that two bindings are found where they must pay."""

from math import prod
from pathlib import Path

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice, OwnRun
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.refinements.bindings import bindings, further_bindings, two_bindings
from scheduling.strategies import solve
from tests.graph.onnx_helpers import GraphBuilder


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


def test_a_third_binding() -> None:
    """Over 2 cores and for one image there are 2 bindings: of three layers of which the last has its own, each of three
    runs of layers that are bound alike can have the other one."""
    choice = Choice(4, 7, ways_rows=2).with_own_runs([OwnRun(6, 7, 1, 1, 2)])
    assert [form.own_runs for form in further_bindings(choice, 1)] == [
        (OwnRun(4, 5, 1, 1, 2), OwnRun(6, 7, 1, 1, 2)),
        (OwnRun(4, 7, 1, 1, 2),),
        (OwnRun(5, 7, 1, 1, 2),),
        (),
    ]
    assert len(list(further_bindings(choice, 2))) == 2 * 4


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
