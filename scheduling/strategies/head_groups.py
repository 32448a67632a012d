"""In how many groups of heads attention is cut (graph/head_groups.py): every number that divides the heads is tried."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from graph.head_groups import head_group_counts, network_in_head_groups
from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.candidates.space import CandidateSpace
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import solve

TRYING = ("graphturbo", "dp")
"""Strategies that tell numbers of groups apart: the default grouping of the layers, and the best of additive costs."""


class Tried(NamedTuple):
    """The best schedule of `TRYING` for the network in so many groups, and its cost by the objective."""

    groups: int
    strategy: str
    cost: float


def tried_head_groups(
    network: Network, machine: Machine, objective: Objective, budget: int, seed: int = 0
) -> list[Tried]:
    """What each number of groups costs, ascending; without attention there is 1 alone. Numbers for which the network
    fits the machine by none of the strategies are left out.
    """
    found = []
    for groups in head_group_counts(network):
        evaluator = Evaluator(network_in_head_groups(network, groups), machine)
        costs = []
        for strategy in TRYING:
            problem = Problem(evaluator, CandidateSpace(evaluator), objective, budget, seed)
            try:
                costs.append(Tried(groups, strategy, objective.cost(solve(strategy, problem).evaluation)))
            except IllegalSchedule:
                continue
        found += sorted(costs, key=lambda tried: tried.cost)[:1]
    return found


def best_head_groups(tried: Sequence[Tried]) -> int:
    """The number of groups of least cost, the smallest of equals; 1 where nothing fits."""
    return min(tried, key=lambda item: item.cost).groups if tried else 1
