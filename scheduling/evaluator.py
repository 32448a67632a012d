"""Evaluator: simulates schedules of one network on one machine, keeping every template that it lowered.

This is what strategies, the environment and the command line ask for a cost; there is no second cost model that a
result is judged by.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from graph.network import Network
from hwmodel.machines.machine import Machine
from hwmodel.timing.counts import NO_INNER, Counts, InnerCounts
from hwmodel.timing.energy import energy_pj
from scheduling.choice import CACHE_LLB, Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.rows import N_DRAM_READ, N_DRAM_WRITE, N_LLB_READ, N_LLB_WRITE
from scheduling.lowering.tables import Ints
from scheduling.rules import DEFAULT_RULES, Rules, arrange_by, choice_rows
from scheduling.templates import Templates
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.capacity import check_dram
from scheduling.timeline.concurrency import simulate_packed
from scheduling.timeline.isolated import supposed_scopes
from scheduling.timeline.packing import AS_BARRIERS, nothing_packed
from scheduling.timeline.reuse import Overwritten, overwritten
from scheduling.timeline.simulation import StepPlan, Times, simulate_steps
from scheduling.timeline.slices import WAYS_BATCH, WAYS_CHANNELS, WAYS_ROWS
from scheduling.timeline.system_copies import CopiedThings, CopyPlan, SystemCopies, system_copies
from scheduling.timeline.tensor_moves import no_moves
from scheduling.timeline.weight_places import layer_weight_bytes


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


class Evaluator:
    """Costs of schedules of `network` on `machine`; counts how many it simulated in `evaluations`.

    An evaluator of the same layers in another order that is made `beside` another one goes on with its count. With
    `periodic`, steps that repeat are jumped over (scheduling.timeline.periods), which changes no result. Raises
    IllegalSchedule where the network does not fit the machine's DRAM.
    """

    def __init__(
        self,
        network: Network,
        machine: Machine,
        beside: Evaluator | None = None,
        templates: Templates | None = None,
    ) -> None:
        """`templates` are those of this network and machine where others than lowering's own are wanted."""
        check_dram(network, machine)
        self.network = network
        self.machine = machine
        self.templates = Templates(network, machine) if templates is None else templates
        self.table = table = self.templates.table
        self.machine_table = self.templates.machine_table
        self.weight_bytes = layer_weight_bytes(table, machine.element_bytes)
        row_bytes = table.tensor_columns * table.tensor_channels * machine.element_bytes
        self._copied_things = CopiedThings(
            table.producer, table.batch, table.tensor_rows, row_bytes, self.weight_bytes
        )
        self._count: list[int] = [0] if beside is None else beside._count
        self._simulated: dict[tuple[object, ...], Evaluation] = {}
        self.periodic = True

    @property
    def evaluations(self) -> int:
        """Schedules simulated by now."""
        return self._count[0]

    def trim(self, most_rows: int) -> None:
        """Forget all templates and costs if the templates have more than this many instructions, to save memory."""
        if self.templates.store.rows > most_rows:
            self.templates.clear()
            self._simulated.clear()

    def arrange(self, choices: Sequence[Choice], rules: Rules) -> Arrangement:
        """Order, scopes and resident weights of these sub-graphs by `rules`; raises what `arrange_by` does."""
        cached = self._cached_in_llb(choices)
        return arrange_by(rules, choices, self.table, self.machine, self.machine_table, cached)

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
            nothing,
        )

    def evaluate(self, choices: Sequence[Choice], rules: Rules = DEFAULT_RULES) -> Evaluation:
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
        index = self.templates.indices(choices, plan)
        store = self.templates.store
        places = store.places[index]
        array = choice_rows(choices)
        copies = self._system_copies(array, plan)
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
        sizes = copies.size_bytes
        if len(sizes):
            burst, outwards = self.machine_table.dram_burst, copies.to_dram[copies.job]
            crossing = sizes if burst == 1 else -(-sizes // burst) * burst
            sums[N_DRAM_READ] += crossing @ (1 - outwards)
            sums[N_LLB_WRITE] += sizes @ (1 - outwards)
            sums[N_DRAM_WRITE] += crossing @ outwards
            sums[N_LLB_READ] += sizes @ outwards
        counts = Counts(*sums.tolist())
        inner = NO_INNER
        if store.inner.shape[1]:
            inner = self.inner_counts(store.inner[index].sum(axis=0).tolist())
        energy = energy_pj(counts, self.machine, inner)
        return times, Evaluation(int(times.makespan), energy, counts, len(index), inner)

    def system_copies(self, choices: Sequence[Choice], plan: Arrangement) -> SystemCopies:
        """What the system DMA copies in an arrangement."""
        return self._system_copies(choice_rows(choices), plan)

    def _system_copies(self, choices: Ints, plan: Arrangement) -> SystemCopies:
        return system_copies(
            self._copied_things,
            choices,
            CopyPlan(*(getattr(plan, name) for name in CopyPlan._fields)),
        )

    def overwritten(self, choices: Sequence[Choice], plan: Arrangement, copies: SystemCopies) -> Overwritten:
        """What instances wait for before they write to the LLB, where no queue orders them anyway: instances on other
        cores, and moves to DRAM."""
        if not (len(plan.packed.step) or len(plan.moves.when)):
            return Overwritten([], [()] * len(plan.subgraph))
        cores = core_counts(choices, plan)
        return overwritten(
            self.table, self.machine.element_bytes, choices, plan, cores, self.weight_bytes,
            self._cached_in_llb(choices), copies,
        )  # fmt: skip

    def _cached_in_llb(self, choices: Sequence[Choice]) -> list[int]:
        """(S,) bytes of the LLB in which each sub-graph caches the overlaps of a slice of the batch."""
        size = self.templates.shared_cache_bytes
        return [size(choice) if choice.halo == CACHE_LLB else 0 for choice in choices]

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
        store = self.templates.store
        row, rows, local, entries = np.ascontiguousarray(places.T)
        users, freed = _ragged(reuse.instances), _ragged(reuse.copies)
        cores = choices[plan.subgraph][:, [WAYS_BATCH, WAYS_ROWS, WAYS_CHANNELS]].prod(axis=1)

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


def core_counts(choices: Sequence[Choice], plan: Arrangement) -> list[int]:
    """(N,) how many cores each instance of an arrangement is spread over."""
    counts = [choice.cores for choice in choices]
    return [counts[s] for s in plan.subgraph.tolist()]


def _ragged(lists: Sequence[tuple[int, ...]]) -> tuple[Ints, Ints]:
    """Lists of different lengths as one array: where each begins, and the values."""
    if not any(lists):
        return np.zeros(len(lists) + 1, np.int64), np.empty(0, np.int64)
    starts = np.concatenate(([0], np.cumsum([len(values) for values in lists]))).astype(np.int64)
    return starts, np.array([value for values in lists for value in values], np.int64)
