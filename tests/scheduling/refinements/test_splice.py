"""Sub-graphs of several schedules put together: the cheapest chains of them, and what they cost when simulated."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.splice import cheapest_chains, part_costs, spliced
from scheduling.strategies import solve
from scheduling.strategies.random_search import random_schedule
from tests.scheduling.random_cases import checked_program, random_model


def chains_of(choices: list[Choice], at: int, layers: int) -> list[tuple[Choice, ...]]:
    """All ways to go on from a layer to the last, one after the other."""
    if at == layers:
        return [()]
    return [
        (choice, *rest)
        for choice in choices
        if choice.first == at
        for rest in chains_of(choices, choice.stop, layers)
    ]


@pytest.mark.parametrize("seed", range(20))
def test_the_cheapest_chains_are_those_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    layers = int(rng.integers(1, 7))
    drawn = rng.integers(0, layers + 1, (12, 2)).tolist()
    runs = {(min(pair), max(pair), int(rng.integers(1, 4))) for pair in drawn if pair[0] != pair[1]}
    costs = {Choice(*run): float(rng.integers(1, 10**6)) for run in sorted(runs)}
    every = [(sum(costs[c] for c in chain), chain) for chain in chains_of(list(costs), 0, layers)]
    for most in (1, 3, 1000):
        assert cheapest_chains(costs, layers, most) == sorted(every)[:most]


def problem_of(folder: Path, seed: int, objective: Objective) -> Problem:
    """A random network on `tiny`."""
    network = load_model(str(random_model(folder, np.random.default_rng(seed))), 2).network
    evaluator = Evaluator(network, load_machine("tiny"))
    return Problem(evaluator, CandidateSpace(evaluator), objective, 20)


@pytest.mark.parametrize("objective", Objective)
def test_the_parts_of_a_schedule_are_its_cost(tmp_path: Path, objective: Objective) -> None:
    problem = problem_of(tmp_path, 3, objective)
    for name in ("layerwise", "graphturbo", "depth_first", "dp+channels"):
        found = solve(name, problem)
        state = found.choices, found.rules
        parts = part_costs(problem, state)
        assert len(parts) == len(found.choices) and min(parts) >= 0
        assert sum(parts) == pytest.approx(problem.cost(*state), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_a_splice_is_never_worse_and_legal(tmp_path: Path, seed: int) -> None:
    """Of random schedules: sub-graphs of more than one of them are in it, and it is emitted as it is simulated."""
    objective = list(Objective)[seed]
    problem = problem_of(tmp_path, 60 + seed, objective)
    rng = np.random.default_rng(seed)
    states: list[State] = [random_schedule(problem, rng) for _ in range(12)]
    found = {state: simulated_cost(problem, *state) for state in states}
    before = problem.evaluator.evaluations
    best = spliced(problem, found)
    assert problem.evaluator.evaluations - before <= problem.budget
    assert problem.cost(*best) <= min(found.values())
    assert all(one.stop == two.first for one, two in pairwise(best[0]))
    assert set(best[0]) <= {choice for choices, _ in states for choice in choices}
    if best not in found:
        checked_program(problem.evaluator, *best)
    assert spliced(problem, found) == best


def test_halves_that_are_best_apart_are_put_together() -> None:
    """One schedule runs the first half of a network well and the second one layer by layer, another one the other way
    round: their good halves are as good as the schedule that they were taken from."""
    evaluator = Evaluator(load_model("squeezenet", 1, weights=False).network, load_machine("stcp920"))
    problem = Problem(evaluator, CandidateSpace(evaluator), budget=10)
    good, poor = solve("dp", problem), solve("layerwise", problem)
    cut = good.choices[len(good.choices) // 2].first
    assert 0 < cut < problem.space.layers

    def joined(first: tuple[Choice, ...], second: tuple[Choice, ...]) -> State:
        kept = [c for c in first if c.stop <= cut] + [c for c in second if c.first >= cut]
        return tuple(kept), good.rules

    halves = [joined(good.choices, poor.choices), joined(poor.choices, good.choices)]
    found = {state: problem.cost(*state) for state in halves}
    best = spliced(problem, found)
    assert best[0] == good.choices
