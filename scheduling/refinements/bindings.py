"""`bindings`: some layers of the sub-graphs have bindings of their own where that pays.

A convolutional network has large maps first and many channels last: rows are shared well by the cores there, output
channels here. One binding for a whole sub-graph suits one end of it, and a cut between the two costs a kernel and a
round trip through shared memory. With a binding of their own (`Choice.own_runs`) the layers behind the border get what
they read from the other cores.

Three kinds of change, each kept where the whole schedule then simulates cheaper. A sub-graph, the slowest one first:
every pair of bindings before and behind a border, and every run of layers inside with every other binding; those with
the best estimates are timed in isolation, the fastest of them simulated. Then two sub-graphs that follow one another,
on as many cores and in as many slices of the batch: one kernel, in which the layers of the second keep their binding.
Then, in the sub-graphs that have several bindings by now, every run of layers that are bound alike with every other
binding, as long as that pays.

Inferred: all of it; no published strategy was followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from scheduling.candidates.configurations import legal_choices, times
from scheduling.candidates.estimate import Estimate
from scheduling.choice import COLUMNS, MOST_OWN, RECOMPUTE, Choice, OwnRun
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem, State, simulated_cost
from scheduling.refinements.subgraphs import slowest_first, with_cheapest

TIMED = 400
"""Forms of a sub-graph that are timed in isolation: those with the best estimates, which rank them coarsely: all
thousands of forms timed gave schedules no better than these, a quarter of them up to 2 % worse ones."""

TRIED = 2
"""Changes of a sub-graph that are simulated in the whole schedule: the fastest in isolation."""

MOST_RUNS = 12
"""Layers of a sub-graph up to which runs inside it are tried; of longer ones only borders. The longest run that is
bound otherwise where there are several bindings already."""

CYCLES = Estimate._fields.index("cycles")

Ways = tuple[int, int, int]
"""Over the batch, over the rows (or columns) and over the output channels."""


def with_bindings(problem: Problem, state: State, apart: bool = True) -> State:
    """A schedule with bindings of their own for layers where they pay, or (not `apart`) with other bindings of whole
    sub-graphs; at most the budget is simulated."""
    evaluator = problem.evaluator
    batch, last = evaluator.network.batch, evaluator.evaluations + problem.budget
    choices, rules = state
    best = simulated_cost(problem, choices, rules)
    for at, cycles in slowest_first(evaluator, choices):
        if evaluator.evaluations < last:
            forms = _fastest(evaluator, (two_bindings if apart else one_binding)(choices[at], batch), cycles)
            choices, best = with_cheapest(problem, last, (choices, rules), best, at, 1, forms)
    at = 0
    while apart and rules.packing is None and at + 1 < len(choices) and evaluator.evaluations < last:
        joined = _joined(evaluator, choices[at], choices[at + 1])
        if joined is not None:
            choices, best = with_cheapest(problem, last, (choices, rules), best, at, 2, [joined])
        at += 1
    at = 0
    while apart and at < len(choices) and evaluator.evaluations < last:
        choice, before = choices[at], best
        if choice.several_bindings and choice.slices == 1 and choice.axis != COLUMNS:
            cycles = int(times(evaluator, np.array([choice], np.int64))[0])
            forms = _fastest(evaluator, further_bindings(choice, batch), cycles)
            choices, best = with_cheapest(problem, last, (choices, rules), best, at, 1, forms)
        if best == before:  # else there may be more to gain in the same sub-graph
            at += 1
    return choices, rules


def _fastest(evaluator: Evaluator, tried: Iterator[Choice], cycles: int) -> list[Choice]:
    """Those forms of a sub-graph that in isolation take less than `cycles`, the fastest first."""
    forms = list(tried)
    if not forms:
        return []
    found = legal_choices(evaluator, np.array(forms, np.int64))
    if not len(found.choices):
        return []
    promising = np.argsort(found.estimates[:, CYCLES], kind="stable")[:TIMED]
    legal = np.ascontiguousarray(found.choices[promising])
    took = times(evaluator, legal)
    order = [a for a in np.argsort(took, kind="stable").tolist() if took[a] < cycles]
    return [Choice(*legal[a].tolist()) for a in order[:TRIED]]


def two_bindings(choice: Choice, batch: int) -> Iterator[Choice]:
    """Ways to bind layers of a sub-graph apart over its cores, legal or not."""
    first, stop = choice.first, choice.stop
    if stop - first < 2 or choice.halo != RECOMPUTE:
        return
    mine = (choice.ways_batch, choice.ways_rows, choice.ways_channels)
    every = [ways for ways in bindings(choice.cores) if choice.split_batch * ways[0] <= batch]
    for border in range(first + 1, stop):
        for one in every:
            for other in every:
                if one != other:
                    yield _bound(choice, one, border, stop, other)
    if stop - first > MOST_RUNS:
        return
    for begin in range(first + 1, stop):
        for end in range(begin + 1, stop):  # those from the beginning and those to the end are above
            for other in every:
                if other != mine:
                    yield _bound(choice, mine, begin, end, other)


def further_bindings(choice: Choice, batch: int) -> Iterator[Choice]:
    """Ways to bind a run of layers otherwise that were bound alike, in a sub-graph with bindings of layers, legal or
    not."""
    mine = (choice.ways_batch, choice.ways_rows, choice.ways_channels)
    every = [ways for ways in bindings(choice.cores) if choice.split_batch * ways[0] <= batch]
    ways_of = [mine] * (choice.stop - choice.first)
    for run in choice.own_runs:
        ways_of[run.first - choice.first : run.stop - choice.first] = [run[2:]] * (run.stop - run.first)
    for begin in range(len(ways_of)):
        for end in range(begin + 1, min(len(ways_of), begin + MOST_RUNS) + 1):
            if ways_of[end - 1] != ways_of[begin]:
                break
            for other in every:
                if other != ways_of[begin]:
                    apart = [*ways_of[:begin], *[other] * (end - begin), *ways_of[end:]]
                    runs = _runs(choice.first, mine, apart)
                    if len(runs) <= MOST_OWN:
                        yield choice.with_own_runs(runs)


def _runs(first: int, mine: Ways, ways_of: Sequence[Ways]) -> list[OwnRun]:
    """Runs of layers, from `first` on bound by `ways_of` each, that are bound otherwise than by `mine`."""
    runs, layer = [], first
    for ways, alike in groupby(ways_of):
        stop = layer + len(list(alike))
        if ways != mine:
            runs.append(OwnRun(layer, stop, *ways))
        layer = stop
    return runs


def one_binding(choice: Choice, batch: int) -> Iterator[Choice]:
    """Other ways to bind a whole sub-graph over its cores, legal or not."""
    for ways in bindings(choice.cores):
        if choice.split_batch * ways[0] <= batch:
            yield choice._replace(**_named("ways", ways))


def bindings(cores: int) -> list[Ways]:
    """All ways over exactly so many cores."""
    divisors = [d for d in range(1, cores + 1) if cores % d == 0]
    return [(b, r, cores // (b * r)) for b in divisors for r in divisors if cores % (b * r) == 0]


def _bound(choice: Choice, ways: Ways, begin: int, stop: int, own: Ways) -> Choice:
    return choice._replace(**_named("ways", ways)).with_own_runs([OwnRun(begin, stop, *own)])


def _named(prefix: str, ways: Ways) -> dict[str, int]:
    """Ways as fields of a Choice."""
    return dict(zip((f"{prefix}_batch", f"{prefix}_rows", f"{prefix}_channels"), ways, strict=True))


def _joined(evaluator: Evaluator, one: Choice, other: Choice) -> Choice | None:
    """Two sub-graphs that follow one another as one kernel with both bindings; None where that cannot be."""
    same = (one.split_batch, one.slices, one.cores, one.axis == COLUMNS) == (
        *(other.split_batch, other.slices, other.cores),
        other.axis == COLUMNS,
    )
    if not same or one.several_bindings or other.several_bindings or one.slices > 1 or one.keep_weights:
        return None
    mine = (one.ways_batch, one.ways_rows, one.ways_channels)
    its = (other.ways_batch, other.ways_rows, other.ways_channels)
    if mine == its:  # what `dp` can have by itself
        return None
    joined = _bound(one._replace(stop=other.stop), mine, other.first, other.stop, its)
    forms = [joined, joined._replace(pieces=other.pieces, axis=other.axis, rule=other.rule)]
    legal = legal_choices(evaluator, np.array(forms, np.int64)).choices
    if not len(legal):
        return None
    return Choice(*legal[int(times(evaluator, legal).argmin())].tolist())
