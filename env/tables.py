"""Candidate tables: for each first layer the candidates and what each of them would do, as features.

What does not depend on earlier decisions is computed once for each first layer and kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from env.cost_to_go import CostToGo, spill_cycles, with_spill
from env.features import LIMIT, MOST_ACTIONS, C, Floats, shared_buffer_bytes
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.sliced import estimate_of, isolated_of
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CHANNELS, Choice
from scheduling.lowering.tables import Ints
from scheduling.timeline.weight_places import weight_bytes

Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class FrontierTable:
    """Candidates from one first layer: `fixed` (A, F) are the features that no earlier decision changes."""

    choices: tuple[Choice, ...]
    fixed: Floats
    splits: Ints
    isolated: Doubles
    estimated: Doubles
    dma: Doubles
    dram: Doubles
    after: Doubles  # estimated cycles of the layers that follow


@dataclass(frozen=True, slots=True, eq=False)
class Ideals:
    """Cycles of each layer on engines that are never idle, and its weights; prefix sums over layers, (L + 1,)."""

    matrix: Doubles
    vector: Doubles
    busy: Doubles
    weight_bytes: Doubles


class FrontierTables:
    """The candidate tables of a problem, each made when first asked for."""

    def __init__(self, space: CandidateSpace, defaults: Defaults) -> None:
        self.space = space
        self.ideals = ideal_cycles(space)
        self._defaults = defaults
        self._to_go = CostToGo(space)
        self._tables: dict[int, FrontierTable] = {}
        self._features: dict[tuple[int, int], Floats] = {}

    def at(self, first: int) -> FrontierTable:
        """The table of the sub-graphs that start at `first`."""
        known = self._tables.get(first)
        if known is None:
            known = self._tables[first] = self._make(first)
        return known

    def look_ahead(self) -> None:
        """Find the costs to go that the first table needs. May run beside anything else, as `at` may."""
        self._to_go.at(min(1, self.space.layers))

    def features(self, table: FrontierTable, prefix: Sequence[Choice]) -> Floats:
        """(A, F) features of the candidates after these sub-graphs; of those only the last one's split matters. The
        array is kept for the next time: do not write to it."""
        key = table.choices[0].first, prefix[-1].split_batch if prefix else 0
        known = self._features.get(key)
        if known is None:
            known = self._features[key] = self._after(table, prefix)
        return known

    def _after(self, table: FrontierTable, prefix: Sequence[Choice]) -> Floats:
        features = table.fixed.copy()
        machine = self.space.evaluator.machine_table
        first = table.choices[0].first
        entering = float(self.space.border_bytes[first]) if first else 0.0
        previous = prefix[-1].split_batch if prefix else 1
        coarser = np.minimum(table.splits, previous)
        features[:, C["entering_slice_llb"]] = np.log1p(entering / coarser / shared_buffer_bytes(machine))
        spill = self._to_go.spill_cycles(first, previous, table.splits) if prefix else np.zeros(1)
        isolated_cycles = with_spill(table.isolated, table.dma, table.dram, spill)
        estimated = with_spill(table.estimated, table.dma, table.dram, spill)
        if prefix:
            change = np.log2(table.splits / previous) / 4
            features[:, C["split_change"]] = change
            features[:, C["split_same"]] = change == 0
            features[:, C["spill_before"]] = np.log1p(spill / table.isolated)
        for name, cycles in (
            ("regret_isolated", isolated_cycles),
            ("regret_estimated", estimated),
            ("regret_plain", table.isolated),
        ):
            features[:, C[name]] = np.minimum(LIMIT, _regret(cycles + table.after))
        return features

    def instruction_features(self, choices: Sequence[Choice], l1: Doubles, current: Choice) -> Floats:
        """(A, F) features of instruction-order rules of one sub-graph."""
        features = np.zeros((len(choices), len(C)), np.float32)
        features[:, C["exists"]] = 1
        features[:, C["layers"]] = np.log2(current.stop - current.first) / 6
        features[:, C["l1"]] = l1
        features[:, C["is_default"]] = [choice.rule == current.rule for choice in choices]
        _describe(features, np.array(choices, np.float64))
        return features

    def _make(self, first: int) -> FrontierTable:
        choices, figures = self.space.at(first)
        lowered = figures[:, 11] > 0  # zero where the instructions of an instance are too many to be lowered
        if not lowered.all():
            choices = tuple(c for c, good in zip(choices, lowered.tolist(), strict=True) if good)
            figures = figures[lowered]
        default = self._default(first)
        if default not in choices:
            choices, figures = self._added(default, choices, figures)
        choices, figures = choices[:MOST_ACTIONS], figures[:MOST_ACTIONS]
        rows = np.array(choices, np.int64)
        after = self._to_go.after(rows[:, 1], rows[:, 2])
        return FrontierTable(
            choices,
            self._fixed(first, rows, figures, after, choices.index(default)),
            rows[:, 2],
            np.maximum(1.0, figures[:, 11:13].max(axis=1)),
            figures[:, 1].astype(np.float64),
            figures[:, 4].astype(np.float64),
            figures[:, [5, 12]].max(axis=1).astype(np.float64),
            after,
        )

    def _default(self, first: int) -> Choice:
        """The choice that the default completion makes first from this layer on."""
        if first == 0:
            return self._defaults.complete(())[0]
        return self._defaults.complete((Choice(first - 1, first),))[1]

    def _added(
        self, default: Choice, choices: tuple[Choice, ...], figures: Ints
    ) -> tuple[tuple[Choice, ...], Ints]:
        evaluator = self.space.evaluator
        row = np.array([default], np.int64)
        times = isolated_of(evaluator, evaluator.machine_table, row)
        estimated = np.array([estimate_of(evaluator, default)], np.int64)
        mine = np.concatenate((estimated, times), axis=1)
        return (default, *choices), np.concatenate((mine, figures))

    def _fixed(self, first: int, rows: Ints, figures: Ints, after: Doubles, default: int) -> Floats:
        evaluator, ideals = self.space.evaluator, self.ideals
        machine = evaluator.machine_table
        layers = self.space.layers
        stops, splits = rows[:, 1], rows[:, 2]
        dram, iso = figures[:, 5], np.maximum(1.0, figures[:, 11:13].max(axis=1))
        ideal = np.maximum(
            1.0,
            np.maximum(
                ideals.matrix[stops] - ideals.matrix[first], ideals.vector[stops] - ideals.vector[first]
            ),
        )
        busy = ideals.busy[stops] - ideals.busy[first]
        left = max(1.0, ideals.busy[layers] - ideals.busy[first])
        crossing = np.where(stops < layers, self.space.border_bytes[stops], 0).astype(np.float64)
        spill = spill_cycles(machine, crossing, splits)
        buffer = shared_buffer_bytes(machine)
        minimum = self._minima(stops)
        values: dict[str, Doubles | float] = {
            "exists": 1.0,
            "layers": np.log2(stops - first) / 6,
            "work": busy / left,
            "slowdown": np.log(iso / ideal),
            "matrix": figures[:, 2] / iso,
            "vector": figures[:, 3] / iso,
            "dma": figures[:, 4] / iso,
            "dram": np.maximum(dram, figures[:, 12]) / iso,
            "fill": figures[:, 6] / iso,
            "launch": figures[:, 7] / iso,
            "l1": figures[:, 8] / machine.l1_bytes,
            "weights_buffer": np.log1p(figures[:, 9] / machine.weights_bytes),
            "weights_llb": np.log1p(figures[:, 9] / buffer),
            "crossing_llb": np.log1p(crossing / buffer),
            "crossing_slice_llb": np.log1p(crossing / splits / buffer),
            "crossing_least": np.log((crossing + 1e3) / (crossing.min() + 1e3)) / 2,
            "crossing_minimum": minimum,
            "spill": np.log1p(spill / iso),
            "is_last": (stops == layers).astype(np.float64),
            "time_share": iso / (iso + after),
            "pace": np.log(iso / np.maximum(1.0, busy)) - np.log(iso / np.maximum(1.0, busy)).min(),
        }
        fixed = np.zeros((len(rows), len(C)), np.float64)
        for name, value in values.items():
            fixed[:, C[name]] = value
        fixed[default, C["is_default"]] = 1
        _describe(fixed, rows.astype(np.float64))
        return np.clip(fixed, -LIMIT, LIMIT).astype(np.float32)

    def _minima(self, stops: Ints) -> Doubles:
        crossing = self.space.border_bytes
        after = crossing[np.minimum(stops + 1, self.space.layers)]
        return ((crossing[stops] <= crossing[stops - 1]) & (crossing[stops] <= after)).astype(np.float64)


def _describe(features: NDArray[np.floating], rows: Doubles) -> None:
    """Fill in the columns that a Choice itself gives."""
    features[:, C["split"]] = np.log2(rows[:, 2]) / 4
    features[:, C["ways_batch"]] = np.log2(rows[:, 4]) / 4
    features[:, C["ways_channels"]] = np.log2(rows[:, 6]) / 4
    features[:, C["pieces"]] = np.log2(rows[:, 7]) / 4
    features[:, C["channel_pieces"]] = rows[:, 8] == CHANNELS
    features[:, C["rule"]] = np.log2(rows[:, 9]) / 8


def _regret(cost: Doubles) -> Doubles:
    return np.asarray(10 * np.log(cost / cost.min()), np.float64)


def ideal_cycles(space: CandidateSpace) -> Ideals:
    """Ideal cycles of the layers of a network on all cores."""
    evaluator = space.evaluator
    table, machine = evaluator.table, evaluator.machine
    outputs = table.input_count + np.arange(space.layers)
    elements = table.tensor_channels * table.tensor_rows * table.tensor_columns
    made = elements[outputs].astype(np.float64) * table.batch
    matrix = made * table.reduction * table.taps * table.is_matrix / machine.peak_macs_per_cycle
    vector = made * table.passes / machine.vector.lanes
    weights = [weight_bytes(table, layer, machine.element_bytes) for layer in range(space.layers)]
    return Ideals(
        _prefix_sums(matrix / machine.cores),
        _prefix_sums(vector / machine.cores),
        _prefix_sums(np.maximum(matrix, vector) / machine.cores),
        _prefix_sums(np.array(weights, np.float64)),
    )


def _prefix_sums(values: Doubles) -> Doubles:
    return np.concatenate((np.zeros(1), np.cumsum(values)))
