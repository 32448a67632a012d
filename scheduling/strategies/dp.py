"""`dp`: the best contiguous cuts by dynamic programming over an additive segment estimate.

A segment costs its isolated time for the places of its borders (`scheduling.strategies.segments`), and a share of the
DRAM time by which its traffic exceeds that; whether a border stays in the last-level buffer (LLB) follows from the
splits along the way (`scheduling.strategies.shortest`). What the estimate cannot know is varied: that share, and how
much of the LLB borders may fill; each variant's cuts are simulated in both orders, with weights prefetched one and
two kernels ahead, and the best is kept. The default completion is among what is compared.

Cuts are tried at every layer of a small network, else where the fewest bytes cross (local minima).
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np

from scheduling.arrangement import BREADTH_FIRST
from scheduling.candidates import PIECES, survey
from scheduling.choice import Choice
from scheduling.defaults import Defaults
from scheduling.evaluator import Rules
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies.options import CHOICE_FIELDS, CYCLES, simulated_cost
from scheduling.strategies.segments import Floats, Segments, segments
from scheduling.strategies.shortest import shortest

PIECES_FIELD = Choice._fields.index("pieces")

SMALL = 40
"""Networks of at most so many layers may be cut everywhere."""

MOST_AHEAD = 24
"""Cuts ahead at which a sub-graph may end."""

TIMED_EACH = 2
"""Choices timed for each run of layers and split: those with the best estimates, and the one in whole layers."""

EXCESS = (0.0, 0.5, 1.0)
"""Shares of a segment's DRAM time beyond its isolated time that are charged to it."""

ROOM = (0.5, 0.7, 0.85, 1.0, 1.25, 1.5)
"""Shares of the LLB that borders may fill."""

RULES = (
    Rules(),
    Rules(prefetch=2),
    Rules(order=BREADTH_FIRST),
    Rules(order=BREADTH_FIRST, prefetch=2),
)


def dp(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Best cuts for several estimates; the one that simulates best."""
    cuts = cut_points(problem)
    table = [_candidates(problem, cuts, at) for at in range(len(cuts) - 1)]
    best, best_rules = Defaults(problem.space).complete(()), Rules()
    least = simulated_cost(problem, best, best_rules)
    seen = set()
    for costs in _segment_costs(problem, table, best):
        for room in ROOM:
            choices = best_path(problem, cuts, table, costs, room)
            if not choices or choices in seen:
                continue
            seen.add(choices)
            for rules in RULES:
                cost = simulated_cost(problem, choices, rules)
                if cost < least:
                    best, best_rules, least = choices, rules, cost
    return best, best_rules


def cut_points(problem: Problem) -> list[int]:
    """Where sub-graphs may begin and end, 0 and the number of layers among them."""
    crossing, layers = problem.space.border_bytes, problem.space.layers
    if layers <= SMALL:
        return list(range(layers + 1))
    cuts = [0]
    for at in range(1, layers):
        falls = crossing[at] < crossing[at - 1] or (crossing[at] == crossing[at - 1] and cuts[-1] != at - 1)
        if falls and crossing[at] <= crossing[at + 1]:
            cuts.append(at)
    cuts.append(layers)
    whole = Defaults(problem.space)
    refined = [0]
    for first, stop in pairwise(cuts):
        refined += [stop] if whole.choice(first, stop) is not None else range(first + 1, stop + 1)
    return refined


def _candidates(problem: Problem, cuts: list[int], at: int) -> Segments:
    """Choices for sub-graphs that start at a cut, with their figures."""
    evaluator, space = problem.evaluator, problem.space
    stops = np.array(cuts[at + 1 : at + 1 + MOST_AHEAD], np.int64)
    rows = survey(evaluator.table, evaluator.machine_table, cuts[at], stops, space.splits, PIECES)
    if not (rows[:, 1] == stops[0]).any():
        every = space.all(cuts[at])
        rows = np.concatenate((rows, every[every[:, 1] == stops[0]]))
    kept: list[int] = []
    order = np.argsort(rows[:, CHOICE_FIELDS + CYCLES], kind="stable")
    taken: dict[tuple[int, int], int] = {}
    for row in order.tolist():
        key = (int(rows[row, 1]), int(rows[row, 2]))
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= TIMED_EACH or rows[row, PIECES_FIELD] == 1:
            kept.append(row)
    choices = np.ascontiguousarray(rows[kept, :CHOICE_FIELDS])
    return segments(evaluator.table, evaluator.machine, evaluator.machine_table, choices)


def _segment_costs(
    problem: Problem, table: list[Segments], default: tuple[Choice, ...]
) -> Iterator[list[Floats]]:
    """Per variant of the estimate, the (A, 2, 2) costs of every cut's segments."""
    if problem.objective is Objective.OFF_CORE:
        for weight in (0.0, 1e-3):
            yield [s.off_core + weight * s.cycles for s in table]
        return
    scale = problem.evaluator.evaluate(default, Rules())
    shares = {Objective.LATENCY: (0.0,), Objective.ENERGY: (1.0,), Objective.EDP: (0.3, 0.5, 0.7)}
    for share in shares[problem.objective]:
        for excess in EXCESS if share < 1 else (0.0,):
            yield [
                (1 - share) * (s.cycles + excess * np.maximum(0, s.dram_cycles - s.cycles)) / scale.cycles
                + share * s.energy / scale.energy_pj
                for s in table
            ]


def best_path(
    problem: Problem, cuts: list[int], table: list[Segments], costs: list[Floats], room: float
) -> tuple[Choice, ...]:
    """The cheapest chain of segments from the first cut to the last, as choices; empty where there is none."""
    start = np.zeros(len(cuts), np.int64)
    np.cumsum([len(found.choices) for found in table], out=start[1:])
    choices = np.concatenate([found.choices for found in table])
    splits = problem.space.splits
    path = shortest(
        problem.space.border_bytes[cuts],
        start,
        np.searchsorted(cuts, choices[:, 1]),
        choices[:, 2],
        np.searchsorted(splits, choices[:, 2]),
        len(splits),
        np.concatenate(costs),
        np.concatenate([found.kept for found in table]),
        room * problem.evaluator.machine.memories.llb.bytes,
    )
    return tuple(Choice(*choices[a].tolist()) for a in path.tolist())
