"""What the rungs, `stitch`, the searches and the portfolio promise about their schedules, beyond legality."""

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import load_machine
from scheduling.candidates.defaults import Defaults
from scheduling.choice import Choice
from scheduling.legality.arrangements import check_arrangement
from scheduling.objective import Objective
from scheduling.problem import Problem, Simulated
from scheduling.rules import Rules
from scheduling.strategies import STRATEGIES, solve
from scheduling.strategies.anytime import anytime, cost_after, cost_within
from scheduling.strategies.genetic import crossover
from scheduling.strategies.options import Options
from scheduling.strategies.random_search import random_schedule
from tests.scheduling.random_cases import random_model
from tests.scheduling.strategies.test_strategies import problem_of, small_network

SEARCHES = ("dp+configurations", "depth_first+all", "beam", "random", "annealing", "genetic", "portfolio")


def covers(choices: tuple[Choice, ...], layers: int) -> bool:
    """Whether the sub-graphs follow one another from the first layer to the last."""
    joints = all(a.stop == b.first for a, b in pairwise(choices))
    return joints and choices[0].first == 0 and choices[-1].stop == layers


@pytest.fixture(scope="module")
def squeezenet() -> Problem:
    return problem_of(load_model("squeezenet", batch=4, weights=False).network, load_machine("stcp920"))


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> list[Problem]:
    """Random networks, on both machines, for all objectives."""
    problems = []
    for seed, objective in enumerate(Objective):
        network = small_network(tmp_path_factory.mktemp("small"), 100 + seed, (4, 1, 2, 4)[seed])
        machines = [load_machine("tiny"), load_machine("stcp920")]
        problems += [problem_of(network, machine, objective=objective) for machine in machines]
    return problems


def test_llb_first_is_layerwise_with_less_traffic_to_dram(small: list[Problem], squeezenet: Problem) -> None:
    for problem in (*small, squeezenet):
        layerwise, llb_first = (solve(name, problem) for name in ("layerwise", "llb_first"))
        assert llb_first.choices == layerwise.choices
        assert llb_first.evaluation.counts.dram_bytes <= layerwise.evaluation.counts.dram_bytes
    assert llb_first.evaluation.counts.llb_bytes > 0


def test_l1_first_splits_no_group_and_takes_in_what_fits(small: list[Problem], squeezenet: Problem) -> None:
    for problem in (*small, squeezenet):
        choices, rules = STRATEGIES["l1_first"](problem)
        alone, same = STRATEGIES["llb_first"](problem)
        assert rules == same
        assert len(choices) <= len(alone)
        for choice in choices:
            if choice.stop - choice.first == 1:
                assert choice == alone[choice.first]
            else:
                assert (choice.instances, choice.pieces, choice.overlap) == (1, 1, 0)


def test_l1_first_that_fits_as_one_group_is_graphturbo_without_instruction_scheduling(tmp_path: Path) -> None:
    problem = problem_of(small_network(tmp_path, 3, 1), load_machine("stcp920"))
    l1_first, plain = (solve(name, problem) for name in ("l1_first", "graphturbo_dfs_plain"))
    assert len(l1_first.choices) == 1
    assert l1_first.choices == plain.choices
    assert l1_first.evaluation == plain.evaluation


def test_stitch_leaves_compute_bound_layers_alone_and_no_memory_bound_neighbours(squeezenet: Problem) -> None:
    matrix = squeezenet.evaluator.table.is_matrix
    choices, _ = STRATEGIES["stitch"](squeezenet)
    layers = squeezenet.space.layers
    assert covers(choices, layers)
    for choice in choices:
        assert choice.stop - choice.first == 1 or not matrix[choice.first : choice.stop].any()
    for one, two in pairwise(choices):
        apart = matrix[one.first] or matrix[two.first]
        assert apart or squeezenet.space.smallest_split(one.first, one.stop + 1) is None
    assert len(choices) < layers


def test_stitch_is_layerwise_where_no_memory_bound_layers_meet() -> None:
    problem = problem_of(load_model("resnet50", batch=1, weights=False).network, load_machine("stcp920"))
    assert STRATEGIES["stitch"](problem) == STRATEGIES["layerwise"](problem)


@pytest.mark.parametrize("name", SEARCHES)
@pytest.mark.parametrize("budget", [1, 2, 9, 25])
def test_searches_keep_to_any_budget_and_are_the_same_again(
    small: list[Problem], name: str, budget: int
) -> None:
    for problem in small[::3]:
        found = [solve(name, replace(problem, budget=budget, seed=5)) for _ in range(2)]
        assert found[0].evaluations == found[1].evaluations <= budget
        assert (found[0].choices, found[0].rules) == (found[1].choices, found[1].rules)
        assert covers(found[0].choices, problem.space.layers)


def test_configurations_are_never_worse_than_dp_with_half_the_budget(small: list[Problem]) -> None:
    """And faster on some: kernels that `dp` does not know are among those that it chooses from."""
    gains = []
    for problem in small:
        plain = solve("dp", replace(problem, budget=20)).evaluation.cycles
        gains.append(plain / solve("dp+configurations", replace(problem, budget=40)).evaluation.cycles)
    assert min(gains) >= 1
    assert max(gains) > 1


def test_random_is_never_worse_with_more_budget(squeezenet: Problem) -> None:
    costs = [
        problem.cost(*STRATEGIES["random"](problem))
        for problem in (replace(squeezenet, budget=budget, seed=2) for budget in (1, 4, 16, 64))
    ]
    assert costs == sorted(costs, reverse=True)
    assert costs[-1] < costs[0]


def test_random_schedules_are_drawn_anew_by_another_seed(squeezenet: Problem) -> None:
    drawn = {random_schedule(squeezenet, np.random.default_rng(seed)) for seed in range(8)}
    assert len(drawn) == 8


@pytest.mark.parametrize("name", ["beam", "genetic", "portfolio"])
def test_what_starts_from_the_default_is_never_worse(small: list[Problem], name: str) -> None:
    for problem in small:
        default = problem.cost(Defaults(problem.space).complete(()), Rules())
        assert problem.objective.cost(solve(name, problem).evaluation) <= default


def test_beam_with_a_budget_of_one_is_the_default(squeezenet: Problem) -> None:
    choices, rules = STRATEGIES["beam"](replace(squeezenet, budget=1))
    assert (choices, rules) == (Defaults(squeezenet.space).complete(()), Rules())


def test_crossover_covers_all_layers_with_whole_subgraphs_or_tails_of_the_parents(
    squeezenet: Problem,
) -> None:
    random = np.random.default_rng(0)
    options = Options(squeezenet)
    mixed = 0
    for _ in range(20):
        mother, father = (random_schedule(squeezenet, random) for _ in range(2))
        child, rules = crossover(options, random, mother, father)
        assert covers(child, squeezenet.space.layers)
        assert rules in (mother[1], father[1])
        either = {*mother[0], *father[0]}
        stops = {choice.stop for choice in either}
        for choice in child:
            assert choice in either or choice.stop in stops
        squeezenet.evaluator.evaluate(child, rules)
        mixed += child not in (mother[0], father[0])
    assert mixed > 10


def test_crossover_of_equals_is_the_same(squeezenet: Problem) -> None:
    random = np.random.default_rng(1)
    state = random_schedule(squeezenet, random)
    assert crossover(Options(squeezenet), random, state, state) == state


def test_portfolio_returns_the_best_that_any_part_simulated(
    small: list[Problem], squeezenet: Problem
) -> None:
    for problem in (*small[:2], squeezenet):
        log: list[Simulated] = []
        watched = replace(problem, budget=60, log=log)
        best = problem.objective.cost(solve("portfolio", watched).evaluation)
        assert best == min(note.cost for note in log)
        for name in ("graphturbo", "llb_first", "l1_first"):  # which it runs at this budget
            assert best <= problem.cost(*STRATEGIES[name](problem))


def test_an_anytime_curve_falls_to_the_cost_of_the_solution(squeezenet: Problem) -> None:
    for name in ("layerwise", "dp", "random", "beam", "genetic", "portfolio", "least_memory"):
        solution, curve = anytime(name, squeezenet)
        known = solve(name, squeezenet)
        assert (known.choices, known.rules) == (solution.choices, solution.rules)
        assert all(a[0] < b[0] and a[1] > b[1] for a, b in pairwise(curve))
        assert curve[0][0] >= 1 and curve[-1][0] <= solution.evaluations
        assert curve[-1][1] == squeezenet.objective.cost(solution.evaluation)
        assert cost_after(curve, 0) == float("inf")
        assert cost_after(curve, solution.evaluations) == curve[-1][1]
        assert all(a.seconds <= b.seconds for a, b in pairwise(curve))
        assert cost_within(curve, 0.0) == float("inf")
        assert cost_within(curve, solution.seconds + 1.0) == curve[-1].cost


@pytest.mark.slow
@pytest.mark.parametrize("machine", ["tiny", "stcp920"])
@pytest.mark.parametrize("seed", range(20, 32))
def test_new_strategies_on_more_random_networks(tmp_path: Path, machine: str, seed: int) -> None:
    path = random_model(tmp_path, np.random.default_rng(seed))
    network: Network = load_model(str(path), (1, 2, 4)[seed % 3]).network
    for objective in Objective:
        problem = problem_of(network, load_machine(machine), objective=objective, seed=seed)
        for name in ("llb_first", "l1_first", "stitch", *SEARCHES):
            solution = solve(name, problem)
            plan = problem.evaluator.arrange(solution.choices, solution.rules)
            check_arrangement(problem.evaluator, solution.choices, plan)
