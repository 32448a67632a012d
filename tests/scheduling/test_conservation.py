"""Conservation laws of lowered programs: bytes, engine time, bounds of the makespan, waits, and orders of execution."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
import pytest

from graph.importer import load_model
from graph.model import Model
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Instruction, Kernel, Launch, Op, Program
from hwmodel.programs.order import latest_first, random_order
from hwmodel.timing.costs import dram_rate
from hwmodel.timing.flatten import Timing, time_program
from hwmodel.timing.instruction_cost import copy_cost, instruction_cost
from hwmodel.timing.resources import (
    DRAM_READ,
    LLB_READ,
    SYSTEM_DMA,
    dram_write,
    exchange_in,
    link,
    llb_write,
)
from scheduling.emission.program import build_program, program_weights
from scheduling.evaluator import Evaluator
from tests.hwmodel.accesses import Access, instruction_accesses
from tests.hwmodel.machine_variants import machine_called
from tests.hwmodel.pipelines import without_a_wait
from tests.hwmodel.race_checker import Checker, find_races
from tests.scheduling.random_cases import (
    Drawn,
    legal,
    random_choices,
    random_model,
    random_own_bindings,
    random_rules,
)

BATCH = 3
TRANSFERS = (Op.LOAD, Op.LOADW, Op.STORE, Op.BROADCAST)


@dataclass(frozen=True, eq=False)
class Case:
    """A random schedule of a random network, lowered, emitted and timed."""

    model: Model
    machine: Machine
    program: Program
    timing: Timing

    def launches(self) -> Iterator[tuple[Kernel, Launch]]:
        for launch in self.program.steps:
            yield self.program.kernels[launch.kernel], launch


CASES: list[tuple[str, int, Drawn]] = [
    *(("tiny", seed, random_choices) for seed in range(3)),
    *(("stcp920", seed, random_choices) for seed in (1, 5, 13)),
    ("stcp920-slow-dram", 2, random_choices),
    ("tiny", 2, random_own_bindings),
    ("stcp920", 3, random_own_bindings),
]
"""Machine, seed and how sub-graphs are drawn; those of stcp920 have system copies (1, 5, 2) and broadcasts to several
cores (13)."""


@pytest.fixture(
    scope="module", params=CASES, ids=[f"{machine}-{seed}-{drawn.__name__}" for machine, seed, drawn in CASES]
)
def case(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Case:
    machine_name, seed, drawn = request.param
    rng = np.random.default_rng([seed, len(machine_name), 5])
    model = load_model(str(random_model(tmp_path_factory.mktemp("model"), rng)), BATCH)
    evaluator = Evaluator(model.network, machine_called(machine_name))
    for _ in range(100):
        choices, rules = drawn(evaluator, rng), random_rules(rng)
        if choices is not None and legal(evaluator, choices, rules):
            plan = evaluator.arrange(choices, rules)
            program = build_program(evaluator, choices, plan)
            return Case(model, evaluator.machine, program, time_program(program, evaluator.machine))
    raise AssertionError("no random schedule is legal")


def intervals(
    accesses: list[Access], write: bool, shared: bool
) -> dict[int, frozenset[tuple[str, int, int]]]:
    """By core of the instruction, the byte ranges that it reads or writes in shared memories or in those of cores."""
    found: dict[int, set[tuple[str, int, int]]] = defaultdict(set)
    for access in accesses:
        memory, owner = access.place
        if access.write is write and (owner < 0) is shared:
            found[access.position].add((f"{memory} {owner}", access.low, access.high))
    return {position: frozenset(ranges) for position, ranges in found.items()}


def size(ranges: frozenset[tuple[str, int, int]]) -> int:
    return sum(high - low for _, low, high in ranges)


def check_transfer(machine: Machine, kernel: Kernel, instruction: Instruction, launch: Launch) -> None:
    """Bytes read times destinations are the bytes written, and both are what the instruction counts."""
    accesses = instruction_accesses(machine, kernel, instruction, launch.bindings)
    counts = instruction_cost(machine, kernel.symbols, instruction).counts
    if instruction.op is Op.STORE:
        read, written = intervals(accesses, False, False), intervals(accesses, True, True)
        assert {core: size(ranges) for core, ranges in read.items()} == {
            core: size(ranges) for core, ranges in written.items()
        }
        assert sum(map(size, read.values())) == counts.l1_read_bytes
        assert sum(map(size, written.values())) == counts.dram_write_bytes + counts.llb_write_bytes
    elif instruction.op is Op.BROADCAST:
        read, written = intervals(accesses, False, False), intervals(accesses, True, False)
        for position, core in enumerate(instruction.cores):
            targets = instruction.value("targets", position)
            targets &= ~(1 << core) if "dst_addr" not in instruction.fields else -1
            source = size(read.get(position, frozenset())) if targets else 0
            assert source * targets.bit_count() == size(written.get(position, frozenset()))
        assert sum(map(size, written.values())) == counts.l1_write_bytes
        kept = sum(
            size(read[position])
            for position, core in enumerate(instruction.cores)
            if "dst_addr" in instruction.fields
            and instruction.value("targets", position) >> core & 1
            and position in read
        )
        assert counts.exchange_bytes == counts.l1_write_bytes - kept
    else:
        read, written = intervals(accesses, False, True), intervals(accesses, True, False)
        destinations: dict[frozenset[tuple[str, int, int]], int] = defaultdict(int)
        for position, ranges in read.items():
            destinations[ranges] += 1
            assert size(ranges) == size(written[position])
        total = sum(size(ranges) * cores for ranges, cores in destinations.items())
        assert total == sum(map(size, written.values())) == counts.l1_write_bytes + counts.weights_write_bytes
        assert sum(map(size, destinations)) == counts.dram_read_bytes + counts.llb_read_bytes


def test_bytes_read_times_destinations_are_bytes_written(case: Case) -> None:
    """Of every transfer, from its addresses: a range that several cores load is read once and written by each."""
    done = 0
    for kernel, launch in case.launches():
        for instruction in kernel.instructions:
            if instruction.op in TRANSFERS:
                check_transfer(case.machine, kernel, instruction, launch)
                done += 1
        for copy in launch.copies:
            counts = copy_cost(case.machine, copy).counts
            assert counts.dram_read_bytes == counts.llb_write_bytes == copy.size_bytes
    assert done


def test_transfers_and_engines_make_up_all_counts(case: Case) -> None:
    """Off-core bytes are those of transfers and copies alone, multiply-accumulates those of contractions; and no engine
    does more in the time that it is held than its peak."""
    moved = macs = 0
    peaks = {Op.CONV: case.machine.peak_macs_per_cycle, Op.MATMUL: case.machine.peak_macs_per_cycle}
    for kernel, launch in case.launches():
        for instruction in kernel.instructions:
            cost = instruction_cost(case.machine, kernel.symbols, instruction)
            counts, held = cost.counts, sum(cycles for _, cycles in cost.holds)
            assert counts.macs <= held * peaks.get(instruction.op, 0)
            assert counts.vector_operations <= held * case.machine.vector.lanes
            if instruction.op in TRANSFERS:
                moved += counts.off_core_bytes
                assert counts.macs == counts.vector_operations == 0
            else:
                assert counts.off_core_bytes == counts.exchange_bytes == 0
            macs += counts.macs
        moved += sum(2 * copy.size_bytes for copy in launch.copies)
    assert moved == case.timing.counts.off_core_bytes
    assert macs == case.timing.counts.macs


def holds(timing: Timing) -> dict[int, list[tuple[int, int]]]:
    """By resource, when it is held, in program order."""
    flat, found = timing.flat, defaultdict(list)
    for i, start in enumerate(timing.start.tolist()):
        for k in range(flat.resource_ptr[i], flat.resource_ptr[i + 1]):
            found[int(flat.resource_index[k])].append((start, start + int(flat.resource_hold[k])))
    return found


def test_busy_and_idle_time_of_every_engine_are_the_makespan(case: Case) -> None:
    makespan = case.timing.makespan_cycles
    for held in holds(case.timing).values():
        busy, idle, now = 0, 0, 0
        for start, stop in held:
            assert start >= now  # one after the other, in program order
            idle += start - now
            busy += stop - start
            now = stop
        idle += makespan - now
        assert now <= makespan
        assert busy + idle == makespan


def test_the_makespan_is_within_its_bounds(case: Case) -> None:
    """At least every engine's busy time, every link's bytes over its rate and the longest chain of waits; at most all
    durations one after the other."""
    timing, flat, links = case.timing, case.timing.flat, case.machine.links
    makespan, counts, table = timing.makespan_cycles, timing.counts, case.machine.table()
    busy = {resource: sum(stop - start for start, stop in held) for resource, held in holds(timing).items()}
    assert makespan >= max(busy.values())
    needed: dict[int, float] = defaultdict(
        float
    )  # cycles of a link, which both directions add to if it is shared
    needed[link(table.cores, DRAM_READ)] += counts.dram_read_bytes / dram_rate(table, 0)
    needed[dram_write(table)] += counts.dram_write_bytes / dram_rate(table, 1)
    needed[link(table.cores, LLB_READ)] += counts.llb_read_bytes / links.llb.read_bytes_per_cycle
    needed[llb_write(table)] += counts.llb_write_bytes / links.llb.write_bytes_per_cycle
    if case.machine.system_dma is not None:
        copied = sum(copy.size_bytes for launch in case.program.steps for copy in launch.copies)
        needed[link(table.cores, SYSTEM_DMA)] = copied / case.machine.system_dma.bytes_per_cycle
    for resource, cycles in needed.items():
        assert makespan >= busy.get(resource, 0) >= cycles
    received = sum(busy.get(exchange_in(table.cores, core), 0) for core in range(table.cores))
    assert makespan * table.cores >= received >= counts.exchange_bytes / links.exchange.bytes_per_cycle
    chain: list[int] = []
    for i, latency in enumerate(flat.latency.tolist()):
        waits = flat.wait_index[flat.wait_ptr[i] : flat.wait_ptr[i + 1]].tolist()
        chain.append(latency + max((chain[wait] for wait in waits), default=0))
    assert max(chain) <= makespan <= int(flat.latency.sum())


def test_deleting_any_wait_of_a_transitively_reduced_program_is_found(case: Case) -> None:
    """Mutation. Wait by wait: what the others and the queues imply is left out for good; of each that stays, the race
    checker finds the lack. Two kinds of waits are a matter of meaning and not of data: those for a launch, and those of
    system copies, which never start before the step before has ended."""
    program, whole = case.program, Checker(case.program, case.machine)
    at = implied = found = 0
    while mutant := next(islice(without_a_wait(program), at, None), None):
        name, fewer = mutant
        checker = Checker(fewer, case.machine)
        before = checker.finished_before()
        missing = [
            (number, checker.numbers[ref])
            for number, refs in enumerate(whole.refs)
            for ref in set(refs) - set(checker.refs[number])
        ]
        assert missing, name
        if all(before[number] >> target & 1 for number, target in missing):
            program, whole, implied = fewer, checker, implied + 1
            continue
        at += 1
        if not all(whole.ops[target] is Op.LAUNCH or whole.ops[number] is None for number, target in missing):
            assert checker.check(), name
            found += 1
    assert found
    assert find_races(program, case.machine) == []


def test_any_allowed_order_gives_the_same_bytes(case: Case) -> None:
    """The latest first, and 20 random orders."""
    simulator = FunctionalSimulator(case.program, case.machine, "fp32", program_weights(case.model.network))
    network = case.model.network
    rng = np.random.default_rng(3)
    image = network.tensors[0]
    values = rng.standard_normal((BATCH, image.channels, image.rows, image.columns)).astype(np.float32)
    orders = [None, latest_first(case.program), *(random_order(case.program, rng) for _ in range(20))]
    seen = set()
    for order in orders:
        simulator.clear()
        simulator.write_input(image.name, values)
        simulator.run(order)
        seen.add(simulator.read_output(network.tensors[network.outputs[0]].name).tobytes())
    assert len(seen) == 1
