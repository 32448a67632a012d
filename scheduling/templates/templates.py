"""The template of every instance of a schedule: found, or lowered."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from math import gcd
from typing import cast

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.choice import CACHE, Choice
from scheduling.lowering import Lowered, lower
from scheduling.lowering.inner_counts import count_inner
from scheduling.lowering.shared_cache import whole_shared_cache_bytes
from scheduling.lowering.tables import Ints, network_table
from scheduling.templates.alike import AlikeSlices, finds_weights
from scheduling.templates.borders import Borders, Surroundings, surroundings
from scheduling.templates.checks import Checks
from scheduling.templates.frames import WHOLE, Frames, Parts
from scheduling.templates.store import Template, TemplateStore
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import Residence
from scheduling.timeline.timed import lower_timed

_MANY_ALIKE = 16
"""From so many instances for each sub-graph on, templates are found for kinds of instances, not for each."""

_NO_INNER = np.empty(0, np.int64)


class Templates:
    """Lowers the instances of the sub-graphs of `network` on `machine`, and keeps what it lowered in `store`."""

    def __init__(self, network: Network, machine: Machine) -> None:
        self.network = network
        self.machine = machine
        self.table = network_table(network, machine)
        self.machine_table = machine.table()
        self.level_table = machine.level_table
        self.store = self.new_store()
        self.frames = Frames(network, machine, self.table)
        self._checks = Checks(self.frames, machine)
        self._alike = AlikeSlices(self.frames, self._checks)
        self._borders = Borders(self.table)
        self._known: dict[tuple[object, ...], Template] = {}
        self._only: dict[tuple[object, ...], Template | None] = {}
        self._shared_cache: dict[Choice, int] = {}

    def new_store(self) -> TemplateStore:
        """An empty store for templates of this machine."""
        return TemplateStore(0 if self.level_table is None else self.level_table.inner)

    def clear(self) -> None:
        """Forget all templates."""
        self._known.clear()
        self._only.clear()
        self._checks.clear()
        self._alike.clear()
        self.store = self.new_store()

    def of(self, choices: Sequence[Choice], plan: Arrangement) -> list[Template]:
        """The template of every instance, in order."""
        around = surroundings(plan)
        moved = Residence(self.table, choices, plan) if len(plan.moves.when) else None
        if moved is None:
            alone = self._alone(choices, plan, around)
            if alone is not None:
                return [alone[s] for s in plan.subgraph.tolist()]
        found: dict[tuple[int, int, int], Template] = {}
        result = []
        uniform = [self._uniform(choice, around) for choice in choices]
        for k, (s, number) in enumerate(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True)):
            choice = choices[s]
            ib, part = divmod(number, choice.slices)
            seen = plan if moved is None else self.seen(choice, k, plan, moved)
            if seen is not plan:
                own = surroundings(seen)
                common = self._uniform(choice, own)
                result.append(self._template(choice, 0 if common else ib, part, seen, own))
                continue
            place = (s, 0 if uniform[s] else ib, part)
            template = found.get(place)
            if template is None:
                template = found[place] = self._template(choice, place[1], part, plan, around)
            result.append(template)
        return result

    def indices(self, choices: Sequence[Choice], plan: Arrangement) -> Ints:
        """(N,) the template of every instance, by its place in the store."""
        count = len(plan.subgraph)
        around = surroundings(plan)
        if count < _MANY_ALIKE * len(choices) or len(plan.moves.when):
            alone = None if len(plan.moves.when) else self._alone(choices, plan, around)
            if alone is not None:
                return np.array([template.index for template in alone], np.int64)[plan.subgraph]
            return np.array([template.index for template in self.of(choices, plan)], np.int64)
        found = np.empty(count, np.int64)
        for s, choice in enumerate(choices):
            mine = np.flatnonzero(plan.subgraph == s)
            batch_part, part = np.divmod(plan.instance[mine], choice.slices)
            if self._uniform(choice, around):
                batch_part[:] = 0
            by_rows = max(self._borders.of(choice.first, choice.stop).pick_all(around.source_rows)) > 1
            place = batch_part * choice.slices + self._alike.instances(choice, by_rows)[part]
            kinds, kind = np.unique(place, return_inverse=True)
            known = [
                self._template(choice, k // choice.slices, k % choice.slices, plan, around).index
                for k in kinds.tolist()
            ]
            found[mine] = np.array(known, np.int64)[kind]
        return found

    def of_instance(self, choice: Choice, batch_part: int, part: int, plan: Arrangement) -> Template:
        """Lower an instance, or find it; `part` counts the instances of a slice of the batch. Raises IllegalSchedule
        with the reason."""
        return self._template(choice, batch_part, part, plan, surroundings(plan))

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

    def shared_cache_bytes(self, choice: Choice) -> int:
        """Bytes of the LLB or of DRAM in which a choice caches the overlaps of one slice of the batch; 0 where it
        caches none there. Raises IllegalSchedule where the choice cannot be."""
        if choice.halo <= CACHE or choice.slices == 1:
            return 0
        if choice not in self._shared_cache:
            self.check(choice)
            frame = self.frames.of(choice)
            size = whole_shared_cache_bytes(frame.table, frame.choice, self.machine.element_bytes)
            self._shared_cache[choice] = int(size)
        return self._shared_cache[choice]

    def borders(self, first: int, stop: int) -> tuple[Ints, Ints]:
        """(entry tensors, tensors that leave) of layers [first, stop)."""
        border = self._borders.of(first, stop)
        return border.entries, border.exits

    def check(self, choice: Choice) -> None:
        """Raise IllegalSchedule where a choice's axes and ways cannot be, whatever fits."""
        self._checks.check(choice)

    def lower(self, choice: Choice, batch_part: int, parts: Parts, kept: bool, plan: Arrangement) -> Lowered:
        """Lower an instance without keeping it; `kept`: it finds all weights in the buffer. Raises IllegalSchedule with
        the reason."""
        self.check(choice)
        frame = self.frames.of(choice, parts.channel)
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
        self._checks.expect_legal(choice, (lowered.status, lowered.layer, lowered.short_bytes))
        levels = self.level_table
        if levels is None:
            return lowered
        inner = count_inner(frame.table, self.machine_table, levels, frame.choice, batch_part, lowered)
        return lowered._replace(inner=inner)

    def _alone(
        self, choices: Sequence[Choice], plan: Arrangement, around: Surroundings
    ) -> list[Template] | None:
        """(S,) the template of each sub-graph where every one has a single one; else None. Nothing moves."""
        alone = [self._only_template(choice, plan, around) for choice in choices]
        return None if None in alone else cast(list[Template], alone)

    def _only_template(self, choice: Choice, plan: Arrangement, around: Surroundings) -> Template | None:
        """The template that all instances of a sub-graph share; None where they may be of several kinds."""
        border = self._borders.of(choice.first, choice.stop)
        seen = (
            choice,
            border.pick_all(around.in_llb),
            border.pick_entries(around.source_batch),
            border.pick_all(around.source_rows),
            around.staged[choice.first : choice.stop],
        )
        try:
            return self._only[seen]  # hashed once: that is what takes time here
        except KeyError:
            pass
        alike = choice.slices == 1 and self._uniform(choice, around)
        known = self._only[seen] = self._template(choice, 0, 0, plan, around) if alike else None
        return known

    def _template(
        self, choice: Choice, batch_part: int, part: int, plan: Arrangement, around: Surroundings
    ) -> Template:
        border = self._borders.of(choice.first, choice.stop)
        source_rows = border.pick_all(around.source_rows)
        parts = WHOLE  # with slices of whole rows elsewhere it matters which rows an instance reads
        if choice.slices > 1:
            parts = self._alike.parts(choice, part, max(source_rows) > 1)
        kept = finds_weights(choice, part)
        key = (
            choice,
            batch_part,
            parts,
            kept,
            border.pick_all(around.in_llb),
            self._sources(choice, border.pick_entries(around.source_batch)),
            source_rows,
            around.staged[choice.first : choice.stop],
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
        frame = self.frames.of(choice, parts.channel)
        found = lower_timed(
            frame.table, self.machine_table, frame.choice, batch_part, parts.row, parts.column, kept,
            plan.in_llb, plan.source_batch, plan.source_rows, plan.staged,
        )  # fmt: skip
        self._checks.expect_legal(choice, found[:3])
        again = partial(self.lower, choice, batch_part, parts, kept, plan)
        return self.store.add_timed(found, _NO_INNER, again, parts)

    def _uniform(self, choice: Choice, around: Surroundings) -> bool:
        """Whether all batch slices of a sub-graph look alike to lowering: same size, same sources."""
        batch = self.network.batch
        if batch % choice.split_batch:
            return False
        mine = batch // choice.split_batch
        for parts in self._borders.of(choice.first, choice.stop).pick_entries(around.source_batch):
            other = batch // parts
            if batch % parts or (mine % other and other % mine):
                return False
        return True

    def _sources(self, choice: Choice, parts: tuple[int, ...]) -> tuple[int, ...]:
        """Slices of the entries as lowering sees them: 1 where each core reads from one slice only."""
        batch = self.network.batch
        cut = choice.split_batch * choice.ways_batch
        if choice.several_bindings:
            cut = choice.split_batch * gcd(choice.ways_batch, *(run.batch for run in choice.own_runs))
        if batch % cut:
            return parts
        return tuple(1 if batch % p == 0 and cut % p == 0 else p for p in parts)
