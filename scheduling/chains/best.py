"""The best chain: dynamic programming over an additive segment estimate, and simulation of what it finds.

A segment costs its isolated time for the places of its borders (`scheduling.chains.segments`), and a share of the
DRAM time by which its traffic exceeds that; whether a border stays in the last-level buffer (LLB) follows from the
splits along the way (`scheduling.chains.shortest`). Where the default rule then places a border elsewhere, that
is noted, and the chain found again. What the estimate cannot know is varied: that share, and how much of the LLB
borders may fill. Every chain is simulated with several rules for order, prefetch and weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice, pairwise

import numpy as np

from scheduling.chains.segments import Floats, Segments
from scheduling.chains.shortest import shortest
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation
from scheduling.lowering.tables import Ints
from scheduling.objective import Objective
from scheduling.problem import Problem, State, simulated_cost
from scheduling.rules import Rules
from scheduling.timeline.arrangement import WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST

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


def best_chain(
    problem: Problem, state: State, cuts_of: Callable[[Problem], list[int]], offered: Offered
) -> State:
    """The best by simulation of a schedule and of the cheapest chains of what is offered between these cuts, by several
    estimates."""
    best, least = state, simulated_cost(problem, *state)
    others = problem.budget - 2  # the given one, and once more for the scale of the costs
    if others <= 0:
        return best
    scale = problem.evaluator.evaluate(*state)
    for found in islice(schedules_of(problem, cuts_of, offered, scale), others):
        cost = simulated_cost(problem, *found)
        if cost < least:
            best, least = found, cost
    return best


def schedules_of(
    problem: Problem, cuts_of: Callable[[Problem], list[int]], offered: Offered, scale: Evaluation
) -> Iterator[State]:
    """As `chain_schedules`, between these cuts and of what is offered there, which is timed when the first is asked
    for."""
    cuts = cuts_of(problem)
    table = [offered(problem, cuts, at) for at in range(len(cuts) - 1)]
    yield from chain_schedules(problem, cuts, table, scale)


def chain_schedules(
    problem: Problem, cuts: list[int], table: list[Segments], scale: Evaluation
) -> Iterator[State]:
    """The cheapest chains of what there is for each cut, by one estimate after the other; each with all RULES. `scale`
    is any schedule's evaluation, for objectives that weigh cycles against energy."""
    met = set()
    chains = Chains(problem, cuts, table)
    for cost in segment_costs(problem.objective, table, scale):
        for room in ROOM:
            seen = chains.nothing_seen()
            for _ in range(LOOKS):
                choices = chains.cheapest(cost, room, seen)
                if not choices or choices in met:
                    break
                met.add(choices)
                chains.look(choices, seen)
                for rules in RULES:
                    yield choices, rules


def segment_costs(objective: Objective, table: list[Segments], scale: Evaluation) -> Iterator[Floats]:
    """Per variant of the estimate, the (A, 2, 2) costs of all segments, relative to those of a whole schedule."""
    cycles = np.concatenate([found.cycles for found in table])
    if objective is Objective.OFF_CORE:
        for weight in (0.0, 1e-3):
            yield np.concatenate([found.off_core for found in table]) + weight * cycles
        return
    energy = np.concatenate([found.energy for found in table])
    beyond = np.maximum(0, np.concatenate([found.dram_cycles for found in table]) - cycles)
    shares = {Objective.LATENCY: (0.0,), Objective.ENERGY: (1.0,), Objective.EDP: (0.3, 0.5, 0.7)}
    for share in shares[objective]:
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
