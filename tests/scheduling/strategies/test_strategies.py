"""Every strategy gives a legal schedule of the whole network, the same one each time, within its budget."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from scheduling.bound import bound
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.errors import ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.legality.arrangements import check_arrangement
from scheduling.objective import Objective
from scheduling.problem import Problem, Solution
from scheduling.strategies import COMPOSED, STRATEGIES, runs_on, solve
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.random_cases import random_model

BUDGET = 40
TRIED = (*STRATEGIES, "dp+configurations+bindings", "depth_first+all")


def problem_of(network: Network, machine: Machine, **limits: object) -> Problem:
    """A fresh problem."""
    evaluator = Evaluator(network, machine)
    return Problem(evaluator, CandidateSpace(evaluator), **{"budget": BUDGET, **limits})  # type: ignore[arg-type]


def small_network(folder: Path, seed: int, batch: int) -> Network:
    """A random small network."""
    return load_model(str(random_model(folder, np.random.default_rng(seed))), batch).network


def check(problem: Problem, solution: Solution) -> None:
    """The schedule covers all layers in order, fits, and beats no bound."""
    evaluator = problem.evaluator
    stops = [0, *(choice.stop for choice in solution.choices)]
    assert [choice.first for choice in solution.choices] == stops[:-1]
    assert stops[-1] == problem.space.layers
    check_arrangement(evaluator, solution.choices, evaluator.arrange(solution.choices, solution.rules))
    assert evaluator.evaluate(solution.choices, solution.rules) == solution.evaluation
    least = bound(evaluator.network, evaluator.machine)
    assert least.cycles <= solution.evaluation.cycles
    assert least.off_core_bytes <= solution.evaluation.off_core_bytes
    assert least.energy_pj <= solution.evaluation.energy_pj * (1 + 1e-12)


@pytest.mark.parametrize(
    ("machine_name", "seed"),
    [
        *((machine, seed) for machine in ("tiny", "stcp920", "stcp920-without-llb") for seed in range(8)),
        *((f"tiny-{stays}-stationary", seed) for stays in ("output", "weight", "input") for seed in range(3)),
    ],
)
def test_schedules_of_random_networks_are_legal_and_never_beat_the_bound(
    tmp_path: Path, machine_name: str, seed: int
) -> None:
    network = small_network(tmp_path, seed, batch=(1, 2, 4)[seed % 3])
    objective = list(Objective)[seed % len(Objective)]
    for name in (*STRATEGIES, *COMPOSED):
        if not runs_on(name, machine_called(machine_name)):
            continue
        problem = problem_of(network, machine_called(machine_name), objective=objective)
        solution = solve(name, problem)
        check(problem, solution)
        if machine_name.endswith("without-llb"):
            assert solution.evaluation.counts.llb_bytes == 0
            assert solution.evaluation.off_core_bytes == solution.evaluation.counts.dram_bytes


@pytest.fixture(scope="module")
def squeezenet() -> tuple[Problem, dict[str, Solution]]:
    network = load_model("squeezenet", batch=4, weights=False).network
    problem = problem_of(network, load_machine("stcp920"))
    return problem, {name: solve(name, problem) for name in TRIED}


@pytest.mark.parametrize("name", TRIED)
def test_squeezenet_is_scheduled_the_same_in_a_fresh_problem(
    squeezenet: tuple[Problem, dict[str, Solution]], name: str
) -> None:
    problem, solutions = squeezenet
    check(problem, solutions[name])
    again = solve(name, problem_of(problem.evaluator.network, problem.evaluator.machine))
    assert again.choices == solutions[name].choices
    assert again.rules == solutions[name].rules
    assert again.evaluation == solutions[name].evaluation
    assert 1 <= again.evaluations <= BUDGET


def test_searches_are_never_worse_than_the_default_that_they_start_from(
    squeezenet: tuple[Problem, dict[str, Solution]],
) -> None:
    _, solutions = squeezenet
    for name in ("dp", "lookahead", "annealing"):
        assert solutions[name].evaluation.cycles <= solutions["graphturbo"].evaluation.cycles


def test_annealing_changes_with_its_seed_and_gains_from_its_budget(
    squeezenet: tuple[Problem, dict[str, Solution]],
) -> None:
    problem, _ = squeezenet
    network, machine = problem.evaluator.network, problem.evaluator.machine
    found = {
        solve("annealing", problem_of(network, machine, seed=seed, budget=6)).choices for seed in range(6)
    }
    assert len(found) > 1
    one = solve("annealing", problem_of(network, machine, budget=1))
    assert one.choices == Defaults(problem.space).complete(())
    assert one.evaluations == 1


def test_plain_variants_have_neither_overlap_nor_prefetch(
    squeezenet: tuple[Problem, dict[str, Solution]],
) -> None:
    _, solutions = squeezenet
    for name in ("layerwise", "graphturbo_bfs_plain", "graphturbo_dfs_plain"):
        assert solutions[name].rules.prefetch == 0
        assert not any(choice.overlap for choice in solutions[name].choices)
    assert solutions["graphturbo"].evaluation.cycles < solutions["graphturbo_dfs_plain"].evaluation.cycles


def test_layerwise_keeps_nothing_in_the_last_level_buffer(
    squeezenet: tuple[Problem, dict[str, Solution]],
) -> None:
    problem, solutions = squeezenet
    assert len(solutions["layerwise"].choices) == problem.space.layers
    assert solutions["layerwise"].evaluation.counts.llb_bytes == 0


def test_an_unknown_strategy_is_refused_with_the_names_that_exist(
    squeezenet: tuple[Problem, dict[str, Solution]],
) -> None:
    with pytest.raises(
        ScheduleError, match=r"no strategy is called 'magic', expected one of layerwise, .*, annealing"
    ):
        solve("magic", squeezenet[0])
