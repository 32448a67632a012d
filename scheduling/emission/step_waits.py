"""What the instances of a program wait for of others: events, system copies, and what they wait for as a whole."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hwmodel.programs.isa import Op, Ref, SystemCopy
from scheduling.choice import Choice
from scheduling.emission.buffers import DramBuffers
from scheduling.emission.instructions import EVENT_COMPUTE, EVENT_DMA
from scheduling.evaluator import Evaluator, core_counts
from scheduling.lowering.rows import C_OP, C_R0, C_TENSOR
from scheduling.templates import Template
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.residence import Residence
from scheduling.timeline.simulation import Times
from scheduling.timeline.system_copies import SystemCopies

_COMPUTE = ((Op.CONV, Op.MATMUL), (Op.VECTOR,))
_DMA = (Op.LOAD, Op.LOADW, Op.STORE, Op.BROADCAST, Op.GATHER)


class StepWaits:
    """References from each instance of a simulated arrangement to instructions and copies of others."""

    def __init__(
        self,
        evaluator: Evaluator,
        choices: Sequence[Choice],
        plan: Arrangement,
        times: Times,
        copies: SystemCopies,
        templates: Sequence[Template],
        buffers: DramBuffers,
        residence: Residence,
    ) -> None:
        self._evaluator = evaluator
        self._choices = choices
        self._plan = plan
        self._times = times
        self._templates = templates
        self._residence = residence
        self._home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
        self._cores = core_counts(choices, plan)
        self._packed = len(plan.packed.step) > 0
        self._last_rows: dict[tuple[int, tuple[Op, ...]], int] = {}
        self._before = self._latest_before()
        self._when = plan.when.tolist()
        self._first_of_step, self._of_wave = dict[int, int](), dict[int, list[int]]()
        for k, step in reversed(list(enumerate(plan.packed.step.tolist()))):
            self._first_of_step[step] = k
            self._of_wave.setdefault(self._when[k], []).append(k)
        self._copied = copies
        self._overwritten = evaluator.overwritten(choices, plan, copies)
        self._copies: list[list[SystemCopy]] = [[] for _ in templates]
        self._end_of_copy: dict[int, Ref] = {}
        self._place_copies(buffers)

    def event(self, number: int, name: str) -> tuple[Ref, ...]:
        """Instructions that an event of an instance stands for."""
        if name == EVENT_COMPUTE:
            return self._last(self._before[number], *_COMPUTE)
        if name == EVENT_DMA:
            return self._last(self._before[number], _DMA)
        if name.startswith("w"):
            return self._staged(number, int(name[1:]))
        return self._made(number, int(name[2:]))

    def copies(self, number: int) -> tuple[SystemCopy, ...]:
        """System copies that stand with an instance, in order."""
        return tuple(self._copies[number])

    def placement(self, number: int) -> tuple[int, tuple[int, ...] | None, bool, tuple[Ref, ...]]:
        """First core, cores that the LAUNCH starts, whether it is a barrier, and what it waits for."""
        freed = tuple(self._end_of_copy[job] for job in self._overwritten.copies[number])
        packed = self._plan.packed
        if not self._packed:
            return 0, None, False, freed
        first = self._first_of_step[int(packed.step[number])]
        launched: tuple[int, ...] | None = ()
        if number == first:
            step = np.flatnonzero(packed.step == packed.step[number]).tolist()
            used = {core for k in step for core in self._range(k)}
            launched = tuple(sorted(used)) if len(step) > 1 else None
        waited = set(self._overwritten.instances[number])
        barrier = bool(packed.barrier[number]) and self._when[number] != self._when[first]
        if barrier:
            waited.update(self._of_wave[self._when[number] - 1])
        return int(packed.first_core[number]), launched, barrier, (*self._last(sorted(waited), _DMA), *freed)

    def _range(self, number: int) -> range:
        first = int(self._plan.packed.first_core[number]) if self._packed else 0
        return range(first, first + self._cores[number])

    def _latest_before(self) -> list[list[int]]:
        """For each instance the latest earlier ones on each of its cores."""
        if not self._packed:  # all share core 0
            return [[number - 1] if number else [] for number in range(len(self._templates))]
        latest: dict[int, int] = {}
        before = []
        for number in range(len(self._templates)):
            before.append(sorted({latest[core] for core in self._range(number) if core in latest}))
            latest.update(dict.fromkeys(self._range(number), number))
        return before

    def _all_before(self, when: int) -> list[int]:
        """The latest instances on each core of all that come before a wave (or a step of one instance)."""
        if not self._packed:
            return [when - 1] if when else []
        latest: dict[int, int] = {}
        for number in range(len(self._templates)):
            if self._when[number] < when:
                latest.update(dict.fromkeys(self._range(number), number))
        return sorted(set(latest.values()))

    def _last(self, numbers: Sequence[int], *engines: tuple[Op, ...]) -> tuple[Ref, ...]:
        """The last instruction of each engine, given the ops of each, of instances."""
        refs = []
        for number in numbers:
            template = self._templates[number]
            for ops in engines:
                key = (template.index, ops)
                if key not in self._last_rows:
                    found = np.flatnonzero(np.isin(template.lowered.rows[:, C_OP], ops))
                    self._last_rows[key] = int(found[-1]) if len(found) else -1
                if self._last_rows[key] >= 0:
                    refs.append(Ref(number, self._last_rows[key]))
        return tuple(refs)

    def _place_copies(self, buffers: DramBuffers) -> None:
        """The chunks of system copies by the instance with which they stand."""
        copies, times = self._copied, self._times
        waits: dict[int, tuple[Ref, ...]] = {}
        for chunk, job in enumerate(copies.job.tolist()):
            when, layer, move = int(copies.when[job]), int(copies.layer[job]), int(copies.move[job])
            if when not in waits:
                waits[when] = self._last(self._all_before(when), *_COMPUTE, _DMA)
            if layer >= 0:
                begin = buffers.weight_address[layer]
            else:
                begin = buffers.tensor_address[int(self._plan.moves.tensor[move])]
            k = int(times.copy_of[chunk])
            place = Ref(k, len(self._templates[k].lowered.rows) + len(self._copies[k]))
            self._copies[k].append(
                SystemCopy(
                    int(times.copy_position[chunk]),
                    begin + int(copies.dram_offset[chunk]),
                    int(copies.llb_address[chunk]),
                    int(copies.size_bytes[chunk]),
                    waits[when],
                    bool(copies.to_dram[job]),
                )
            )
            self._end_of_copy[job] = place

    def _staged(self, number: int, layer: int) -> tuple[Ref, ...]:
        """The last copy of a layer's weights before their use by an instance (copies finish in order)."""
        copies, by = self._copied, int(self._plan.staged_by[layer])
        before = np.flatnonzero((copies.layer == by) & (copies.when <= self._plan.when[number])).tolist()
        if not before:
            raise ValueError(f"layer {layer} is staged but never copied before instance {number}")
        return (self._end_of_copy[before[-1]],)

    def _made(self, step: int, index: int) -> tuple[Ref, ...]:
        """What brought each slice of the batch that a step touches to where it reads it: the last copy that moved it,
        or the last store of every instance that made a part of it."""
        copies, moves = self._copied, self._plan.moves
        refs: list[Ref] = []
        for part in self._residence.touched(step, index):
            moved = (
                np.flatnonzero(
                    (copies.move >= 0)
                    & (copies.when <= self._plan.when[step])
                    & (moves.tensor[copies.move] == index)
                    & (moves.part[copies.move] == part)
                ).tolist()
                if index in self._residence.moved
                else []
            )
            refs += [self._end_of_copy[moved[-1]]] if moved else self._stores(index, part)
        return tuple(sorted(refs, key=lambda ref: (ref.step, ref.index)))

    def _stores(self, index: int, part: int) -> list[Ref]:
        """The last store of every instance that makes a part of a slice of the batch of a tensor."""
        made_by = int(self._evaluator.table.producer[index])
        if made_by < 0:
            return []
        source_number = self._home[made_by]
        source = self._choices[source_number]
        refs = []
        for number in range(part * source.slices, (part + 1) * source.slices):
            at = int(self._plan.place_of[self._plan.instance_start[source_number] + number])
            lowered = self._templates[at].lowered
            local = lowered.geometry.entries + made_by - source.first
            rows = lowered.rows
            stores = (rows[:, C_OP] == Op.STORE) & (rows[:, C_TENSOR] == local)
            found = np.flatnonzero(stores & (rows[:, C_R0] == 0))  # not what it keeps for the next instance
            if len(found):  # with cached overlaps, a late instance may have nothing left to store
                refs.append(Ref(at, int(found[-1])))
        return refs
