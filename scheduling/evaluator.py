"""Evaluator: simulates schedules of one network on one machine, keeping every template that it lowered.

This is what strategies, the environment and the command line ask for a cost; there is no second cost model that a
result is judged by.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from hwmodel.timing.counts import NO_INNER, Counts, InnerCounts
from hwmodel.timing.energy import energy_pj
from scheduling.choice import CHOICE_FIELDS, COLUMNS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.legality.orders import check_order
from scheduling.legality.packings import check_steps
from scheduling.lowering import Lowered, lower
from scheduling.lowering.frames import Frame, turned_choice, turned_network
from scheduling.lowering.inner_counts import count_inner
from scheduling.lowering.planning import check_axes, check_streams_columns
from scheduling.lowering.reasons import explain
from scheduling.lowering.rows import N_DRAM_READ, N_DRAM_WRITE, N_LLB_READ, N_LLB_WRITE
from scheduling.lowering.shapes import alike_columns, alike_rows
from scheduling.lowering.tables import Ints, NetworkTable, network_table
from scheduling.lowering.tiling import LEGAL
from scheduling.timeline.arrangement import (
    DEPTH_FIRST,
    SCOPE_DEFAULT,
    SCOPE_SHORTENED,
    WEIGHTS_RESIDENT,
    Arrangement,
    arrange,
    layer_weight_bytes,
    order_instances,
)
from scheduling.timeline.capacity import check_dram
from scheduling.timeline.concurrency import simulate_packed
from scheduling.timeline.consumer_scopes import (
    Lives,
    Order,
    Stays,
    TensorRead,
    place_stays,
    stays_of,
    taken_by,
    with_stays,
)
from scheduling.timeline.isolated import supposed_scopes
from scheduling.timeline.packing import AS_BARRIERS, Packing, nothing_packed, packed_order
from scheduling.timeline.residence import Residence
from scheduling.timeline.reuse import Overwritten, overwritten
from scheduling.timeline.shortened import shortened_stays
from scheduling.timeline.simulation import ARENA_COLUMNS, StepPlan, Times, simulate_steps, timing_rows
from scheduling.timeline.system_copies import CopiedThings, CopyPlan, SystemCopies, system_copies
from scheduling.timeline.tensor_moves import no_moves

COUNTS = len(Counts._fields)

_MANY_ALIKE = 16
"""From so many instances for each sub-graph on, templates are found for kinds of instances, not for each."""


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules that decide what the choices of the sub-graphs leave open, and the tensors (by number) that go to DRAM
    though the LLB may have room for them. `reads` are those of layers that find a tensor elsewhere than the reader
    before: such tensors move, and get their places first. A `packing` names all steps, and then stands in place of
    `order`; it needs a machine that runs kernels concurrently."""

    order: int = DEPTH_FIRST
    scopes: int = SCOPE_DEFAULT
    weights: int = WEIGHTS_RESIDENT
    prefetch: int = 1
    spilled: tuple[int, ...] = ()
    packing: Packing | None = None
    reads: tuple[TensorRead, ...] = ()


@dataclass(frozen=True, slots=True)
class Evaluation:
    """Cost of a simulated schedule: cycles of one cluster, and what it counts."""

    cycles: int
    energy_pj: float
    counts: Counts
    kernels: int
    inner: InnerCounts = NO_INNER

    @property
    def off_core_bytes(self) -> int:
        """DRAM and LLB bytes."""
        return self.counts.off_core_bytes


@dataclass(frozen=True, slots=True)
class Template:
    """A lowered instance; `index` is its place in the store. It is that of row slice `row_part` and column slice
    `column_part` of its frame; slices that look alike share it."""

    lowered: Lowered
    index: int
    row_part: int = 0
    column_part: int = 0


class TemplateStore:
    """Templates side by side in arrays that grow, so that compiled code gets a schedule as an array of indices."""

    def __init__(self, inner: int) -> None:
        """`inner` is the number of inner memories of the machine."""
        self.count = 0
        self.inner = np.empty((256, 2 * inner + 1 if inner else 0), np.int64)
        self.arena = np.empty((4096, ARENA_COLUMNS), np.int64)
        self.local = np.empty(1024, np.int64)
        self.counts = np.empty((256, COUNTS), np.int64)
        # Per template: first row in the arena, rows, first local tensor, entries.
        self.places = np.empty((256, 4), np.int64)
        self.rows = 0
        self._locals = 0

    def add(self, lowered: Lowered, row_part: int, column_part: int) -> Template:
        """Keep a lowered instance."""
        rows, local, index = lowered.rows, lowered.geometry.tensor, self.count
        self.arena = _grown(self.arena, self.rows + len(rows))
        self.local = _grown(self.local, self._locals + len(local))
        self.counts = _grown(self.counts, index + 1)
        self.places = _grown(self.places, index + 1)
        timing_rows(rows, self.arena[self.rows : self.rows + len(rows)])
        self.local[self._locals : self._locals + len(local)] = local
        self.inner = _grown(self.inner, index + 1)
        self.counts[index] = lowered.counts
        self.inner[index] = lowered.inner
        self.places[index] = (self.rows, len(rows), self._locals, lowered.geometry.entries)
        self.count += 1
        self.rows += len(rows)
        self._locals += len(local)
        return Template(lowered, index, row_part, column_part)

    def retime(self, index: int, rows: Ints) -> None:
        """Time template `index` from now on by these rows: its own, in any order."""
        first, count, *_ = self.places[index]
        timing_rows(rows, self.arena[first : first + count])


def _grown(array: Ints, need: int) -> Ints:
    if need <= len(array):
        return array
    larger = np.empty((2 * need, *array.shape[1:]), np.int64)
    larger[: len(array)] = array
    return larger


class Border(NamedTuple):
    """Tensors that enter and leave a run of layers, and functions that pick their values from a sequence."""

    entries: Ints
    exits: Ints
    pick_entries: Callable[[Sequence[int]], tuple[int, ...]]
    pick_all: Callable[[Sequence[int]], tuple[int, ...]]


class PlanLists(NamedTuple):
    """What lowering depends on of an arrangement, as sequences that are quick to slice."""

    in_llb: bytes
    staged: bytes
    source_batch: list[int]
    source_rows: list[int]


class Evaluator:
    """Costs of schedules of `network` on `machine`; counts how many it simulated in `evaluations`.

    An evaluator of the same layers in another order that is made `beside` another one goes on with its count. With
    `periodic`, steps that repeat are jumped over (scheduling.timeline.periods), which changes no result. Raises
    IllegalSchedule where the network does not fit the machine's DRAM.
    """

    def __init__(self, network: Network, machine: Machine, beside: Evaluator | None = None) -> None:
        check_dram(network, machine)
        self.network = network
        self.machine = machine
        self.table = network_table(network, machine)
        self.weight_bytes = layer_weight_bytes(self.table, machine.element_bytes)
        self.machine_table = machine.table()
        table = self.table
        row_bytes = table.tensor_columns * table.tensor_channels * machine.element_bytes
        self._copied_things = CopiedThings(
            table.producer, table.batch, table.tensor_rows, row_bytes, self.weight_bytes
        )
        self._count: list[int] = [0] if beside is None else beside._count
        self._templates: dict[tuple[object, ...], Template] = {}
        self._only: dict[tuple[object, ...], Template | None] = {}
        self._checked: set[Choice] = set()
        self.level_table = machine.level_table
        self._store = self.new_store()
        self._borders: dict[tuple[int, int], Border] = {}
        self._simulated: dict[tuple[object, ...], Evaluation] = {}
        self._turned: tuple[Network, NetworkTable] | None = None
        self._alike: dict[Choice, tuple[list[int], list[int]]] = {}
        self._alike_instances: dict[tuple[Choice, bool], Ints] = {}
        self.periodic = True

    def frame(self, choice: Choice) -> Frame:
        """A choice as it is lowered: of the turned network where it streams along columns."""
        if choice.axis != COLUMNS:
            return Frame(self.network, self.table, choice, False)
        if self._turned is None:
            network = turned_network(self.network)
            self._turned = (network, network_table(network, self.machine, turned=True))
        return Frame(*self._turned, turned_choice(choice), True)

    @property
    def evaluations(self) -> int:
        """Schedules simulated by now."""
        return self._count[0]

    def trim(self, most_rows: int) -> None:
        """Forget all templates and costs if the templates have more than this many instructions, to save memory."""
        if self._store.rows > most_rows:
            self._templates.clear()
            self._only.clear()
            self._checked.clear()
            self._simulated.clear()
            self._alike.clear()
            self._alike_instances.clear()
            self._store = self.new_store()

    def new_store(self) -> TemplateStore:
        """An empty store for templates of this machine."""
        return TemplateStore(0 if self.level_table is None else self.level_table.inner)

    def arrange(self, choices: Sequence[Choice], rules: Rules) -> Arrangement:
        """Order, scopes and resident weights of these sub-graphs by `rules`.

        Raises IllegalSchedule where a packing does not name every instance once, producers first, on the machine's
        cores.
        """
        array = _rows(choices)
        subgraph, instance, start = order_instances(self.table, array, rules.order)
        packed = nothing_packed()
        if rules.packing is not None:
            named = [placed for step in rules.packing.steps for placed in step.instances]
            check_order(self.table, choices, [(placed.subgraph, placed.instance) for placed in named])
            check_steps(rules.packing.steps, choices, self.machine)
            subgraph = np.array([placed.subgraph for placed in named], np.int64)
            instance = np.array([placed.instance for placed in named], np.int64)
            if rules.packing.concurrent:
                packed = packed_order(rules.packing.steps, rules.packing.merge)
        spilled = np.zeros(len(self.table.producer), np.int64)
        spilled[list(rules.spilled)] = 1
        taken = np.empty((0, 4), np.int64)
        stays, addresses = Stays([], []), list[int]()
        lives = None
        if rules.reads or rules.scopes == SCOPE_SHORTENED:
            if self.machine.system_dma is None:
                raise IllegalSchedule(
                    f"the rules ask for copies of tensors between DRAM and the LLB, expected none where the machine "
                    f"({self.machine.name}) has no system DMA"
                )
            when = packed.when.tolist() if len(packed.when) else range(len(subgraph))
            lives = Lives(self.table, choices, Order(subgraph.tolist(), instance.tolist(), when))
        if lives is not None and rules.reads:
            spilled[[read.tensor for read in rules.reads]] = 1
            stays = stays_of(lives, rules.reads, rules.spilled)
            sizes = [lives.slice_elements(*stay[:2]) * self.machine.element_bytes for stay in stays.stays]
            addresses = place_stays(sizes, stays.stays, self.machine_table.llb_bytes)
            taken = taken_by(stays, addresses, sizes)
        plan, items = arrange(
            self.table,
            self.machine_table,
            array,
            subgraph,
            instance,
            start,
            rules.scopes,
            rules.weights,
            rules.prefetch,
            packed,
            spilled,
            taken,
        )
        if lives is not None and rules.scopes == SCOPE_SHORTENED:
            more, places = shortened_stays(
                self.table,
                lives,
                plan,
                items,
                np.flatnonzero(spilled).tolist(),
                self.machine_table.llb_bytes,
                self.machine.element_bytes,
            )
            stays, addresses = Stays(stays.stays + more.stays, stays.leaves + more.leaves), addresses + places
        return with_stays(choices, plan, self.table, stays, addresses)

    def supposed_plan(self) -> Arrangement:
        """Places for an instance by itself: what other kernels make or read whole in the LLB where there is one, all
        else in DRAM; with no steps."""
        tensors, layers = len(self.network.tensors), len(self.network.layers)
        nothing, ones = np.empty(0, np.int64), np.ones(tensors, np.int64)
        return Arrangement(
            nothing,
            nothing,
            supposed_scopes(self.table, self.machine_table),
            ones,
            ones,
            np.zeros(tensors + 1, np.int64),
            nothing,
            np.zeros(layers, np.int64),
            np.full(layers, -1, np.int64),
            np.full(layers, -1, np.int64),
            nothing,
            nothing,
            nothing,
            nothing,
            nothing,
            nothing_packed(),
            no_moves(),
        )

    def evaluate(self, choices: Sequence[Choice], rules: Rules = Rules()) -> Evaluation:
        """Simulate the schedule of these sub-graphs (they cover all layers in order).

        Raises IllegalSchedule where a sub-graph does not fit.
        """
        key = (*choices, rules)
        known = self._simulated.get(key)
        self._count[0] += 1
        if known is None:
            _, known = self.simulate(choices, self.arrange(choices, rules))
            if len(self._simulated) > 20_000:
                self._simulated.clear()
            self._simulated[key] = known
        return known

    def simulate(self, choices: Sequence[Choice], plan: Arrangement) -> tuple[Times, Evaluation]:
        """Time the steps of an arrangement."""
        index = self._template_indices(choices, plan)
        store = self._store
        places = store.places[index]
        array = _rows(choices)
        copies = self.system_copies(choices, plan)
        reuse = self.overwritten(choices, plan, copies)
        if len(plan.packed.step):
            times = self._simulate_packed(array, plan, places, reuse, copies)
        else:
            steps = StepPlan(*(getattr(plan, name) for name in StepPlan._fields))
            times = simulate_steps(
                self.table.producer, self.table.batch, self.machine_table, array, steps, store.arena, store.local,
                places, copies, *_ragged(reuse.copies), self.periodic,
            )  # fmt: skip
        sums = store.counts[index].sum(axis=0)
        sizes, out = copies.size_bytes, copies.to_dram[copies.job] == 1
        burst = self.machine_table.dram_burst
        crossing = -(-sizes // burst) * burst
        sums[[N_DRAM_READ, N_LLB_WRITE]] += crossing[~out].sum(), sizes[~out].sum()
        sums[[N_DRAM_WRITE, N_LLB_READ]] += crossing[out].sum(), sizes[out].sum()
        counts = Counts(*sums.tolist())
        inner = self.inner_counts(store.inner[index].sum(axis=0).tolist())
        energy = energy_pj(counts, self.machine, inner)
        return times, Evaluation(int(times.makespan), energy, counts, len(index), inner)

    def system_copies(self, choices: Sequence[Choice], plan: Arrangement) -> SystemCopies:
        """What the system DMA copies in an arrangement."""
        return system_copies(
            self._copied_things, _rows(choices), CopyPlan(*(getattr(plan, name) for name in CopyPlan._fields))
        )

    def overwritten(self, choices: Sequence[Choice], plan: Arrangement, copies: SystemCopies) -> Overwritten:
        """What instances wait for before they write to the LLB, where no queue orders them anyway: instances on other
        cores, and moves to DRAM."""
        if not (len(plan.packed.step) or len(plan.moves.when)):
            return Overwritten([], [()] * len(plan.subgraph))
        cores = core_counts(choices, plan)
        return overwritten(
            self.table, self.machine.element_bytes, choices, plan, cores, self.weight_bytes, copies
        )

    def inner_counts(self, sums: Sequence[int]) -> InnerCounts:
        """What `Lowered.inner` of several instances, added up, says."""
        if not sums:
            return NO_INNER
        count = len(sums) // 2
        return InnerCounts(tuple(sums[:count]), tuple(sums[count : 2 * count]), sums[2 * count])

    def _simulate_packed(
        self,
        choices: Ints,
        plan: Arrangement,
        places: Ints,
        reuse: Overwritten,
        copies: SystemCopies,
    ) -> Times:
        """Times of packed steps, with the templates at `places` in the store. Raises IllegalSchedule where an instance
        waits for what never comes."""
        store = self._store
        row, rows, local, entries = np.ascontiguousarray(places.T)
        users, freed = _ragged(reuse.instances), _ragged(reuse.copies)
        cores = choices[plan.subgraph, 4:7].prod(axis=1)

        def run(barrier: Ints, follow: Ints) -> tuple[Times, Ints]:
            changed = plan._replace(packed=plan.packed._replace(barrier=barrier))
            return simulate_packed(
                self.table, self.machine_table, self.machine.barrier_cycles, choices, changed, cores, store.arena,
                row, rows, local, store.local, entries, *users, *freed, copies, follow,
            )  # fmt: skip

        follow = np.empty(0, np.int64)
        if plan.packed.as_barriers == AS_BARRIERS:
            follow = run(np.ones_like(plan.packed.barrier), follow)[1]
        times = run(plan.packed.barrier, follow)[0]
        if times.makespan < 0:
            raise IllegalSchedule("the instances of a packed step wait for each other")
        return times

    def _template_indices(self, choices: Sequence[Choice], plan: Arrangement) -> Ints:
        """(N,) the template of every instance, by its place in the store."""
        count = len(plan.subgraph)
        if count < _MANY_ALIKE * len(choices) or len(plan.moves.when):
            return np.array([template.index for template in self.templates(choices, plan)], np.int64)
        lists, found = _lists(plan), np.empty(count, np.int64)
        for s, choice in enumerate(choices):
            mine = np.flatnonzero(plan.subgraph == s)
            batch_part, part = np.divmod(plan.instance[mine], choice.slices)
            if self._uniform(choice, lists):
                batch_part[:] = 0
            place = batch_part * choice.slices + self._alike_parts(choice, lists)[part]
            kinds, kind = np.unique(place, return_inverse=True)
            known = [
                self._template(choice, k // choice.slices, k % choice.slices, plan, lists).index
                for k in kinds.tolist()
            ]
            found[mine] = np.array(known, np.int64)[kind]
        return found

    def _alike_parts(self, choice: Choice, lists: PlanLists) -> Ints:
        """(slices,) for each instance of a slice of the batch the first one that shares its template."""
        by_rows = max(self._border(choice.first, choice.stop).pick_all(lists.source_rows)) > 1
        known = self._alike_instances.get((choice, by_rows))
        if known is None:
            rows, columns = self.alike(choice)
            parts = [self.frame_parts(choice, part) for part in range(choice.slices)]
            shapes = [
                (row if by_rows else rows[row], columns[column], choice.keep_weights == 1 and part > 0)
                for part, (row, column) in enumerate(parts)
            ]
            first: dict[tuple[int, int, bool], int] = {}
            for part, shape in enumerate(shapes):
                first.setdefault(shape, part)
            known = self._alike_instances[choice, by_rows] = np.array(
                [first[shape] for shape in shapes], np.int64
            )
        return known

    def templates(self, choices: Sequence[Choice], plan: Arrangement) -> list[Template]:
        """The template of every instance, in order."""
        lists = _lists(plan)
        moved = Residence(self.table, choices, plan) if len(plan.moves.when) else None
        if moved is None:
            alone = [self._only_template(choice, plan, lists) for choice in choices]
            if None not in alone:
                return [cast(Template, alone[s]) for s in plan.subgraph.tolist()]
        found: dict[tuple[int, int, int], Template] = {}
        result = []
        uniform = [self._uniform(choice, lists) for choice in choices]
        for k, (s, number) in enumerate(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True)):
            choice = choices[s]
            ib, part = divmod(number, choice.slices)
            seen = plan if moved is None else self.seen(choice, k, plan, moved)
            if seen is not plan:
                own = _lists(seen)
                common = self._uniform(choice, own)
                result.append(self._template(choice, 0 if common else ib, part, seen, own))
                continue
            place = (s, 0 if uniform[s] else ib, part)
            template = found.get(place)
            if template is None:
                template = found[place] = self._template(choice, place[1], part, plan, lists)
            result.append(template)
        return result

    def seen(self, choice: Choice, instance: int, plan: Arrangement, moved: Residence) -> Arrangement:
        """An arrangement as an instance (by its place in the order) finds it: with the tensors that it reads where
        moves took them."""
        entries = self.borders(choice.first, choice.stop)[0].tolist()
        tensors = [tensor for tensor in entries if tensor in moved.moved]
        if not tensors:
            return plan
        in_llb, source_batch = plan.in_llb.copy(), plan.source_batch.copy()
        source_rows = plan.source_rows.copy()
        for tensor in tensors:
            in_llb[tensor], source_batch[tensor], source_rows[tensor] = moved.place(instance, tensor)
        return plan._replace(in_llb=in_llb, source_batch=source_batch, source_rows=source_rows)

    def _only_template(self, choice: Choice, plan: Arrangement, lists: PlanLists) -> Template | None:
        """The template that all instances of a sub-graph share; None where they may be of several kinds."""
        border = self._border(choice.first, choice.stop)
        seen = (
            choice,
            border.pick_all(lists.in_llb),
            border.pick_entries(lists.source_batch),
            border.pick_all(lists.source_rows),
            lists.staged[choice.first : choice.stop],
        )
        if seen not in self._only:
            alike = choice.slices == 1 and self._uniform(choice, lists)
            self._only[seen] = self._template(choice, 0, 0, plan, lists) if alike else None
        return self._only[seen]

    def template(self, choice: Choice, batch_part: int, part: int, plan: Arrangement) -> Template:
        """Lower an instance, or find it; `part` counts the instances of a slice of the batch. Raises IllegalSchedule
        with the reason."""
        return self._template(choice, batch_part, part, plan, _lists(plan))

    def frame_parts(self, choice: Choice, part: int) -> tuple[int, int]:
        """(row slice, column slice) in its frame of an instance, counted within a slice of the batch."""
        row, column = divmod(part, choice.split_columns)
        return (column, row) if choice.axis == COLUMNS else (row, column)

    def _template(
        self, choice: Choice, batch_part: int, part: int, plan: Arrangement, lists: PlanLists
    ) -> Template:
        border = self._border(choice.first, choice.stop)
        source_rows = border.pick_all(lists.source_rows)
        row_part, column_part = 0, 0
        if choice.slices > 1:
            row_part, column_part = self.frame_parts(choice, part)
            rows, columns = self.alike(choice)
            column_part = columns[column_part]
            if max(source_rows) == 1:  # with slices of whole rows elsewhere it matters which rows these are
                row_part = rows[row_part]
        kept = choice.keep_weights == 1 and part > 0
        key = (
            choice,
            batch_part,
            row_part,
            column_part,
            kept,
            border.pick_all(lists.in_llb),
            self._sources(choice, border.pick_entries(lists.source_batch)),
            source_rows,
            lists.staged[choice.first : choice.stop],
        )
        known = self._templates.get(key)
        if known is None:
            lowered = self.lower(choice, batch_part, row_part, column_part, kept, plan)
            known = self._templates[key] = self._store.add(lowered, row_part, column_part)
        return known

    def alike(self, choice: Choice) -> tuple[list[int], list[int]]:
        """For the row and column slices of a choice in its frame, the first ones that look like them."""
        known = self._alike.get(choice)
        if known is None:
            self.check(choice)
            frame = self.frame(choice)
            rows, columns = alike_rows(frame.table, frame.choice), alike_columns(frame.table, frame.choice)
            known = self._alike[choice] = (rows.tolist(), columns.tolist())
        return known

    def check(self, choice: Choice) -> None:
        """Raise IllegalSchedule where a choice's axes and ways cannot be, whatever fits."""
        if choice in self._checked:
            return
        frame = self.frame(choice)
        if frame.turned:
            self._explain(choice, check_streams_columns(self.table, choice))
        self._explain(choice, check_axes(frame.table, frame.choice))
        self._checked.add(choice)

    def lower(
        self, choice: Choice, batch_part: int, row_part: int, column_part: int, kept: bool, plan: Arrangement
    ) -> Lowered:
        """Lower an instance (its row and column slice in its frame) without keeping it; `kept`: it finds all weights in
        the buffer. Raises IllegalSchedule with the reason."""
        self.check(choice)
        frame = self.frame(choice)
        lowered = lower(
            frame.table,
            self.machine_table,
            frame.choice,
            batch_part,
            row_part,
            column_part,
            kept,
            plan.in_llb,
            plan.source_batch,
            plan.source_rows,
            plan.staged,
        )
        self._explain(choice, (lowered.status, lowered.layer, lowered.short_bytes))
        levels = self.level_table
        if levels is None:
            return lowered
        inner = count_inner(frame.table, self.machine_table, levels, frame.choice, batch_part, lowered)
        return lowered._replace(inner=inner)

    def _explain(self, choice: Choice, found: tuple[int, int, int]) -> None:
        status, layer, short = found
        if status != LEGAL:
            raise IllegalSchedule(
                explain(self.network, self.machine, choice, int(status), int(layer), int(short))
            )

    def borders(self, first: int, stop: int) -> tuple[Ints, Ints]:
        """(entry tensors, tensors that leave) of layers [first, stop)."""
        border = self._border(first, stop)
        return border.entries, border.exits

    def _border(self, first: int, stop: int) -> Border:
        known = self._borders.get((first, stop))
        if known is None:
            table = self.table
            reads = table.edge_tensor[table.edge_start[first] : table.edge_start[stop]]
            made = table.producer[reads]
            entries = np.unique(reads[(made < first) | (made >= stop)])
            outputs = np.arange(first, stop) + table.input_count
            exits = outputs[table.last_use[outputs] >= stop]
            known = Border(entries, exits, _picker(entries.tolist()), _picker([*entries, *exits]))
            self._borders[first, stop] = known
        return known

    def _sources(self, choice: Choice, parts: tuple[int, ...]) -> tuple[int, ...]:
        """Slices of the entries as lowering sees them: 1 where each core reads from one slice only."""
        batch = self.network.batch
        cut = choice.split_batch * choice.ways_batch
        if batch % cut:
            return parts
        return tuple(1 if batch % p == 0 and cut % p == 0 else p for p in parts)

    def _uniform(self, choice: Choice, lists: PlanLists) -> bool:
        """Whether all batch slices of a sub-graph look alike to lowering: same size, same sources."""
        batch = self.network.batch
        if batch % choice.split_batch:
            return False
        mine = batch // choice.split_batch
        for parts in self._border(choice.first, choice.stop).pick_entries(lists.source_batch):
            other = batch // parts
            if batch % parts or (mine % other and other % mine):
                return False
        return True


def _rows(choices: Sequence[Choice]) -> Ints:
    """(S, CHOICE_FIELDS)"""
    fields = np.fromiter(chain.from_iterable(choices), np.int64, len(choices) * CHOICE_FIELDS)
    return fields.reshape(-1, CHOICE_FIELDS)


def core_counts(choices: Sequence[Choice], plan: Arrangement) -> list[int]:
    """(N,) how many cores each instance of an arrangement is spread over."""
    counts = [choice.cores for choice in choices]
    return [counts[s] for s in plan.subgraph.tolist()]


def _picker(indices: Sequence[int]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """A function that picks these places of a sequence as a tuple."""
    if len(indices) > 1:
        return cast(Callable[[Sequence[int]], tuple[int, ...]], itemgetter(*map(int, indices)))
    places = [int(i) for i in indices]
    return lambda values: tuple(values[i] for i in places)


def _lists(plan: Arrangement) -> PlanLists:
    return PlanLists(
        plan.in_llb.astype(np.uint8).tobytes(),
        plan.staged.astype(np.uint8).tobytes(),
        plan.source_batch.tolist(),
        plan.source_rows.tolist(),
    )


def _ragged(lists: Sequence[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """Lists of different lengths as one array: where each begins, and the values."""
    if not any(lists):
        return np.zeros(len(lists) + 1, np.int64), np.empty(0, np.int64)
    starts = np.concatenate(([0], np.cumsum([len(values) for values in lists]))).astype(np.int64)
    return starts, np.array([value for values in lists for value in values], np.int64)
