"""Ranking: the candidates for the next sub-graph by additive cost, with that of the default completion behind each.

Decides which candidates a search simulates first, so that the promising ones are within its budget.
"""

from __future__ import annotations

from scheduling.candidates.defaults import Defaults
from scheduling.choice import Choice
from scheduling.problem import Problem
from scheduling.strategies.options import Option, Options, additive_cost


class Ranking:
    """Ranked candidates of a problem, found once for each first layer."""

    def __init__(self, problem: Problem, defaults: Defaults) -> None:
        self._problem = problem
        self._defaults = defaults
        self._options = Options(problem)
        self._to_go: dict[int, float] = {problem.space.layers: 0.0}
        self._ranked: dict[int, tuple[Choice, ...]] = {}

    def candidates(self, first: int) -> tuple[Choice, ...]:
        """Candidates that start at layer `first`, the most promising first."""
        known = self._ranked.get(first)
        if known is None:
            choices, figures = self._problem.space.at(first)
            options = [Option(c, tuple(row)) for c, row in zip(choices, figures.tolist(), strict=True)]
            ranked = sorted(
                (additive_cost(self._problem, o) + self._rest(o.choice.stop), o.choice) for o in options
            )
            known = self._ranked[first] = tuple(choice for _, choice in ranked)
        return known

    def _rest(self, frontier: int) -> float:
        """Additive cost of the default completion from a layer on."""
        known = self._to_go.get(frontier)
        if known is None:
            whole = self._defaults.complete((Choice(0, frontier),))
            options = [self._options.known(choice) for choice in whole[1:]]
            known = sum(additive_cost(self._problem, o) for o in options if o is not None)
            self._to_go[frontier] = known
        return known
