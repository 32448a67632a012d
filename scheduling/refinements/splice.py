"""Splicing: sub-graphs of several schedules of the same layers, put together to a better one.

What every sub-graph costs is seen in the schedules that it was simulated in: the cycles (or bytes, or energy) by which
its kernels made that schedule dearer. These parts add up to a schedule's cost, so dynamic programming finds the
cheapest chains of all sub-graphs that are known, whichever strategy they are from and whatever was decided in them:
tiles, rings, slices, bindings. A part depends on its neighbours, though, so what a chain costs is simulated, and what
its parts cost there is taken into account in the next one. That ends where no other chain promises to be cheaper than
the best one that was simulated.

Packed schedules are no chains of sub-graphs; they are only compared with.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hwmodel.timing.counts import Counts
from hwmodel.timing.energy import energy_pj
from scheduling.choice import Choice
from scheduling.objective import Objective
from scheduling.problem import Problem, State, simulated_cost

MOST_STATES = 16
"""Schedules that sub-graphs are taken from: the cheapest."""

KEPT = 8
"""Chains that are known to each layer: the cheapest."""

Costs = Mapping[Choice, float]
"""What sub-graphs cost."""


def spliced(problem: Problem, found: Mapping[State, float]) -> State:
    """The cheapest of some schedules, of which the costs are known, and of what their sub-graphs give together; within
    the budget."""
    last = problem.evaluator.evaluations + problem.budget
    best = min(found, key=found.__getitem__)
    chains = {state: cost for state, cost in found.items() if _is_chain(state) and cost < math.inf}
    if len(chains) < 2:
        return best
    least = found[best]
    rules = min(chains, key=chains.__getitem__)[1]
    simulated = {choices for choices, known in chains if known == rules}
    seen: dict[Choice, list[float]] = {}
    for state in sorted(chains, key=chains.__getitem__)[:MOST_STATES]:
        _note(seen, problem, state)
    while problem.evaluator.evaluations < last:
        costs = {choice: sum(noted) / len(noted) for choice, noted in seen.items()}
        promising = cheapest_chains(costs, problem.space.layers, KEPT)
        choices = next((c for cost, c in promising if c not in simulated and cost < least), None)
        if choices is None:
            break
        simulated.add(choices)
        cost = simulated_cost(problem, choices, rules)
        if cost == math.inf:
            continue
        _note(seen, problem, (choices, rules))
        if cost < least:
            best, least = (choices, rules), cost
    return best


def cheapest_chains(costs: Costs, layers: int, most: int) -> list[tuple[float, tuple[Choice, ...]]]:
    """The cheapest chains of these sub-graphs from layer 0 to `layers`, with the sums of their costs, in order."""
    known: list[list[tuple[float, tuple[Choice, ...]]]] = [[] for _ in range(layers + 1)]
    known[0] = [(0.0, ())]
    ending: dict[int, list[Choice]] = {}
    for choice in sorted(costs):
        ending.setdefault(choice.stop, []).append(choice)
    for stop in range(1, layers + 1):
        known[stop] = heapq.nsmallest(
            most,
            (
                (before + costs[choice], (*chain, choice))
                for choice in ending.get(stop, [])
                for before, chain in known[choice.first]
            ),
        )
    return known[layers]


def part_costs(problem: Problem, state: State) -> list[float]:
    """What each sub-graph of a schedule adds to its cost; the sum is the cost. Raises IllegalSchedule."""
    evaluator, (choices, rules) = problem.evaluator, state
    plan = evaluator.arrange(choices, rules)
    times, evaluation = evaluator.simulate(choices, plan)
    cycles = _sums(np.diff(np.maximum.accumulate(times.finish), prepend=0), plan.subgraph, len(choices))
    cost = problem.objective.cost(evaluation)
    if problem.objective is Objective.LATENCY:
        return _scaled(cycles, cost)
    store, index = evaluator.templates.store, evaluator.templates.indices(choices, plan)
    templates, which = np.unique(index, return_inverse=True)
    counts = [Counts(*store.counts[at].tolist()) for at in templates.tolist()]
    if problem.objective is Objective.OFF_CORE:
        off_core = np.array([each.off_core_bytes for each in counts], np.float64)
        return _scaled(_sums(off_core[which], plan.subgraph, len(choices)), cost)
    inner = [evaluator.inner_counts(store.inner[at].tolist()) for at in templates.tolist()]
    each = np.array([energy_pj(c, evaluator.machine, i) for c, i in zip(counts, inner, strict=True)])
    energy = _sums(each[which], plan.subgraph, len(choices))
    if problem.objective is Objective.ENERGY:
        return _scaled(energy, cost)
    return _scaled(cycles / cycles.sum() + energy / energy.sum(), cost)  # of a product, both alike


def _sums(values: NDArray[np.float64], subgraph: NDArray[np.int64], count: int) -> NDArray[np.float64]:
    return np.bincount(subgraph, values, count).astype(np.float64)


def _scaled(parts: NDArray[np.float64], total: float) -> list[float]:
    """Parts in proportion; what belongs to no sub-graph (copies by the system DMA) is shared by all."""
    found: list[float] = (parts * (total / parts.sum())).tolist()
    return found


def _note(seen: dict[Choice, list[float]], problem: Problem, state: State) -> None:
    for choice, cost in zip(state[0], part_costs(problem, state), strict=True):
        seen.setdefault(choice, []).append(cost)


def _is_chain(state: State) -> bool:
    rules = state[1]
    return rules.packing is None and not rules.reads and not rules.spilled
