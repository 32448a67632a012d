"""Candidates: the macro decisions that all strategies and the environment choose from.

A candidate says where the sub-graph that starts at a layer ends, its split of the batch and its pieces; its binding
follows by rule. All are legal: what does not fit is left out here, so no strategy has to ask.
"""

from __future__ import annotations

import numpy as np

from hwmodel.borrowing import borrowed
from hwmodel.compiled import compiled
from hwmodel.machines.machine_table import MachineTable
from scheduling.candidates.estimate import ESTIMATE_FIELDS, estimate
from scheduling.candidates.sliced import isolated_of
from scheduling.candidates.smallest import smallest
from scheduling.choice import CHANNELS, CHOICE_FIELDS, RECOMPUTE, ROWS, RULE_SCALE, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.lowering.tiling import LEGAL, SHORT_L1

PIECES = np.array([(ROWS, 1, 0), (ROWS, 4, 0), (ROWS, 8, 3), (ROWS, 14, 2), (CHANNELS, 4, 0)], np.int64)
"""(axis, pieces, pieces in flight) that are tried for every sub-graph. The instruction order lets about so many
pieces be in flight at a time (0: as many as there are layers), which is what bounds the rows that are live."""

NEAR_STOPS = 6
"""Ends that are offered whatever crosses them; further on only those where a local minimum of bytes crosses."""

MOST_CANDIDATES = 96
MOST_STOPS = 32
MOST_LAYERS = 128
"""Longest sub-graph that is offered."""

SPLITS_EACH = 2
"""Of the splits that fit an end with given pieces, as many as this are offered, the smallest first."""

GIVE_UP_AFTER = 4
"""Stops in a row that do not fit after which a split with given pieces is not tried for longer sub-graphs."""


MANY_CORES = 16
"""With more cores than this, all ways to share rows and channels among them are tried, not only the two ends."""


@compiled
def bindings(cores: int) -> Ints:
    """(row ways, channel ways, cores) of the ways to spread an image over cores, in groups that are tried together.

    First all cores; then, for where none of these is legal, fewer. Up to MANY_CORES that is: rows alone and channels
    alone; then pairs of cores share rows and the pairs channels; then half or a quarter of the cores share channels.
    With more cores: every product of row and channel ways that is the number of cores; then that is a divisor of it,
    the largest first.
    """
    found = np.empty((cores * 8, 3), np.int64)
    count = 0
    if cores <= MANY_CORES:
        for variant in range(5):
            row_ways, channel_ways = 1, cores
            if variant == 0:
                row_ways, channel_ways = cores, 1
            elif variant == 2:
                row_ways, channel_ways = 2, cores // 2
            elif variant > 2:
                channel_ways = cores >> (variant - 2)
            if (variant == 1 and cores == 1) or (variant > 1 and channel_ways < 2):
                continue
            found[count, 0], found[count, 1] = row_ways, channel_ways
            found[count, 2] = cores if variant < 2 else -variant
            count += 1
        return found[:count]
    for total in range(cores, 0, -1):
        if cores % total:
            continue
        for channel_ways in range(1, total + 1):
            if total % channel_ways == 0:
                found[count, 0], found[count, 1], found[count, 2] = total // channel_ways, channel_ways, total
                count += 1
    return found[:count]


def survey(
    net: NetworkTable,
    m: MachineTable,
    first: int,
    stops: Ints,
    splits: Ints,
    pieces: Ints,
    splits_each: int = SPLITS_EACH,
) -> Ints:
    """Legal (stop, split, pieces) from layer `first` on, stops ascending: rows of Choice, then Estimate. For each
    stop and pieces the first `splits_each` splits that fit.

    The binding rule: batch ways are the most images that divide the cores; the cores that are left share rows and
    output channels as `bindings` lists it, in the way of its first group with a legal one that is estimated fastest.
    """
    found: Ints = _survey(net, m, first, stops, splits, pieces, splits_each)
    return found


@compiled
def _survey(
    net: NetworkTable,
    m: MachineTable,
    first: int,
    stops: Ints,
    splits: Ints,
    pieces: Ints,
    splits_each: int,
) -> Ints:
    """As `survey`; a default would make numba compile it once with and once without."""
    net = borrowed(net)
    width = CHOICE_FIELDS
    found = np.empty((stops.shape[0] * splits.shape[0] * pieces.shape[0], width + ESTIMATE_FIELDS), np.int64)
    count = 0
    legal_splits = np.zeros((pieces.shape[0], stops.shape[0]), np.int64)
    for i in range(splits.shape[0]):
        images = net.batch // splits[i]
        batch_ways = min(images, m.cores)
        while m.cores % batch_ways:
            batch_ways -= 1
        spread = bindings(m.cores // batch_ways)
        # 1: with all rows in one piece L1 is too small
        short_l1 = np.zeros((stops.shape[0], spread.shape[0]), np.int64)
        for k in range(pieces.shape[0]):
            whole = pieces[k, 0] == CHANNELS or pieces[k, 1] == 1
            failures = 0
            for at in range(stops.shape[0]):
                stop = stops[at]
                if legal_splits[k, at] >= splits_each:
                    continue
                best = 0
                for variant in range(spread.shape[0]):
                    row_ways, channel_ways = spread[variant, 0], spread[variant, 1]
                    if best > 0 and spread[variant, 2] != spread[variant - 1, 2]:
                        break
                    if whole and short_l1[at, variant]:
                        continue
                    flight = pieces[k, 2]
                    rule = (
                        RULE_SCALE
                        if flight == 0
                        else max(RULE_SCALE, RULE_SCALE * (stop - first + 2) // flight)
                    )
                    choice = Choice(
                        first, stop, splits[i], 1, batch_ways,
                        row_ways, channel_ways,
                        pieces[k, 1], pieces[k, 0], rule, 1, 1, RECOMPUTE, 0, 1, 0, 0, 0, 0, 0,
                    )  # fmt: skip
                    e = estimate(net, m, choice)
                    if whole and e.status == SHORT_L1:
                        short_l1[at, variant] = 1
                    if e.status != LEGAL or (best > 0 and e.cycles >= best):
                        continue
                    best = e.cycles
                    for column in range(width):
                        found[count, column] = choice[column]
                    for column in range(ESTIMATE_FIELDS):
                        found[count, width + column] = e[column]
                if best > 0:
                    count += 1
                    legal_splits[k, at] += 1
                    failures = 0
                else:
                    failures += 1
                    if failures >= GIVE_UP_AFTER:
                        break
    return found[:count]


class CandidateSpace:
    """Candidates of a network on a machine, per first layer, surveyed once each."""

    def __init__(self, evaluator: Evaluator) -> None:
        self.evaluator = evaluator
        self.layers = len(evaluator.network.layers)
        batch = evaluator.network.batch
        self.splits = np.array([f for f in range(1, batch + 1) if batch % f == 0], np.int64)
        self._surveys: dict[int, Ints] = {}
        self._kept: dict[int, tuple[tuple[Choice, ...], Ints]] = {}
        self._between: dict[tuple[int, int], tuple[tuple[Choice, ...], Ints]] = {}
        self.border_bytes = _crossing_bytes(evaluator)

    def all(self, first: int) -> Ints:
        """All legal candidates from layer `first` on, a row each: Choice fields, then Estimate fields."""
        known = self._surveys.get(first)
        if known is None:
            table, machine = self.evaluator.table, self.evaluator.machine_table
            known = survey(table, machine, first, self.stops(first), self.splits, PIECES)
            if not (known[:, 1] == first + 1).any():
                choice, figures = smallest(self.evaluator, first)
                known = np.concatenate((np.array([[*choice, *figures]], np.int64), known))
            self._surveys[first] = known
        return known

    def smallest_split(self, first: int, stop: int) -> Choice | None:
        """The smallest split of the batch that fits layers [first, stop) whole; where none does, in row pieces (the
        fewest that fit); None where nothing fits."""
        table, machine = self.evaluator.table, self.evaluator.machine_table
        end = np.array([stop], np.int64)
        for k in range(len(PIECES)):
            rows = survey(table, machine, first, end, self.splits, PIECES[k : k + 1], 1)
            if len(rows):
                return Choice(*rows[0, :CHOICE_FIELDS].tolist())
        return None

    def stops(self, first: int) -> Ints:
        """Ends that a sub-graph starting at `first` may have: near ones, local minima of crossing bytes, the last."""
        last = min(self.layers, first + MOST_LAYERS)
        crossing = self.border_bytes
        return np.array(
            [
                stop
                for stop in range(first + 1, last + 1)
                if stop <= first + NEAR_STOPS
                or stop == self.layers
                or (crossing[stop] <= crossing[stop - 1] and crossing[stop] <= crossing[stop + 1])
            ],
            np.int64,
        )

    def at(self, first: int) -> tuple[tuple[Choice, ...], Ints]:
        """At most MOST_CANDIDATES candidates and their figures (A, 13): Estimate fields, then
        isolated template cycles and DRAM cycles (scheduling.timeline.isolated).

        Kept: the MOST_STOPS ends that the fewest bytes cross (the last layer, the next one among them); for each
        end, the best estimates, one per split before a second of any split. The default's choice is not treated
        specially here: the environment adds it where it is missing.
        """
        known = self._kept.get(first)
        if known is None:
            rows = self.all(first)
            rows = rows[self._survivors(first, rows)]
            known = self._kept[first] = self._with_times(rows)
        return known

    def between(self, first: int, stop: int) -> tuple[tuple[Choice, ...], Ints]:
        """All candidates for layers [first, stop), and their figures (A, 13) as of `at`; none where nothing fits."""
        known = self._between.get((first, stop))
        if known is None:
            table, machine = self.evaluator.table, self.evaluator.machine_table
            rows = survey(table, machine, first, np.array([stop], np.int64), self.splits, PIECES)
            if not len(rows) and stop == first + 1:
                rows = self.all(first)
                rows = rows[rows[:, 1] == stop]
            known = self._between[first, stop] = self._with_times(rows)
        return known

    def _with_times(self, rows: Ints) -> tuple[tuple[Choice, ...], Ints]:
        choices = tuple(Choice(*row) for row in rows[:, :CHOICE_FIELDS].tolist())
        array = np.ascontiguousarray(rows[:, :CHOICE_FIELDS])  # code is compiled for each memory layout
        times = isolated_of(self.evaluator, self.evaluator.machine_table, array)
        return choices, np.concatenate((rows[:, CHOICE_FIELDS:], times), axis=1)

    def _survivors(self, first: int, rows: Ints) -> Ints:
        stops = np.unique(rows[:, 1])
        if len(stops) > MOST_STOPS:
            crossing = self.border_bytes[stops].astype(np.float64)
            crossing[(stops == first + 1) | (stops == self.layers)] = -1.0
            stops = stops[np.argsort(crossing, kind="stable")[:MOST_STOPS]]
        quota = max(1, MOST_CANDIDATES // len(stops))
        # Per end, by estimated cycles: the first of each split, then the others.
        leaders: dict[int, list[int]] = {stop: [] for stop in stops.tolist()}
        others: dict[int, list[int]] = {stop: [] for stop in leaders}
        split_seen: set[tuple[int, int]] = set()
        places = rows[:, 1:3].tolist()
        for index in np.argsort(rows[:, CHOICE_FIELDS + 1], kind="stable").tolist():
            stop, split = places[index]
            if stop not in leaders:
                continue
            if (stop, split) in split_seen:
                others[stop].append(index)
            else:
                split_seen.add((stop, split))
                leaders[stop].append(index)
        kept = [index for stop in leaders for index in (leaders[stop] + others[stop])[:quota]]
        return np.array(sorted(kept), np.int64)


def _crossing_bytes(evaluator: Evaluator) -> Ints:
    """(L + 1,) activation bytes, whole batch, that are made by a layer before l and used from l on; at 0 the graph
    inputs. What no layer makes lies in DRAM anyway, whoever reads it."""
    table = evaluator.table
    layers = len(table.is_matrix)
    crossing = np.zeros(layers + 1, np.int64)
    sizes = table.tensor_channels * table.tensor_rows * table.tensor_columns * table.batch
    for tensor, size in enumerate((sizes * (1 - table.tensor_constant)).tolist()):
        made = int(table.producer[tensor])
        used = min(int(table.last_use[tensor]), layers - 1) if made >= 0 else 0
        crossing[made + 1 : used + 1] += size * evaluator.machine.element_bytes
    return crossing
