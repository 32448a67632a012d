"""How wide a beam may be for what is left of a budget.

A level is one more decision of every state in the beam. Levels may take more than an even share of what is left, since
many completed schedules are known by then and the last levels need few; a narrower beam with all its offers finds more
than a wide one that looks at the likeliest of them (measured on ResNet-50 with 16 images on rammer_v100: with 200
schedules the whole beam's schedule instead of one that takes 9 % more cycles).
"""

from __future__ import annotations

from agents.simulations import Simulations

LEVEL_SHARE = 2.0
"""A level may simulate so many times its even share of what is left."""

BEAM_SHARE = 1.5
"""A beam is kept so wide that the levels to go take at most so many times what is left, at the rate until now."""

NARROWEST = 2
"""States of a narrowed beam: the likeliest one and the one whose default completion costs least."""


class Pacing:
    """What the next level of a beam may take; `to_go` are the levels to go, this one counted.

    One schedule for each level is set aside for the greedy walk beside the beam.
    """

    def __init__(self, simulations: Simulations, width: int) -> None:
        self._simulations = simulations
        self._width = width
        self._states = self._spent = 0

    def allowed(self, to_go: int) -> int:
        """How many schedules this level may simulate."""
        return int(LEVEL_SHARE * self._left(to_go) / to_go)

    def width(self, to_go: int, states: int, spent: int) -> int:
        """How many states to keep after a level of so many states that simulated `spent` schedules."""
        self._states += states
        self._spent += spent
        if to_go == 1 or self._spent == 0:
            return self._width
        rate = self._spent / self._states * (to_go - 1)
        return min(self._width, max(NARROWEST, int(BEAM_SHARE * self._left(to_go) / rate)))

    def _left(self, to_go: int) -> int:
        return max(0, self._simulations.left - to_go)
