"""`bindings`: some layers of the sub-graphs have bindings of their own where that pays.

A convolutional network has large maps first and many channels last: rows are shared well by the cores there, output
channels here. One binding for a whole sub-graph suits one end of it, and a cut between the two costs a kernel and a
round trip through shared memory. With a binding of their own (`Choice.own_runs`) the layers behind the border get what
they read from the other cores.

Three kinds of change, each kept where the whole schedule then simulates cheaper. A sub-graph, the slowest one first:
every pair of bindings before and behind a border, and every run of layers inside with every other binding; those with
the best estimates are timed in isolation, the fastest of them simulated. Then two sub-graphs that follow one another,
on as many cores and in as many slices of the batch: one kernel, in which all layers keep their bindings. Then, in the
sub-graphs that have several bindings by now, every run of layers that are bound alike with every other binding, as
long as that pays. The last two in turn until neither pays: a sub-graph bound anew may be worth joining.

All bindings are over as many cores as the sub-graph had. Layers on fewer of them can be asked for, and did not gain
enough where they were among the forms (docs/strategies.md).

Inferred: all of it; no published strategy was followed.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from math import inf, prod

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
    kept: set[tuple[Choice, ...]] = set()
    before = inf
    while apart and best < before and evaluator.evaluations < last:
        before = best
        if rules.packing is None:
            choices, best = _joined(problem, last, (choices, rules), best, kept)
        choices, best = _bound_further(problem, last, (choices, rules), best, kept)
    return choices, rules


def _joined(
    problem: Problem, last: int, state: State, best: float, kept: set[tuple[Choice, ...]]
) -> tuple[tuple[Choice, ...], float]:
    """The sub-graphs after each two that follow one another were tried as one, front to back, but for those in `kept`,
    where all that do not pay are noted; and the cost."""
    choices, rules = state
    at = 0
    while at + 1 < len(choices) and problem.evaluator.evaluations < last:
        pair, before = choices[at : at + 2], best
        one = None if pair in kept else joined(problem.evaluator, *pair)
        if one is not None:
            choices, best = with_cheapest(problem, last, (choices, rules), best, at, 2, [one])
        if best == before:
            kept.add(pair)
        at += 1
    return choices, best


def _bound_further(
    problem: Problem, last: int, state: State, best: float, kept: set[tuple[Choice, ...]]
) -> tuple[tuple[Choice, ...], float]:
    """The sub-graphs after runs of layers were bound otherwise in those with several bindings, as long as that pays,
    but for those in `kept`, where all in which it does not are noted; and the cost."""
    evaluator = problem.evaluator
    choices, rules = state
    at = 0
    while at < len(choices) and evaluator.evaluations < last:
        choice, before = choices[at], best
        may_gain = (choice,) not in kept and choice.several_bindings
        if may_gain and choice.slices == 1 and choice.axis != COLUMNS:
            cycles = int(times(evaluator, np.array([choice], np.int64))[0])
            forms = _fastest(evaluator, further_bindings(choice, evaluator.network.batch), cycles)
            choices, best = with_cheapest(problem, last, (choices, rules), best, at, 1, forms)
        if best == before:  # else there may be more to gain in the same sub-graph
            kept.add((choice,))
            at += 1
    return choices, best


def _fastest(evaluator: Evaluator, tried: Iterator[Choice], cycles: int) -> list[Choice]:
    """The form of a sub-graph that is fastest in isolation; none where none takes less than `cycles`. The second
    fastest won a thousandth once in ten networks, and budgets end before all sub-graphs of large ones were tried."""
    forms = list(tried)
    if not forms:
        return []
    found = legal_choices(evaluator, np.array(forms, np.int64))
    if not len(found.choices):
        return []
    promising = np.argsort(found.estimates[:, CYCLES], kind="stable")[:TIMED]
    legal = np.ascontiguousarray(found.choices[promising])
    took = times(evaluator, legal)
    fastest = int(took.argmin())
    return [Choice(*legal[fastest].tolist())] if took[fastest] < cycles else []


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
    every = [ways for ways in bindings(choice.cores) if choice.split_batch * ways[0] <= batch]
    ways_of = ways_of_layers(choice)
    for begin in range(len(ways_of)):
        for end in range(begin + 1, min(len(ways_of), begin + MOST_RUNS) + 1):
            if ways_of[end - 1] != ways_of[begin]:
                break
            for other in every:
                if other != ways_of[begin]:
                    apart = [*ways_of[:begin], *[other] * (end - begin), *ways_of[end:]]
                    if (form := bound_by(choice, apart)) is not None:
                        yield form


def ways_of_layers(choice: Choice) -> list[Ways]:
    """By which ways each layer of a sub-graph is bound."""
    found = [(choice.ways_batch, choice.ways_rows, choice.ways_channels)] * (choice.stop - choice.first)
    for run in choice.own_runs:
        found[run.first - choice.first : run.stop - choice.first] = [run[2:]] * (run.stop - run.first)
    return found


def bound_by(choice: Choice, ways_of: Sequence[Ways]) -> Choice | None:
    """The sub-graph with each layer bound by `ways_of`, those of them as the sub-graph's binding with which the fewest
    runs of layers have one of their own; None where these are still more than a Choice holds."""
    whole = [ways for ways in dict.fromkeys(ways_of) if prod(ways) == choice.cores]
    if not whole:
        whole = [(choice.ways_batch, choice.ways_rows, choice.ways_channels)]
    mine, runs = min(
        ((ways, _runs(choice.first, ways, ways_of)) for ways in whole), key=lambda found: len(found[1])
    )
    return choice._replace(**_named("ways", mine)).with_own_runs(runs) if len(runs) <= MOST_OWN else None


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


def joined(evaluator: Evaluator, one: Choice, other: Choice) -> Choice | None:
    """Two sub-graphs that follow one another as one kernel with all their bindings; None where that cannot be."""
    if (one.split_batch, one.slices, one.cores) != (other.split_batch, 1, other.cores) or one.keep_weights:
        return None
    ways_of = [*ways_of_layers(one), *ways_of_layers(other)]
    if len(set(ways_of)) == 1:  # what `dp` can have by itself
        return None
    both = bound_by(one._replace(stop=other.stop), ways_of)
    if both is None:
        return None
    forms = [both, both._replace(pieces=other.pieces, axis=other.axis, rule=other.rule)]
    legal = legal_choices(evaluator, np.array(forms, np.int64)).choices
    if not len(legal):
        return None
    return Choice(*legal[int(times(evaluator, legal).argmin())].tolist())
