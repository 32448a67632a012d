"""Evaluator: simulates schedules of one network on one machine, keeping every template that it lowered.

This is what strategies, the environment and the command line ask for a cost; there is no second cost model that a
result is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph.network import Network
from hwmodel.counts import Counts
from hwmodel.energy import energy_pj
from hwmodel.machine import Machine
from scheduling.arrangement import (
    DEPTH_FIRST,
    SCOPE_DEFAULT,
    WEIGHTS_RESIDENT,
    Arrangement,
    arrange,
    order_instances,
)
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering import LEGAL, N_DRAM_READ, N_LLB_WRITE, Lowered, check_axes, lower
from scheduling.reasons import explain
from scheduling.simulation import ARENA_COLUMNS, Times, simulate_steps, timing_rows
from scheduling.tables import Ints, network_table


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that decide what the choices of the sub-graphs leave open."""

    order: int = DEPTH_FIRST
    scopes: int = SCOPE_DEFAULT
    weights: int = WEIGHTS_RESIDENT
    prefetch: int = 1


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Cost of a simulated schedule: cycles of one cluster, and what it counts."""

    cycles: int
    energy_pj: float
    counts: Counts
    kernels: int

    @property
    def off_core_bytes(self) -> int:
        """DRAM and LLB bytes."""
        return self.counts.off_core_bytes


@dataclass(frozen=True, slots=True)
class Template:
    """A lowered instance in the arena, and its local tensors."""

    lowered: Lowered
    offset: int
    length: int


class Evaluator:
    """Costs of schedules of `network` on `machine`; counts how many it simulated in `evaluations`."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self.network = network
        self.machine = machine
        self.table = network_table(network, machine)
        self.machine_table = machine.table()
        self.evaluations = 0
        self._templates: dict[bytes, Template] = {}
        self._arena = np.empty((4096, ARENA_COLUMNS), np.int64)
        self._used = 0
        self._borders: dict[tuple[int, int], tuple[Ints, Ints]] = {}
        self._simulated: dict[tuple[object, ...], Evaluation] = {}

    def arrange(self, choices: Sequence[Choice], rules: Rules) -> Arrangement:
        """Order, scopes and resident weights of these sub-graphs by `rules`."""
        array = np.array(choices, np.int64)
        subgraph, instance, start = order_instances(self.table, array, rules.order)
        return arrange(
            self.table,
            self.machine_table,
            array,
            subgraph,
            instance,
            start,
            rules.scopes,
            rules.weights,
            rules.prefetch,
        )

    def evaluate(self, choices: Sequence[Choice], rules: Rules = Rules()) -> Evaluation:
        """Simulate the schedule of these sub-graphs (they cover all layers in order).

        Raises IllegalSchedule where a sub-graph does not fit.
        """
        key = (*choices, rules)
        known = self._simulated.get(key)
        self.evaluations += 1
        if known is None:
            _, known = self.simulate(choices, self.arrange(choices, rules))
            if len(self._simulated) > 20_000:
                self._simulated.clear()
            self._simulated[key] = known
        return known

    def simulate(
        self, choices: Sequence[Choice], plan: Arrangement, *, record: bool = False
    ) -> tuple[Times, Evaluation]:
        """Time the steps of an arrangement; with `record`, every instruction's start and finish."""
        templates = self.templates(choices, plan)
        offset = np.array([t.offset for t in templates], np.int64)
        length = np.array([t.length for t in templates], np.int64)
        local = [t.lowered.geometry.tensor for t in templates]
        local_start = np.zeros(len(local), np.int64)
        np.cumsum([len(a) for a in local[:-1]], out=local_start[1:])
        times = simulate_steps(
            self.table,
            self.machine_table,
            np.array(choices, np.int64),
            plan,
            self._arena,
            offset,
            length,
            local_start,
            np.concatenate(local),
            np.array([t.lowered.geometry.entries for t in templates], np.int64),
            record,
        )
        sums = np.sum([t.lowered.counts for t in templates], axis=0)
        sums[[N_DRAM_READ, N_LLB_WRITE]] += staged_bytes(self, plan)
        counts = Counts(*sums.tolist())
        evaluation = Evaluation(int(times.makespan), energy_pj(counts, self.machine), counts, len(templates))
        return times, evaluation

    def templates(self, choices: Sequence[Choice], plan: Arrangement) -> list[Template]:
        """The template of every step."""
        found: dict[tuple[int, int, int], Template] = {}
        result = []
        uniform = [self._uniform(choice, plan) for choice in choices]
        for s, number in zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True):
            choice = choices[s]
            ib, ir = divmod(number, choice.split_rows)
            place = (s, 0 if uniform[s] else ib, ir)
            template = found.get(place)
            if template is None:
                template = found[place] = self.template(choice, place[1], ir, plan)
            result.append(template)
        return result

    def template(self, choice: Choice, batch_part: int, row_part: int, plan: Arrangement) -> Template:
        """Lower an instance, or find it. Raises IllegalSchedule with the reason."""
        entries, exits = self.borders(choice.first, choice.stop)
        key = np.concatenate(
            (
                np.array(choice, np.int64),
                np.array((batch_part, row_part), np.int64),
                plan.in_llb[entries],
                plan.source_batch[entries],
                plan.source_rows[entries],
                plan.in_llb[exits],
                plan.staged[choice.first : choice.stop],
            )
        ).tobytes()
        known = self._templates.get(key)
        if known is not None:
            return known
        lowered = self.lower(choice, batch_part, row_part, plan)
        length = lowered.rows.shape[0]
        if self._used + length > self._arena.shape[0]:
            grown = np.empty((2 * (self._used + length), ARENA_COLUMNS), np.int64)
            grown[: self._used] = self._arena[: self._used]
            self._arena = grown
        self._arena[self._used : self._used + length] = timing_rows(lowered.rows)
        template = Template(lowered, self._used, length)
        self._used += length
        self._templates[key] = template
        return template

    def lower(self, choice: Choice, batch_part: int, row_part: int, plan: Arrangement) -> Lowered:
        """Lower an instance without keeping it. Raises IllegalSchedule with the reason."""
        status, layer, short = check_axes(self.table, choice)
        if status == LEGAL:
            lowered = lower(
                self.table,
                self.machine_table,
                choice,
                batch_part,
                row_part,
                plan.in_llb,
                plan.source_batch,
                plan.source_rows,
                plan.staged,
            )
            if lowered.status == LEGAL:
                return lowered
            status, layer, short = lowered.status, lowered.layer, lowered.short_bytes
        raise IllegalSchedule(
            explain(self.network, self.machine, choice, int(status), int(layer), int(short))
        )

    def borders(self, first: int, stop: int) -> tuple[Ints, Ints]:
        """(entry tensors, tensors that leave) of layers [first, stop)."""
        known = self._borders.get((first, stop))
        if known is None:
            table = self.table
            reads = table.edge_tensor[table.edge_start[first] : table.edge_start[stop]]
            made = table.producer[reads]
            entries = np.unique(reads[(made < first) | (made >= stop)])
            outputs = np.arange(first, stop) + table.input_count
            known = self._borders[first, stop] = (entries, outputs[table.last_use[outputs] >= stop])
        return known

    def _uniform(self, choice: Choice, plan: Arrangement) -> bool:
        """Whether all batch slices of a sub-graph look alike to lowering: same size, same sources."""
        batch = self.network.batch
        if batch % choice.split_batch:
            return False
        mine = batch // choice.split_batch
        for parts in plan.source_batch[self.borders(choice.first, choice.stop)[0]].tolist():
            other = batch // parts
            if batch % parts or (mine % other and other % mine):
                return False
        return True


def staged_bytes(evaluator: Evaluator, plan: Arrangement) -> int:
    """Bytes of weights that the system DMA copies into the LLB."""
    table = evaluator.table
    outputs = table.tensor_channels[table.input_count + np.arange(len(table.is_matrix))]
    weights = outputs * (table.reduction * table.taps * table.is_matrix + table.parameters)
    return int(weights[plan.copy_layer].sum()) * evaluator.machine.element_bytes
