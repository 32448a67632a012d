"""A decode keeps to its budget, and is a plain beam search where that is large."""

from __future__ import annotations

import math
from dataclasses import replace
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
import torch

from agents.inference import BEAM_OFFERS, LEAST_LIKELY, Policy, decode, load_policy
from agents.scorer import Scorer
from env.building import Builder, State
from env.features import CANDIDATE, GLOBAL
from env.observation import Context
from env.problems import make_problem
from scheduling.problem import Problem
from scheduling.problem import State as Schedule
from scheduling.strategies import solve
from scheduling.strategies.anytime import anytime

CASES = (("squeezenet", "stcp920", 4), ("alexnet", "rammer_v100", 2), ("resnet18", "edge_tcm", 1))
BUDGETS = (1, 2, 5, 20, 60)


@pytest.fixture(scope="module", params=CASES, ids=lambda case: f"{case[0]}-{case[1]}")
def problem(request: pytest.FixtureRequest) -> Problem:
    network, machine, batch = request.param
    return make_problem(network, machine, batch)


def untrained(seed: int) -> Policy:
    """A policy whose likelihoods have nothing to do with costs."""
    torch.manual_seed(seed)
    return Policy(Scorer(len(CANDIDATE), len(GLOBAL), 16), {"training": {}})


POLICIES = {"shipped": load_policy(), "untrained": untrained(1)}


def plain_beam(policy: Policy, problem: Problem, width: int) -> float:
    """The least cost of a beam of this width and of the greedy decode, as their definition says it, without budget,
    threads or anything kept."""
    builder = Builder(problem)
    context = Context(builder, builder.evaluate(builder.start()))

    def offers(state: State) -> list[tuple[float, State]]:
        options = builder.options(state)
        vector = context.vector(state, options, builder.evaluate(state))
        likely = policy.log_probabilities(policy.describe(options), vector)
        best = np.argsort(-likely, kind="stable")[:BEAM_OFFERS].tolist()
        good = [best[0], *(k for k in best[1:] if likely[k] >= math.log(LEAST_LIKELY))]
        return [(float(likely[k]), builder.apply(state, options.decisions[k])) for k in good]

    greedy = builder.start()
    while greedy.phase is not None:
        greedy = offers(greedy)[0][1]
    costs = [builder.cost(greedy)]
    beam = {builder.start(): 0.0}
    while beam:
        found = {after: sum_ + one for state, sum_ in beam.items() for one, after in offers(state)}
        costs += [builder.cost(state) for state in found if state.phase is None]
        going = [state for state in found if state.phase is not None]
        likeliest = sorted(going, key=lambda state: -found[state])
        cheapest = sorted(going, key=builder.cost)
        taken = dict.fromkeys(state for pair in zip(likeliest, cheapest, strict=True) for state in pair)
        beam = {state: found[state] for state in list(taken)[:width]}
    return min(costs)


def counted(policy: Policy, problem: Problem, budget: int, samples: int = 0) -> tuple[Schedule, int]:
    """A decode, which is a whole schedule, and how many schedules it simulated."""
    before = problem.evaluator.evaluations
    choices, rules = decode(policy, replace(problem, budget=budget), samples=samples)
    simulated = problem.evaluator.evaluations - before
    assert choices[0].first == 0 and choices[-1].stop == problem.space.layers
    assert all(one.stop == other.first for one, other in pairwise(choices))
    return (choices, rules), simulated


@pytest.mark.parametrize("policy", POLICIES, ids=list(POLICIES))
def test_a_decode_simulates_at_most_its_budget(problem: Problem, policy: str):
    for budget in BUDGETS:
        found, simulated = counted(POLICIES[policy], problem, budget)
        assert 1 <= simulated <= budget
        if budget == 5:
            assert counted(POLICIES[policy], problem, budget) == (found, simulated)
            assert counted(POLICIES[policy], problem, budget, samples=3)[1] <= budget


@pytest.mark.parametrize("policy", POLICIES, ids=list(POLICIES))
def test_with_a_large_budget_it_is_a_plain_beam_search(problem: Problem, policy: str):
    found, _ = counted(POLICIES[policy], problem, 10**6)
    assert problem.cost(*found) == plain_beam(POLICIES[policy], problem, 4)
    assert counted(POLICIES[policy], problem, 300)[0] == found


def test_refinements_get_half_of_the_budget_at_least(problem: Problem):
    evaluator, budget = problem.evaluator, 12
    beside = {"learned": lambda part: decode(POLICIES["shipped"], part)}
    before = evaluator.evaluations
    alone = solve("learned", replace(problem, budget=budget // 2), beside)
    refined = solve("learned+prefetch", replace(problem, budget=budget), beside)
    assert alone.evaluations <= budget // 2 and refined.evaluations <= budget
    assert evaluator.evaluations - before == alone.evaluations + refined.evaluations + 2  # solve's own
    assert refined.evaluation.cycles <= alone.evaluation.cycles


def test_its_anytime_curve_is_what_it_ends_with(problem: Problem):
    """Default completions that it simulates on the way are not its own schedules, and no points."""
    beside = {"learned": partial(decode, POLICIES["shipped"])}
    solution, curve = anytime("learned", replace(problem, budget=20), beside)
    assert [point.cost for point in curve] == [solution.evaluation.cycles]
    assert curve[0].simulated <= 20


def test_a_budget_below_one_is_refused(problem: Problem):
    with pytest.raises(ValueError, match="the budget is 0, expected at least 1 schedule"):
        decode(POLICIES["shipped"], replace(problem, budget=0))
