"""`lookahead`: front to back, each sub-graph the candidate whose default completion simulates best.

The default's own next choice is always among the candidates, so the cost never rises on the way and the result is
never worse than the default heuristic. Candidates are ranked by their additive cost plus that of the default
completion behind them, and only the first of them are simulated, so that the whole stays within the budget.
"""

from __future__ import annotations

from scheduling.choice import Choice
from scheduling.defaults import Defaults
from scheduling.evaluator import Rules
from scheduling.problem import Problem
from scheduling.strategies.options import Option, Options, additive_cost, simulated_cost


def lookahead(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """One-step lookahead by simulation."""
    defaults, options = Defaults(problem.space), Options(problem)
    rules = Rules()
    prefix: tuple[Choice, ...] = ()
    left = problem.budget
    to_go: dict[int, float] = {problem.space.layers: 0.0}
    while not prefix or prefix[-1].stop < problem.space.layers:
        frontier = prefix[-1].stop if prefix else 0
        usual = defaults.complete(prefix)
        own = usual[len(prefix)]
        choices, figures = problem.space.at(frontier)
        ranked = []
        for choice, row in zip(choices, figures.tolist(), strict=True):
            if choice.stop not in to_go:
                to_go[choice.stop] = _rest(problem, defaults, options, choice.stop)
            ranked.append((additive_cost(problem, Option(choice, tuple(row))) + to_go[choice.stop], choice))
        ranked.sort()
        share = max(1, left // (len(usual) - len(prefix) + 1))
        best, taken = simulated_cost(problem, usual, rules), own
        left -= 1
        for _, choice in ranked[:share]:
            if left <= 0:
                break
            cost = simulated_cost(problem, defaults.complete((*prefix, choice)), rules)
            left -= 1
            if cost < best:
                best, taken = cost, choice
        prefix = (*prefix, taken)
        if left <= 0:
            prefix = defaults.complete(prefix)
    return prefix, rules


def _rest(problem: Problem, defaults: Defaults, options: Options, frontier: int) -> float:
    """Additive cost of the default completion from a layer on."""
    dummy = Choice(0, frontier)
    total = 0.0
    for choice in defaults.complete((dummy,))[1:]:
        option = options.known(choice)
        total += additive_cost(problem, option) if option is not None else 0.0
    return total
