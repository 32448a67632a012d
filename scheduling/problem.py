"""Problem and Solution: what every strategy and refinement is given, and what it gives back."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.layer_order import Order, in_order
from scheduling.objective import Objective
from scheduling.rules import Rules

State = tuple[tuple[Choice, ...], Rules]
"""A whole schedule as decisions: for all layers of a network, in order."""


class Simulated(NamedTuple):
    """A note of a simulated schedule: the how manieth it was, its cost, when it was known (time.perf_counter), its
    decisions, and the order that these count layers in."""

    schedules: int
    cost: float
    at_seconds: float
    state: State
    layer_order: Order = ()


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """A network on a machine (inside the evaluator), the candidates that all strategies choose from, and limits.

    `budget` is the number of schedules that a search strategy may simulate; `seed` decides its random numbers.
    Where there is a `log`, every simulated schedule is noted there. `layer_order` is the order that the layers are in
    (empty: the file's).
    """

    evaluator: Evaluator
    space: CandidateSpace
    objective: Objective = Objective.LATENCY
    budget: int = 300
    seed: int = 0
    log: list[Simulated] | None = None
    layer_order: Order = ()

    def cost(self, choices: tuple[Choice, ...], rules: Rules = Rules()) -> float:  # noqa: B008 (frozen)
        """Simulated cost of a schedule; raises IllegalSchedule."""
        cost = self.objective.cost(self.evaluator.evaluate(choices, rules))
        if self.log is not None:
            now = time.perf_counter()
            self.log.append(
                Simulated(self.evaluator.evaluations, cost, now, (choices, rules), self.layer_order)
            )
        return cost

    def reordered(self, order: Order) -> Problem:
        """The same problem with the layers in another order; its simulated schedules count as this one's. Raises
        IllegalSchedule."""
        if not order:
            return self
        network = in_order(self.evaluator.network, order)
        evaluator = Evaluator(network, self.evaluator.machine, beside=self.evaluator)
        of_file = tuple(self.layer_order[layer] for layer in order) if self.layer_order else order
        return replace(self, evaluator=evaluator, space=CandidateSpace(evaluator), layer_order=of_file)


@dataclass(frozen=True, slots=True)
class Solution:
    """A strategy's schedule as decisions, with its simulated cost and what finding it took.

    `choices` count layers in `layer_order` (scheduling.layer_order; empty: the file's).
    """

    strategy: str
    choices: tuple[Choice, ...]
    rules: Rules
    evaluation: Evaluation
    evaluations: int
    seconds: float
    layer_order: Order = ()


Decide = Callable[[Problem], State]
"""A strategy."""

Arrange = Callable[[Problem], tuple[Order, tuple[Choice, ...], Rules]]
"""A strategy that decides the order of the layers too, and then counts layers in it."""

Refine = Callable[[Problem, State], State]
"""A refinement: a schedule that costs no more than the given one, within the problem's budget, of at least 2."""


def simulated_cost(problem: Problem, choices: Sequence[Choice], rules: Rules) -> float:
    """Cost of a whole schedule; infinite where the simulator finds that it does not fit."""
    try:
        return problem.cost(tuple(choices), rules)
    except IllegalSchedule:
        return math.inf
