"""`dp`: the best contiguous cuts by dynamic programming over an additive segment estimate.

A segment costs its isolated time for the places of its borders (`scheduling.strategies.segments`), and a share of the
DRAM time by which its traffic exceeds that; whether a border stays in the last-level buffer (LLB) follows from the
splits along the way (`scheduling.strategies.shortest`). Where the default rule then places a border elsewhere, that
is noted, and the chain found again. What the estimate cannot know is varied: that share, and how much of the LLB
borders may fill. Every chain is simulated with several rules for order, prefetch and weights, and the best is kept; the
default completion is among what is compared. No more schedules than the budget are simulated.

Cuts are tried at every layer of a small network, else where the fewest bytes cross (local minima).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise

import numpy as np

from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import PIECES, survey
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.lowering.tables import Ints
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.moves import State
from scheduling.strategies.options import CYCLES, simulated_cost
from scheduling.strategies.segments import Floats, Segments, segments
from scheduling.strategies.shortest import shortest
from scheduling.timeline.arrangement import WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST

PIECES_FIELD = Choice._fields.index("pieces")

SMALL = 40
"""Networks of at most so many layers may be cut everywhere."""

MOST_AHEAD = 24
"""Cuts ahead at which a sub-graph may end."""

TIMED_EACH = 2
"""Choices timed for each run of layers and split: those with the best estimates, and the one in whole layers."""

MANY_CUTS = 64
"""With more cuts than this, only the choice with the best estimate is timed for each run of layers."""

HOPELESS = 2
"""Choices whose estimate is so many times the best one's for the same run of layers are not timed."""

EXCESS = (0.0, 1.0)
"""Shares of a segment's DRAM time beyond its isolated time that are charged to it."""

ROOM = (0.7, 0.85, 1.0, 1.25)
"""Shares of the LLB that borders may fill."""

LOOKS = 6
"""Chains found for one variant, each with what was seen of the ones before."""

RULES = (
    Rules(),
    Rules(prefetch=2),
    Rules(prefetch=3),
    Rules(order=BREADTH_FIRST),
    Rules(prefetch=0),
    Rules(weights=WEIGHTS_RELOADED, prefetch=0),
)
"""Each chain is simulated with all of these."""


Offered = Callable[[Problem, list[int], int], Segments]
"""Choices for sub-graphs of a problem that start at a cut, by the cuts and its place among them, with their figures."""


def dp(problem: Problem) -> State:
    """Best cuts for several estimates; the one that simulates best."""
    state = Defaults(problem.space).complete(()), Rules()
    return best_chain(problem, state, cut_points, candidates)


def best_chain(
    problem: Problem, state: State, cuts_of: Callable[[Problem], list[int]], offered: Offered
) -> State:
    """The best by simulation of a schedule and of the cheapest chains of what is offered between these cuts, by several
    estimates."""
    best, best_rules = state
    least = simulated_cost(problem, best, best_rules)
    simulated = set()
    tried = (
        1 if problem.objective is Objective.OFF_CORE else 2
    )  # the given one once more, for the scale of the costs
    if problem.budget <= tried:
        return best, best_rules
    cuts = cuts_of(problem)
    table = [offered(problem, cuts, at) for at in range(len(cuts) - 1)]
    chains = Chains(problem, cuts, table)
    for cost in _segment_costs(problem, table, best):
        for room in ROOM:
            seen = chains.nothing_seen()
            for _ in range(LOOKS):
                choices = chains.cheapest(cost, room, seen)
                if not choices or choices in simulated:
                    break
                simulated.add(choices)
                chains.look(choices, seen)
                for rules in RULES[: max(0, problem.budget - tried)]:
                    tried += 1
                    found = simulated_cost(problem, choices, rules)
                    if found < least:
                        best, best_rules, least = choices, rules, found
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


def candidates(problem: Problem, cuts: list[int], at: int) -> Segments:
    """What `dp` offers: candidates with good estimates."""
    evaluator, space = problem.evaluator, problem.space
    stops = np.array(cuts[at + 1 : at + 1 + MOST_AHEAD], np.int64)
    rows = survey(evaluator.table, evaluator.machine_table, cuts[at], stops, space.splits, PIECES)
    if not (rows[:, 1] == stops[0]).any():
        every = space.all(cuts[at])
        rows = np.concatenate((rows, every[every[:, 1] == stops[0]]))
    kept: list[int] = []
    least: dict[int, int] = {}
    order = np.argsort(rows[:, CHOICE_FIELDS + CYCLES], kind="stable")
    taken: dict[tuple[int, int], int] = {}
    many = len(cuts) > MANY_CUTS
    for row in order.tolist():
        key = (int(rows[row, 1]), int(rows[row, 2]))
        cycles = int(rows[row, CHOICE_FIELDS + CYCLES])
        if cycles > HOPELESS * least.setdefault(key[0], cycles) or (many and (key[0], 0) in taken):
            continue
        taken[key[0], 0] = 1
        taken[key] = taken.get(key, 0) + 1
        if taken[key] <= TIMED_EACH or rows[row, PIECES_FIELD] == 1:
            kept.append(row)
    choices = np.ascontiguousarray(rows[kept, :CHOICE_FIELDS])
    return segments(evaluator.table, evaluator.machine, evaluator.machine_table, choices)


def _segment_costs(problem: Problem, table: list[Segments], default: tuple[Choice, ...]) -> Iterator[Floats]:
    """Per variant of the estimate, the (A, 2, 2) costs of all segments."""
    cycles = np.concatenate([found.cycles for found in table])
    if problem.objective is Objective.OFF_CORE:
        for weight in (0.0, 1e-3):
            yield np.concatenate([found.off_core for found in table]) + weight * cycles
        return
    energy = np.concatenate([found.energy for found in table])
    beyond = np.maximum(0, np.concatenate([found.dram_cycles for found in table]) - cycles)
    scale = problem.evaluator.evaluate(default, Rules())
    shares = {Objective.LATENCY: (0.0,), Objective.ENERGY: (1.0,), Objective.EDP: (0.3, 0.5, 0.7)}
    for share in shares[problem.objective]:
        for excess in EXCESS if share < 1 else (0.0,):
            yield (1 - share) * (cycles + excess * beyond) / scale.cycles + share * energy / scale.energy_pj


class Chains:
    """Segments between the cuts of a network, and the cheapest chains of them."""

    def __init__(self, problem: Problem, cuts: list[int], table: list[Segments]) -> None:
        self._problem = problem
        self._cuts = cuts
        self._start = np.zeros(len(cuts), np.int64)
        np.cumsum([len(found.choices) for found in table], out=self._start[1:])
        self._choices = np.concatenate([found.choices for found in table])
        self._kept = np.concatenate([found.kept for found in table])
        self._splits = problem.space.splits

    def cheapest(self, cost: Floats, room: float, seen: Ints) -> tuple[Choice, ...]:
        """The cheapest chain from the first layer to the last; empty where there is none."""
        choices, splits = self._choices, self._splits
        path = shortest(
            self._problem.space.border_bytes[self._cuts],
            self._start,
            np.searchsorted(self._cuts, choices[:, 1]),
            choices[:, 2],
            np.searchsorted(splits, choices[:, 2]),
            len(splits),
            cost,
            self._kept,
            room * self._problem.evaluator.machine_table.llb_bytes,
            seen,
        )
        return tuple(Choice(*choices[a].tolist()) for a in path.tolist())

    def nothing_seen(self) -> Ints:
        """For `cheapest`: where borders go is not known yet."""
        return np.full((len(self._cuts), len(self._splits), len(self._splits)), -1, np.int64)

    def look(self, choices: tuple[Choice, ...], seen: Ints) -> None:
        """Write into `seen` where the borders of a schedule go by the default rule."""
        evaluator = self._problem.evaluator
        in_llb = evaluator.arrange(choices, Rules()).in_llb
        made, used = evaluator.table.producer, evaluator.table.last_use
        for one, two in pairwise(choices):
            crossing = (made < two.first) & (used >= two.first) & (made >= 0)
            before, after = np.searchsorted(self._splits, (one.split_batch, two.split_batch))
            seen[self._cuts.index(two.first), before, after] = 0 if in_llb[crossing].all() else 1
