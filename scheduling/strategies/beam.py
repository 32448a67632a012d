"""`beam`: beam search over prefixes of a schedule, each judged by the simulated cost of its default completion.

A level decides one more sub-graph. Of every prefix in the beam the most promising candidates (`ranking`) are
completed by `scheduling.candidates.defaults` and simulated; the cheapest prefixes go on. The choice that the default
makes itself costs no simulation, since it completes to the same schedule, so the best never gets worse and is at most
the default heuristic's. `lookahead` is the case of width 1.

The width follows from the budget: a beam of w prefixes tries about CANDIDATES x w candidates of each, at as many levels
as the default has sub-graphs.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from scheduling.candidates.defaults import Defaults
from scheduling.choice import Choice
from scheduling.problem import Problem, simulated_cost
from scheduling.refinements.prefetch import best_prefetch, set_aside
from scheduling.rules import Rules
from scheduling.strategies.ranking import Ranking

CANDIDATES = 4
"""Candidates tried of a prefix, for each prefix that is kept."""


class Node(NamedTuple):
    """The first `decided` sub-graphs of a whole schedule, the default's choices behind them, and its cost."""

    cost: float
    whole: tuple[Choice, ...]
    decided: int

    @property
    def own(self) -> Node:
        """The default's next choice decided too."""
        return self._replace(decided=self.decided + 1)

    @property
    def to_go(self) -> int:
        """Sub-graphs that are not decided."""
        return len(self.whole) - self.decided


def beam(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Beam search over sub-graphs front to back, by the simulated cost of their default completion."""
    defaults, rules = Defaults(problem.space), Rules()
    ranking = Ranking(problem, defaults)
    whole = defaults.complete(())
    best = Node(simulated_cost(problem, whole, rules), whole, 0)
    width = max(1, math.isqrt(problem.budget // (CANDIDATES * len(whole))))
    aside = set_aside(problem.budget)
    left = problem.budget - 1 - aside
    nodes = [best]
    while nodes and left > 0:
        share = max(1, left // (len(nodes) * max(node.to_go for node in nodes)))
        children = [node.own for node in nodes]
        for node in nodes:
            prefix, usual = node.whole[: node.decided], node.whole[node.decided]
            others = [choice for choice in ranking.candidates(usual.first) if choice != usual]
            for choice in others[: min(share, left)]:
                whole = defaults.complete((*prefix, choice))
                children.append(Node(simulated_cost(problem, whole, rules), whole, node.decided + 1))
                left -= 1
        children.sort()
        best = min(best, children[0])
        nodes = [node for node in children if node.to_go][:width]
    return best_prefetch(problem, best.whole, rules, aside)
