"""`dp`: the best contiguous cuts by dynamic programming over an additive segment estimate.

State: the cut reached, the split of the sub-graph that ends there, and whether what crosses is in the last-level
buffer (LLB) or in DRAM. In depth-first order a border between splits a and b holds 1 / min(a, b) of what crosses, so
the pair of splits decides whether it fits. A segment costs its isolated time for those places of its borders
(`scheduling.strategies.segments`), and a share of the DRAM time by which its traffic exceeds that. What the estimate
cannot know is varied: that share, and how much of the LLB borders may fill; each variant's cuts are simulated in
both orders, with weights prefetched one and two kernels ahead, and the best is kept.

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
from scheduling.strategies.segments import IN_DRAM, IN_LLB, Floats, Segments, segments

SMALL = 40
"""Networks of at most so many layers may be cut everywhere."""

MOST_AHEAD = 24
"""Cuts ahead at which a sub-graph may end."""

TIMED_EACH = 4
"""Choices timed for each run of layers: those with the best estimates, one per split first."""

EXCESS = (0.0, 0.5, 1.0)
"""Shares of a segment's DRAM time beyond its isolated time that are charged to it."""

ROOM = (0.5, 1.0)
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
            if choices is None or choices in seen:
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
    for stop in np.unique(rows[:, 1]):
        mine = np.flatnonzero(rows[:, 1] == stop)
        mine = mine[np.argsort(rows[mine, CHOICE_FIELDS + CYCLES], kind="stable")]
        _, leads = np.unique(rows[mine, 2], return_index=True)
        others = np.setdiff1d(np.arange(len(mine)), leads)
        kept += mine[np.concatenate((np.sort(leads), others))[:TIMED_EACH]].tolist()
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
) -> tuple[Choice, ...] | None:
    """The cheapest chain of segments from the first cut to the last; None where there is none."""
    splits = problem.space.splits
    capacity = room * problem.evaluator.machine.memories.llb.bytes
    crossing = problem.space.border_bytes
    position = {cut: at for at, cut in enumerate(cuts)}
    least = np.full((len(cuts), len(splits), 2), np.inf)
    least[0, :, IN_DRAM] = 0.0
    origin: dict[tuple[int, int, int], tuple[int, int, int, int]] = {}
    for at, (found, cost) in enumerate(zip(table, costs, strict=True)):
        mine = least[at]
        if not np.isfinite(mine).any():
            continue
        split = found.choices[:, 2]
        shared = np.minimum(splits[:, None], split[None, :])  # (S, A)
        free = capacity - found.kept
        fits = crossing[cuts[at]] / shared <= free[None, :]
        from_llb = np.where(fits, mine[:, IN_LLB, None], np.inf)
        from_dram = np.broadcast_to(mine[:, IN_DRAM, None], from_llb.shape)
        ways = np.stack((from_llb, from_dram))  # (2, S, A)
        source = ways.argmin(axis=1)  # (2, A)
        base = ways.min(axis=1)
        total = base.T[:, :, None] + cost  # (A, 2 entries, 2 exits)
        entry = total.argmin(axis=1)  # (A, 2)
        total = total.min(axis=1)
        stops = found.choices[:, 1]
        total[crossing[stops] / split > free, IN_LLB] = np.inf
        for a in range(len(split)):
            to, s = position[int(stops[a])], int(np.searchsorted(splits, split[a]))
            for place in (IN_LLB, IN_DRAM):
                if total[a, place] < least[to, s, place]:
                    least[to, s, place] = total[a, place]
                    e = int(entry[a, place])
                    origin[to, s, place] = (at, int(source[e, a]), e, a)
    last = least[-1]
    if not np.isfinite(last).any():
        return None
    end = divmod(int(last.argmin()), 2)
    state = (len(cuts) - 1, *end)
    path: list[Choice] = []
    while state[0] > 0:
        at, before, entered, a = origin[state]
        path.append(Choice(*table[at].choices[a].tolist()))
        state = (at, before, entered)
    return tuple(reversed(path))
