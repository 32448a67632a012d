"""`lookahead`: front to back, each sub-graph the candidate whose default completion simulates best.

The default's own next choice is always among the candidates, so the cost never rises on the way and the result is
never worse than the default heuristic. Candidates are ranked by their additive cost plus that of the default
completion behind them, and only the first of them are simulated, so that the whole stays within the budget.
"""

from __future__ import annotations

from scheduling.candidates.defaults import Defaults
from scheduling.choice import Choice
from scheduling.problem import Problem, simulated_cost
from scheduling.refinements.prefetch import best_prefetch, set_aside
from scheduling.rules import Rules
from scheduling.strategies.ranking import Ranking


def lookahead(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Front to back, each sub-graph the candidate whose default completion simulates best."""
    defaults = Defaults(problem.space)
    ranking = Ranking(problem, defaults)
    rules = Rules()
    prefix: tuple[Choice, ...] = ()
    aside = set_aside(problem.budget)
    left = problem.budget - aside
    while not prefix or prefix[-1].stop < problem.space.layers:
        frontier = prefix[-1].stop if prefix else 0
        usual = defaults.complete(prefix)
        share = max(1, left // (len(usual) - len(prefix) + 1))
        best, taken = simulated_cost(problem, usual, rules), usual[len(prefix)]
        left -= 1
        for choice in ranking.candidates(frontier)[:share]:
            if left <= 0:
                break
            cost = simulated_cost(problem, defaults.complete((*prefix, choice)), rules)
            left -= 1
            if cost < best:
                best, taken = cost, choice
        prefix = (*prefix, taken)
        if left <= 0:
            prefix = defaults.complete(prefix)
    return best_prefetch(problem, prefix, rules, aside)
