"""`annealing`: simulated annealing over cuts, splits, pieces and rules, from the default completion.

Every step simulates one schedule; the budget counts them. A change is accepted by Metropolis' rule on the logarithm
of the cost, so temperatures mean the same for every network and objective. At first most of the time goes into the
choices for runs of layers that were not met before; where a move makes two of them, a second thread finds those of one.
"""

from __future__ import annotations

import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.problem import Problem, State, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.moves import neighbour
from scheduling.strategies.options import Options

HOT, COLD = 0.04, 0.0005
"""First and last temperature, in differences of log cost."""


def annealing(problem: Problem) -> State:
    """Simulated annealing over cuts, splits, pieces and rules, from the default completion on."""
    return anneal(problem, (Defaults(problem.space).complete(()), Rules()))


def anneal(problem: Problem, state: State) -> State:
    """The best schedule met within the budget, from `state` on."""
    with ThreadPoolExecutor(1) as pool:
        return _walk(problem, state, Options(problem, pool))


def _walk(problem: Problem, state: State, options: Options) -> State:
    random = np.random.default_rng(problem.seed)
    cost = math.log(simulated_cost(problem, *state))
    best, least = state, cost
    for step in range(1, problem.budget):
        temperature = HOT * (COLD / HOT) ** (step / problem.budget)
        changed = neighbour(problem, options, random, state)
        new = simulated_cost(problem, *changed)
        if new == math.inf:
            continue
        new = math.log(new)
        if new <= cost or random.random() < math.exp((cost - new) / temperature):
            state, cost = changed, new
            if cost < least:
                best, least = state, cost
    return best
