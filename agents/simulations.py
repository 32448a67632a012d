"""What the schedules of a decode cost: each is simulated once, and no more of them than the problem's budget."""

from __future__ import annotations

import math

from env.building import Builder, State
from scheduling.evaluator import Evaluation
from scheduling.problem import State as Schedule


class Simulations:
    """Simulations of the states of one builder, completed by default decisions; `left` more are allowed."""

    def __init__(self, builder: Builder) -> None:
        self.left = builder.problem.budget
        self._builder = builder
        self._schedules: dict[State, Schedule] = {}
        self._known: dict[Schedule, Evaluation] = {}

    def schedule(self, state: State) -> Schedule:
        """The completed schedule; different states may have the same one."""
        known = self._schedules.get(state)
        if known is None:
            known = self._schedules[state] = self._builder.schedule(state)
        return known

    def known(self, state: State) -> Evaluation | None:
        """The evaluation of a state if its completed schedule was simulated."""
        return self._known.get(self.schedule(state))

    def evaluation(self, state: State) -> Evaluation | None:
        """The evaluation of a state, None where it is not known and nothing is left."""
        known = self.known(state)
        if known is None and self.left > 0:
            self.left -= 1
            schedule = self.schedule(state)
            known = self._known[schedule] = self._builder.problem.evaluator.evaluate(*schedule)
        return known

    def cost(self, state: State) -> float:
        """The cost of a state, infinite where it is not known and nothing is left."""
        found = self.evaluation(state)
        return math.inf if found is None else self._builder.problem.objective.cost(found)
