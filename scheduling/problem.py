"""Problem and Solution: what every strategy is given, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from scheduling.candidates import CandidateSpace
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation, Evaluator, Rules
from scheduling.objective import Objective


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A network on a machine (inside the evaluator), the candidates that all strategies choose from, and limits.

    `budget` is the number of schedules that a search strategy may simulate; `seed` decides its random numbers.
    """

    evaluator: Evaluator
    space: CandidateSpace
    objective: Objective = Objective.LATENCY
    budget: int = 300
    seed: int = 0

    def cost(self, choices: tuple[Choice, ...], rules: Rules = Rules()) -> float:  # noqa: B008 (frozen)
        """Simulated cost of a schedule; raises IllegalSchedule."""
        return self.objective.cost(self.evaluator.evaluate(choices, rules))


@dataclass(frozen=True, slots=True)
class Solution:
    """A strategy's schedule as decisions, with its simulated cost and what finding it took."""

    strategy: str
    choices: tuple[Choice, ...]
    rules: Rules
    evaluation: Evaluation
    evaluations: int
    seconds: float


Decide = Callable[[Problem], tuple[tuple[Choice, ...], Rules]]
"""A strategy: decisions for all layers of the problem's network, in order."""
