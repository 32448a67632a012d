"""`greedy`: merge neighbouring sub-graphs while the simulator says that it pays.

Starts from single layers, or from the default groups' layers where simulating every merge would cost more than the
budget; sweeps from the first to the last sub-graph, each taking in its next neighbour as long as the whole schedule
becomes cheaper, until a sweep changes nothing or the budget is used. The split and the pieces of a merged sub-graph
are those with the least additive cost.
"""

from __future__ import annotations

from scheduling.choice import Choice
from scheduling.problem import Problem, simulated_cost
from scheduling.refinements.prefetch import best_prefetch, set_aside
from scheduling.rules import Rules
from scheduling.strategies.options import Options


def greedy(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Neighbouring sub-graphs merged one by one while the simulator says that it pays."""
    options = Options(problem)
    rules = Rules()
    choices = [options.of(layer, layer + 1)[0].choice for layer in range(problem.space.layers)]
    best = simulated_cost(problem, choices, rules)
    aside = set_aside(problem.budget)
    left = problem.budget - 1 - aside
    changed = True
    while changed and left > 0:
        changed = False
        at = 0
        while at + 1 < len(choices) and left > 0:
            merged = options.of(choices[at].first, choices[at + 1].stop)
            if not merged:
                at += 1
                continue
            attempt = [*choices[:at], merged[0].choice, *choices[at + 2 :]]
            cost = simulated_cost(problem, attempt, rules)
            left -= 1
            if cost < best:
                best, choices, changed = cost, attempt, True
            else:
                at += 1
    return best_prefetch(problem, tuple(choices), rules, aside)
