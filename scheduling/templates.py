"""Templates: instances of sub-graphs as they are lowered, each kind once, and which instance is of which kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from math import gcd
from operator import itemgetter
from typing import NamedTuple, cast

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from hwmodel.timing.counts import Counts
from scheduling.choice import CACHE, CACHE_LLB, COLUMNS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering import Lowered, lower
from scheduling.lowering.channel_slices import ChannelUnits, channel_units, narrow_network, narrow_table
from scheduling.lowering.frames import Frame, turned_choice, turned_network
from scheduling.lowering.inner_counts import count_inner
from scheduling.lowering.planning import check_axes, check_streams_columns
from scheduling.lowering.reasons import explain
from scheduling.lowering.shapes import alike_columns, alike_rows
from scheduling.lowering.shared_cache import whole_shared_cache_bytes
from scheduling.lowering.tables import Ints, NetworkTable, network_table
from scheduling.lowering.tiling import LEGAL
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import Residence
from scheduling.timeline.simulation import ARENA_COLUMNS, timing_rows
from scheduling.timeline.timed import Timed, lower_timed, timed

COUNTS = len(Counts._fields)

_MANY_ALIKE = 16
"""From so many instances for each sub-graph on, templates are found for kinds of instances, not for each."""


_FIRST_ROWS = 1 << 16
"""Rows of a store that there is room for at first: enough for a search of most networks, and memory only once used."""

_NO_INNER = np.empty(0, np.int64)


class Parts(NamedTuple):
    """A slice of a slice of the batch, in the frame of a choice."""

    row: int
    column: int
    channel: int


WHOLE = Parts(0, 0, 0)


@dataclass(frozen=True, eq=False)
class Template:
    """A lowered instance; `index` is its place in the store. It is that of the slice `parts`; slices that look alike
    share it."""

    lower: Callable[[], Lowered]
    index: int
    parts: Parts = WHOLE

    @cached_property
    def lowered(self) -> Lowered:
        """All of it, lowered again when first asked for: searches only time most templates."""
        return self.lower()


class TemplateStore:
    """Templates side by side in arrays that grow, so that compiled code gets a schedule as an array of indices."""

    def __init__(self, inner: int) -> None:
        """`inner` is the number of inner memories of the machine."""
        self.count = 0
        self.inner = np.empty((256, 2 * inner + 1 if inner else 0), np.int64)
        self.arena = np.empty((_FIRST_ROWS, ARENA_COLUMNS), np.int64)
        self.local = np.empty(1024, np.int64)
        self.counts = np.empty((256, COUNTS), np.int64)
        # Per template: first row in the arena, rows, first local tensor, entries.
        self.places = np.empty((256, 4), np.int64)
        self.rows = 0
        self._locals = 0

    def add(self, lowered: Lowered, parts: Parts = WHOLE) -> Template:
        """Keep a lowered instance of this slice."""
        return self.add_timed(timed(lowered), lowered.inner, lambda: lowered, parts)

    def add_timed(self, instance: Timed, inner: Ints, lower: Callable[[], Lowered], parts: Parts) -> Template:
        """Keep what is timed of an instance, of which `lower` gives the rest, and its counts of inner memories."""
        rows, local, index = instance.rows, instance.tensors, self.count
        _grow(self.arena, self.rows + len(rows))
        _grow(self.local, self._locals + len(local))
        _grow(self.counts, index + 1)
        _grow(self.places, index + 1)
        self.arena[self.rows : self.rows + len(rows)] = rows
        self.local[self._locals : self._locals + len(local)] = local
        _grow(self.inner, index + 1)
        self.counts[index] = instance.counts
        self.inner[index] = inner
        self.places[index] = (self.rows, len(rows), self._locals, instance.entries)
        self.count += 1
        self.rows += len(rows)
        self._locals += len(local)
        return Template(lower, index, parts)

    def retime(self, index: int, rows: Ints) -> None:
        """Time template `index` from now on by these rows: its own, in any order."""
        first, count, *_ = self.places[index]
        timing_rows(rows, self.arena[first : first + count])


def _grow(array: Ints, need: int) -> None:
    """Make room for `need` rows in place: large blocks are mapped anew and not copied. No view of it may be in use."""
    if need > len(array):
        array.resize((need + need // 4, *array.shape[1:]), refcheck=False)


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


class Templates:
    """Lowers the instances of the sub-graphs of `network` on `machine`, and keeps what it lowered in `store`."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self.network = network
        self.machine = machine
        self.table = network_table(network, machine)
        self.machine_table = machine.table()
        self.level_table = machine.level_table
        self.store = self.new_store()
        self._known: dict[tuple[object, ...], Template] = {}
        self._only: dict[tuple[object, ...], Template | None] = {}
        self._checked: set[Choice] = set()
        self._borders: dict[tuple[int, int], Border] = {}
        self._turned: tuple[Network, NetworkTable] | None = None
        self._units: dict[tuple[int, int], ChannelUnits] = {}
        self._narrow: dict[tuple[int, int, int, bool], tuple[Network, NetworkTable]] = {}
        self._shared_cache: dict[Choice, int] = {}
        self._alike: dict[Choice, tuple[list[int], list[int]]] = {}
        self._alike_instances: dict[tuple[Choice, bool], Ints] = {}

    def new_store(self) -> TemplateStore:
        """An empty store for templates of this machine."""
        return TemplateStore(0 if self.level_table is None else self.level_table.inner)

    def clear(self) -> None:
        """Forget all templates."""
        self._known.clear()
        self._only.clear()
        self._checked.clear()
        self._alike.clear()
        self._narrow.clear()
        self._alike_instances.clear()
        self.store = self.new_store()

    def of(self, choices: Sequence[Choice], plan: Arrangement) -> list[Template]:
        """The template of every instance, in order."""
        lists = _lists(plan)
        moved = Residence(self.table, choices, plan) if len(plan.moves.when) else None
        if moved is None:
            alone = self._alone(choices, plan, lists)
            if alone is not None:
                return [alone[s] for s in plan.subgraph.tolist()]
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

    def indices(self, choices: Sequence[Choice], plan: Arrangement) -> Ints:
        """(N,) the template of every instance, by its place in the store."""
        count = len(plan.subgraph)
        lists = _lists(plan)
        if count < _MANY_ALIKE * len(choices) or len(plan.moves.when):
            alone = None if len(plan.moves.when) else self._alone(choices, plan, lists)
            if alone is not None:
                return np.array([template.index for template in alone], np.int64)[plan.subgraph]
            return np.array([template.index for template in self.of(choices, plan)], np.int64)
        found = np.empty(count, np.int64)
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

    def of_instance(self, choice: Choice, batch_part: int, part: int, plan: Arrangement) -> Template:
        """Lower an instance, or find it; `part` counts the instances of a slice of the batch. Raises IllegalSchedule
        with the reason."""
        return self._template(choice, batch_part, part, plan, _lists(plan))

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

    def frame(self, choice: Choice, channel_part: int = 0) -> Frame:
        """A choice as it is lowered: of the turned network where it streams along columns, and of one as narrow as
        channel slice `channel_part` where it has several. Raises IllegalSchedule where channels cannot be cut."""
        turned = choice.axis == COLUMNS
        if turned and self._turned is None:
            network = turned_network(self.network)
            self._turned = (network, network_table(network, self.machine, turned=True))
        network, table = self._turned if turned and self._turned else (self.network, self.table)
        if choice.split_channels > 1:
            units = self.channel_units(choice)
            low, high = units.bounds(channel_part, choice.split_channels)
            key = (choice.first, choice.stop, high - low, turned)
            if key not in self._narrow:
                narrow = narrow_network(network, units, high - low)
                self._narrow[key] = (narrow, narrow_table(table, narrow, units))
            network, table = self._narrow[key]
            choice = choice._replace(split_channels=1)
        return Frame(network, table, turned_choice(choice), turned)

    def frames(self, choice: Choice) -> list[Frame]:
        """The frames of all instances of a choice: several where slices of the channels are not as wide as others."""
        return [self.frame(choice, part) for part in dict.fromkeys(self._alike_channels(choice))]

    def frame_parts(self, choice: Choice, part: int) -> Parts:
        """The slice that an instance makes, counted within a slice of the batch."""
        channel, tile = divmod(part, choice.tiles)
        row, column = divmod(tile, choice.split_columns)
        return Parts(column, row, channel) if choice.axis == COLUMNS else Parts(row, column, channel)

    def channel_units(self, choice: Choice) -> ChannelUnits:
        """How the layers of a choice are cut over channels. Raises IllegalSchedule where they cannot be, or not into
        as many slices."""
        key = (choice.first, choice.stop)
        if key not in self._units:
            self._units[key] = channel_units(self.network, *key)
        units = self._units[key]
        if units.units < choice.split_channels:
            raise IllegalSchedule(
                f"{self._name(choice)}: channels cannot be cut into {choice.split_channels} slices, at most "
                f"{units.units} because of layer {self.network.layers[units.limit].name}"
            )
        return units

    def _name(self, choice: Choice) -> str:
        layers = self.network.layers
        return f"sub-graph of layers {layers[choice.first].name} to {layers[choice.stop - 1].name}"

    def shared_cache_bytes(self, choice: Choice) -> int:
        """Bytes of the LLB or of DRAM in which a choice caches the overlaps of one slice of the batch; 0 where it
        caches none there. Raises IllegalSchedule where the choice cannot be."""
        if choice.halo <= CACHE or choice.slices == 1:
            return 0
        if choice not in self._shared_cache:
            self.check(choice)
            frame = self.frame(choice)
            size = whole_shared_cache_bytes(frame.table, frame.choice, self.machine.element_bytes)
            self._shared_cache[choice] = int(size)
        return self._shared_cache[choice]

    def borders(self, first: int, stop: int) -> tuple[Ints, Ints]:
        """(entry tensors, tensors that leave) of layers [first, stop)."""
        border = self._border(first, stop)
        return border.entries, border.exits

    def check(self, choice: Choice) -> None:
        """Raise IllegalSchedule where a choice's axes and ways cannot be, whatever fits."""
        if choice in self._checked:
            return
        if choice.halo == CACHE_LLB and self.machine.memories.llb is None:
            raise IllegalSchedule(
                f"{self._name(choice)}: overlaps cannot be cached in the llb, which {self.machine.name} has not"
            )
        frames = self.frames(choice)
        if choice.halo > CACHE and len(frames) > 1:
            raise IllegalSchedule(
                f"{self._name(choice)}: overlaps of slices over channels that are not as wide as one another cannot be "
                "cached outside L1, since each has the place of the one before"
            )
        for frame in frames:
            if frame.turned:
                self._explain(choice, check_streams_columns(self.table, choice))
            self._explain(choice, check_axes(frame.table, frame.choice))
        self._checked.add(choice)

    def lower(self, choice: Choice, batch_part: int, parts: Parts, kept: bool, plan: Arrangement) -> Lowered:
        """Lower an instance without keeping it; `kept`: it finds all weights in the buffer. Raises IllegalSchedule with
        the reason."""
        self.check(choice)
        frame = self.frame(choice, parts.channel)
        lowered = lower(
            frame.table,
            self.machine_table,
            frame.choice,
            batch_part,
            parts.row,
            parts.column,
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

    def alike(self, choice: Choice) -> tuple[list[int], list[int]]:
        """For the row and column slices of a choice in its frame, the first ones that look like them."""
        known = self._alike.get(choice)
        if known is None:
            self.check(choice)
            frame = self.frame(choice)
            if choice.two_bindings:  # a tensor may lie in two ways, which need not move alike
                known = list(range(frame.choice.split_rows)), list(range(frame.choice.split_columns))
            else:
                rows, columns = (
                    alike_rows(frame.table, frame.choice),
                    alike_columns(frame.table, frame.choice),
                )
                known = rows.tolist(), columns.tolist()
            self._alike[choice] = known
        return known

    def _alike_channels(self, choice: Choice) -> list[int]:
        """For the channel slices of a choice the first ones that are as wide."""
        if choice.split_channels == 1:
            return [0]
        units = self.channel_units(choice)
        bounds = [units.bounds(part, choice.split_channels) for part in range(choice.split_channels)]
        widths = [high - low for low, high in bounds]
        return [widths.index(width) for width in widths]

    def _alone(self, choices: Sequence[Choice], plan: Arrangement, lists: PlanLists) -> list[Template] | None:
        """(S,) the template of each sub-graph where every one has a single one; else None. Nothing moves."""
        alone = [self._only_template(choice, plan, lists) for choice in choices]
        return None if None in alone else cast(list[Template], alone)

    def _alike_parts(self, choice: Choice, lists: PlanLists) -> Ints:
        """(slices,) for each instance of a slice of the batch the first one that shares its template."""
        by_rows = max(self._border(choice.first, choice.stop).pick_all(lists.source_rows)) > 1
        known = self._alike_instances.get((choice, by_rows))
        if known is None:
            rows, columns = self.alike(choice)
            channels = self._alike_channels(choice)
            parts = [self.frame_parts(choice, part) for part in range(choice.slices)]
            shapes = [
                (
                    Parts(row if by_rows else rows[row], columns[column], channels[channel]),
                    _finds_weights(choice, part),
                )
                for part, (row, column, channel) in enumerate(parts)
            ]
            first: dict[tuple[Parts, bool], int] = {}
            for part, shape in enumerate(shapes):
                first.setdefault(shape, part)
            known = self._alike_instances[choice, by_rows] = np.array(
                [first[shape] for shape in shapes], np.int64
            )
        return known

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
        try:
            return self._only[seen]  # hashed once: that is what takes time here
        except KeyError:
            pass
        alike = choice.slices == 1 and self._uniform(choice, lists)
        known = self._only[seen] = self._template(choice, 0, 0, plan, lists) if alike else None
        return known

    def _template(
        self, choice: Choice, batch_part: int, part: int, plan: Arrangement, lists: PlanLists
    ) -> Template:
        border = self._border(choice.first, choice.stop)
        source_rows = border.pick_all(lists.source_rows)
        parts = WHOLE
        if choice.slices > 1:
            row, column, channel = self.frame_parts(choice, part)
            rows, columns = self.alike(choice)
            if max(source_rows) == 1:  # with slices of whole rows elsewhere it matters which rows these are
                row = rows[row]
            parts = Parts(row, columns[column], self._alike_channels(choice)[channel])
        kept = _finds_weights(choice, part)
        key = (
            choice,
            batch_part,
            parts,
            kept,
            border.pick_all(lists.in_llb),
            self._sources(choice, border.pick_entries(lists.source_batch)),
            source_rows,
            lists.staged[choice.first : choice.stop],
        )
        known = self._known.get(key)
        if known is None:
            known = self._known[key] = self._new(choice, batch_part, parts, kept, plan)
        return known

    def _new(self, choice: Choice, batch_part: int, parts: Parts, kept: bool, plan: Arrangement) -> Template:
        """Lower an instance, as `lower` does, and keep it."""
        if self.level_table is not None:
            return self.store.add(self.lower(choice, batch_part, parts, kept, plan), parts)
        self.check(choice)
        frame = self.frame(choice, parts.channel)
        found = lower_timed(
            frame.table, self.machine_table, frame.choice, batch_part, parts.row, parts.column, kept,
            plan.in_llb, plan.source_batch, plan.source_rows, plan.staged,
        )  # fmt: skip
        self._explain(choice, found[:3])
        again = partial(self.lower, choice, batch_part, parts, kept, plan)
        return self.store.add_timed(found, _NO_INNER, again, parts)

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

    def _sources(self, choice: Choice, parts: tuple[int, ...]) -> tuple[int, ...]:
        """Slices of the entries as lowering sees them: 1 where each core reads from one slice only."""
        batch = self.network.batch
        cut = choice.split_batch * choice.ways_batch
        if choice.two_bindings:
            cut = choice.split_batch * gcd(choice.ways_batch, choice.own_batch)
        if batch % cut:
            return parts
        return tuple(1 if batch % p == 0 and cut % p == 0 else p for p in parts)

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

    def _explain(self, choice: Choice, found: tuple[int, int, int]) -> None:
        status, layer, short = found
        if status != LEGAL:
            raise IllegalSchedule(
                explain(self.network, self.machine, choice, int(status), int(layer), int(short))
            )


def _finds_weights(choice: Choice, part: int) -> bool:
    """Whether an instance, counted within a slice of the batch, finds all weights in the buffer."""
    return choice.keep_weights == 1 and part % choice.tiles > 0


def _picker(indices: Sequence[int]) -> Callable[[Sequence[int]], tuple[int, ...]]:
    """A function that picks these places of a sequence as a tuple."""
    if len(indices) > 1:
        return cast(Callable[[Sequence[int]], tuple[int, ...]], itemgetter(*map(int, indices)))
    if not indices:
        return lambda values: ()
    place = int(indices[0])
    return lambda values: (values[place],)


def _lists(plan: Arrangement) -> PlanLists:
    return PlanLists(
        plan.in_llb.astype(np.uint8).tobytes(),
        plan.staged.astype(np.uint8).tobytes(),
        plan.source_batch.tolist(),
        plan.source_rows.tolist(),
    )
