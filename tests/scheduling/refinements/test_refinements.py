"""Refinements behind every strategy: what they find is legal, never worse, within the budget, and the same again."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule, ScheduleError, UnsupportedDecision
from scheduling.evaluator import Evaluator
from scheduling.legality.arrangements import check_arrangement
from scheduling.objective import Objective
from scheduling.problem import Problem, State
from scheduling.refinements import ONE_BY_ONE, REFINEMENTS, SIDE_BY_SIDE, refined
from scheduling.rules import Rules
from scheduling.strategies import (
    ARRANGING,
    CONCURRENT,
    STRATEGIES,
    name_parts,
    runs_on,
    solve,
    with_refinements,
)
from scheduling.timeline.packing import Packing, Placement, Step
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.random_cases import checked_program, random_model
from tests.scheduling.whole_checks import check_all_the_way_down

BUDGET = 12


@pytest.mark.parametrize("seed", range(2))
def test_every_refinement_of_every_strategy(tmp_path: Path, seed: int) -> None:
    """On a machine that runs kernels side by side, for two objectives. Alike schedules are refined once."""
    path = random_model(tmp_path, np.random.default_rng(40 + seed))
    evaluator = Evaluator(load_model(str(path), 2).network, concurrent("tiny"))
    objective = (Objective.LATENCY, Objective.EDP)[seed]
    problem = Problem(evaluator, CandidateSpace(evaluator), objective, BUDGET, 3)
    states: dict[tuple[object, ...], tuple[Problem, State]] = {}
    for name in (*STRATEGIES, *ARRANGING, *CONCURRENT):
        given = solve(name, problem)
        state = given.choices, given.rules
        states.setdefault((given.layer_order, *state), (problem.reordered(given.layer_order), state))
    assert len(states) > 5
    checked = set()
    for part, state in states.values():
        cost = part.cost(*state)
        for refinement in REFINEMENTS:
            before = part.evaluator.evaluations
            found = refined(part, state, (refinement,))
            assert part.evaluator.evaluations - before <= BUDGET
            assert part.cost(*found) <= cost
            if found != state and found not in checked:
                checked.add(found)
                assert refined(part, state, (refinement,)) == found
                check_arrangement(part.evaluator, found[0], part.evaluator.arrange(*found))
                checked_program(part.evaluator, *found)
    assert checked


@pytest.mark.parametrize("name", ["dp+all", "depth_first+all", "rammer+all", "dp_orders+all"])
def test_refined_schedules_are_executed_and_matched(name: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(7)
    model = load_model(str(random_model(tmp_path, rng)), 2)
    evaluator = Evaluator(model.network, concurrent("tiny"))
    problem = Problem(evaluator, CandidateSpace(evaluator), Objective.LATENCY, 60)
    plain, found = solve(name.partition("+")[0], replace(problem, budget=30)), solve(name, problem)
    assert found.evaluation.cycles <= plain.evaluation.cycles
    assert found.evaluations <= problem.budget
    arranged = problem.reordered(found.layer_order)
    if not found.layer_order:
        check_all_the_way_down(model, evaluator, found.choices, found.rules, rng, tmp_path)
    else:
        checked_program(arranged.evaluator, found.choices, found.rules)


def test_kernels_of_a_program_keep_their_cores(tmp_path: Path) -> None:
    """What changes sub-graphs one by one leaves a packing as it is: each keeps its layers and the number of its cores;
    chains with slices over channels, which would be other sub-graphs, are not looked for."""
    graph = GraphBuilder()
    x = graph.input("x", 1, 8, 4, 4)
    ends = [graph.node("Conv", x, graph.random(8, 8, 3, 3), pads=[1, 1, 1, 1]) for _ in range(2)]
    network = load_model(str(graph.save(tmp_path, *ends)), 2, weights=False).network
    evaluator = Evaluator(network, concurrent("tiny"))
    problem = Problem(evaluator, CandidateSpace(evaluator), budget=40)
    given = (
        (Choice(0, 1, ways_channels=2), Choice(1, 2, ways_channels=2)),
        Rules(packing=Packing((Step((Placement(0, 0, 0, 0), Placement(1, 0, 2, 0))),))),
    )
    for name in ("configurations", "bindings", "rings", "prefetch"):
        choices, rules = refined(problem, given, (name,))
        assert rules.packing == given[1].packing
        assert [(c.first, c.stop, c.cores) for c in choices] == [(0, 1, 2), (1, 2, 2)]
        if name == "configurations":
            assert evaluator.evaluate(choices, rules).cycles < evaluator.evaluate(*given).cycles
    before = evaluator.evaluations
    assert refined(problem, given, ("channels",)) == given
    assert evaluator.evaluations == before


@pytest.mark.parametrize("budget", [2, 12])
def test_a_schedule_that_does_not_fit_is_refused_or_made_to_fit(tmp_path: Path, budget: int) -> None:
    """Heuristics simulate nothing, so a refinement may be the first to see it."""
    path = random_model(tmp_path, np.random.default_rng(41))
    evaluator = Evaluator(load_model(str(path), 2).network, concurrent("tiny"))
    problem = Problem(evaluator, CandidateSpace(evaluator), budget=budget)
    too_fine = (Choice(0, problem.space.layers, split_rows=1000),), Rules()
    with pytest.raises(IllegalSchedule):
        evaluator.evaluate(*too_fine)
    for name in REFINEMENTS:
        try:
            found = refined(problem, too_fine, (name,))
        except IllegalSchedule:
            continue
        assert found == too_fine or evaluator.evaluate(*found).cycles


def test_names() -> None:
    machine, one_core = load_machine("stcp920"), load_machine("meta_prototype")
    assert name_parts("dp") == ("dp", ())
    assert name_parts("random+prefetch+rings") == ("random", ("prefetch", "rings"))
    assert with_refinements("dp_orders+all", machine) == ("dp_orders", tuple(REFINEMENTS))
    assert with_refinements("dp+all", one_core)[1] == tuple(
        n for n in REFINEMENTS if n not in ("bindings", "cores")
    )
    for order in (ONE_BY_ONE, SIDE_BY_SIDE):
        assert sorted(order) == sorted(REFINEMENTS)
    assert with_refinements("rammer+all", load_machine("rammer_v100"))[1] == tuple(SIDE_BY_SIDE)
    assert name_parts("mine+all", ("mine",)) == ("mine", ("all",))
    for wrong, message in (
        ("mine+rings", "no strategy is called 'mine', expected one of layerwise, "),
        ("dp+", r"dp\+: no refinement is called '', expected configurations, .* or all"),
        ("dp+ring", r"dp\+ring: no refinement is called 'ring', expected configurations, .* or all"),
    ):
        with pytest.raises(ScheduleError, match=message):
            name_parts(wrong)
    with pytest.raises(UnsupportedDecision, match=r"rammer\+rings packs kernels side by side, and stcp920"):
        with_refinements("rammer+rings", machine)
    with pytest.raises(UnsupportedDecision, match=r"dp\+bindings: bindings needs several cores, which meta_"):
        with_refinements("dp+bindings", one_core)
    assert not runs_on("rammer+rings", machine) and runs_on("dp+bindings", machine)


def test_a_strategy_beside_the_known_ones(tmp_path: Path) -> None:
    """It gets half of the budget, and refinements all that it leaves."""
    path = random_model(tmp_path, np.random.default_rng(1))
    evaluator = Evaluator(load_model(str(path), 2).network, load_machine("tiny"))
    problem = Problem(evaluator, CandidateSpace(evaluator), budget=21)
    given = []

    def mine(part: Problem) -> State:
        given.append(part.budget)
        return STRATEGIES["layerwise"](part)

    found = solve("mine+prefetch+rings", problem, {"mine": mine})
    assert given == [11]
    assert found.strategy == "mine+prefetch+rings"
    assert found.evaluations <= 21
    plain = solve("layerwise", problem)
    assert found.evaluation.cycles <= plain.evaluation.cycles
    assert found.rules != Rules()
