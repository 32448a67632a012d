"""`dp`: the best contiguous cuts by dynamic programming over an additive segment estimate.

What is estimated and how chains are found is in `scheduling.chains`. Every chain is simulated with several rules, and
the best is kept; the default completion is among what is compared. No more schedules than the budget are simulated.

Cuts are tried at every layer of a small network, else where the fewest bytes cross (local minima).
"""

from __future__ import annotations

from scheduling.candidates.defaults import Defaults
from scheduling.chains.best import best_chain
from scheduling.chains.offered import candidates, cut_points
from scheduling.problem import Problem, State
from scheduling.rules import Rules


def dp(problem: Problem) -> State:
    """The best contiguous cuts for each of several additive estimates; the one that simulates best."""
    state = Defaults(problem.space).complete(()), Rules()
    return best_chain(problem, state, cut_points, candidates)
