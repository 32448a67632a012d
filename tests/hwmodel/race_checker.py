"""A naive checker of programs: accesses stay in their memory, and none that conflict may overlap in time.

Two instructions conflict where they touch the same byte of a memory and one of them writes it. They must be
ordered by waits, through others or not, or by a queue that both go through: a DMA queue, a vector engine or
the system DMA holds an instruction until it has finished. A matrix engine lets the next one start while the
last results drain, so it orders what two CONVs or MATMULs do to the accumulator, and that they finish in order,
no more.
"""

from __future__ import annotations

from collections import defaultdict

from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Instruction, Op, Program, Ref
from tests.hwmodel.accesses import Access, Place, instruction_accesses, merged

# Operations of the matrix engine.
_DRAINING = (Op.CONV, Op.MATMUL)


class Checker:
    """The flattened program, and the accesses of each instruction, numbered in program order."""

    def __init__(self, program: Program, machine: Machine) -> None:
        self.machine = machine
        self.program = program
        self.names: list[str] = []
        self.ops: list[Op | None] = []
        self.cores: list[tuple[int, ...]] = []
        self.refs: list[list[Ref]] = []
        self.accesses: list[list[Access]] = []
        self.numbers: dict[Ref, int] = {}
        self.findings: list[str] = []
        for step, number in _program_order(program):
            self._add(step, number)

    def _add(self, step: int, number: int) -> None:
        """Note instruction `number` of a step; from the number of instructions on, a copy."""
        launch = self.program.steps[step]
        kernel = self.program.kernels[launch.kernel]
        self.numbers[Ref(step, number)] = len(self.names)
        if number >= len(kernel.instructions):
            copy = launch.copies[number - len(kernel.instructions)]
            self.names.append(f"step {step} copy {number - len(kernel.instructions)}")
            self.ops.append(None)
            self.cores.append(())
            self.refs.append(list(copy.waits))
            dram, llb = copy.dram_address, copy.llb_address
            self.accesses.append(
                [
                    Access(("dram", -1), dram, dram + copy.size_bytes, copy.to_dram, 0),
                    Access(("llb", -1), llb, llb + copy.size_bytes, not copy.to_dram, 0),
                ]
                if copy.size_bytes
                else []
            )
            return
        instruction = _on_cores(kernel.instructions[number], launch.first_core)
        self.names.append(f"step {step} {kernel.name} {number} {instruction.op.name}")
        self.ops.append(instruction.op)
        started = instruction.op is Op.LAUNCH and launch.launch_cores
        self.cores.append(started if started else instruction.cores)
        refs = [Ref(step, wait) for wait in instruction.waits]
        for event in instruction.events:
            refs += launch.events[event]
        if all(before.op is not Op.LAUNCH for before in kernel.instructions[:number]):
            refs += launch.waits
        self.refs.append(refs)
        self.accesses.append(instruction_accesses(self.machine, kernel, instruction, launch.bindings))

    def check(self) -> list[str]:
        """What is wrong with the program, a line for each finding."""
        self._bounds()
        self._inside_instructions()
        before = self.finished_before()
        by_place: dict[Place, list[tuple[int, int, int, bool]]] = defaultdict(list)
        for number, accesses in enumerate(self.accesses):
            groups: dict[tuple[Place, bool], list[tuple[int, int]]] = defaultdict(list)
            for access in accesses:
                groups[access.place, access.write].append((access.low, access.high))
            for (place, write), intervals in groups.items():
                by_place[place] += [(low, high, number, write) for low, high in merged(iter(intervals))]
        for place, items in sorted(by_place.items()):
            self._conflicts(place, items, before)
        return self.findings

    def _bounds(self) -> None:
        memories = self.machine.memories
        sizes = {
            "l1": self.machine.l1_bytes,
            "weights": self.machine.weights_bytes,
            "accumulator": memories.accumulator.bytes,
            "llb": 0 if memories.llb is None else memories.llb.bytes,
            "dram": 0,
        }
        constant: list[tuple[int, int]] = []
        for buffer in self.program.buffers:
            size = self.machine.element_bytes
            for extent in buffer.shape:
                size *= extent
            sizes["dram"] = max(sizes["dram"], buffer.address + size)
            if buffer.role in ("input", "weight", "parameter", "constant", "table"):
                constant.append((buffer.address, buffer.address + size))
        for name, accesses in zip(self.names, self.accesses, strict=True):
            for access in accesses:
                memory, core = access.place
                where = f"{name}: bytes {access.low} to {access.high} of {memory} {core if core >= 0 else ''}"
                if access.low < 0 or access.high > sizes[memory] or core >= self.machine.cores:
                    self.findings.append(f"{where} are not in its {sizes[memory]}")
                if memory == "dram" and access.write:
                    for low, high in constant:
                        if access.low < high and low < access.high:
                            self.findings.append(f"{where} are written and hold an input or a weight")

    def _inside_instructions(self) -> None:
        """Cores run one instruction at the same time: what one writes no other may touch."""
        for name, accesses in zip(self.names, self.accesses, strict=True):
            by_place: dict[Place, list[Access]] = defaultdict(list)
            for access in accesses:
                by_place[access.place].append(access)
            for place, items in by_place.items():
                if len({access.position for access in items}) == 1 or not any(a.write for a in items):
                    continue
                at = _shared_byte(items)
                if at is not None:
                    self.findings.append(f"{name}: two of its cores touch byte {at} of {place}")

    def finished_before(self) -> list[int]:
        """For each instruction the bit set of those that have finished when it starts."""
        started: list[int] = []  # finished when i starts
        finished: list[int] = []  # finished when i finishes
        last: dict[tuple[str, int], int] = {}
        for number, (op, cores) in enumerate(zip(self.ops, self.cores, strict=True)):
            start, finish = 0, 1 << number
            for ref in self.refs[number]:
                other = self.numbers.get(ref, number)
                if other >= number:
                    self.findings.append(f"{self.names[number]} waits for {ref}, which is not before it")
                else:
                    start |= finished[other]
            for queue in _queues(op, cores):
                if queue in last:
                    other = last[queue]
                    if self.ops[other] in _DRAINING:
                        start |= started[other]
                        if op in _DRAINING:
                            finish |= finished[other]
                    else:
                        start |= finished[other]
                last[queue] = number
            started.append(start)
            finished.append(start | finish)
        return started

    def _conflicts(self, place: Place, items: list[tuple[int, int, int, bool]], before: list[int]) -> None:
        """Sweep over the addresses, with the sets of readers and writers between every two borders."""
        borders: dict[int, list[tuple[int, bool]]] = defaultdict(list)
        for low, high, number, write in items:
            borders[low].append((number, write))
            borders[high].append((number, write))
        active = {True: 0, False: 0}
        seen: set[tuple[int, int]] = set()
        reported: set[tuple[int, int]] = set()
        for low in sorted(borders):
            for number, write in borders[low]:
                active[write] ^= 1 << number
            key = (active[True], active[False])
            if active[True] == 0 or key in seen:
                continue
            seen.add(key)
            for first, second in self._unordered(*key, before):
                if (first, second) in reported or self._drains_in_order(place, first, second):
                    continue
                reported.add((first, second))
                self.findings.append(
                    f"{self.names[first]} and {self.names[second]} may overlap in time, and touch byte {low} "
                    f"of {place[0]} {place[1] if place[1] >= 0 else ''}"
                )

    def _unordered(self, writers: int, readers: int, before: list[int]) -> list[tuple[int, int]]:
        everyone = writers | readers
        pairs = []
        for second in _bits(everyone):
            others = everyone if writers >> second & 1 else writers
            missing = others & ((1 << second) - 1) & ~before[second]
            pairs += [(first, second) for first in _bits(missing)]
        return pairs

    def _drains_in_order(self, place: Place, first: int, second: int) -> bool:
        both = self.ops[first] in _DRAINING and self.ops[second] in _DRAINING
        return both and place[0] == "accumulator" and place[1] in self.cores[first]


def _program_order(program: Program) -> list[tuple[int, int]]:
    """(step, instruction or copy) of everything in program order."""
    steps = []
    for launch in program.steps:
        count = len(program.kernels[launch.kernel].instructions)
        found = []
        for index in range(count + 1):
            found += [count + at for at, copy in enumerate(launch.copies) if copy.position == index]
            found += [index] if index < count else []
        steps.append(found)
    if not program.order:
        return [(step, number) for step, found in enumerate(steps) for number in found]
    left = [iter(found) for found in steps]
    order = [(run.step, next(left[run.step])) for run in program.order for _ in range(run.count)]
    if sorted(order) != sorted((step, number) for step, found in enumerate(steps) for number in found):
        raise ValueError("the order is not one of all instructions and copies")
    return order


def _on_cores(instruction: Instruction, first: int) -> Instruction:
    fields = dict(instruction.fields)
    if "targets" in fields:
        fields["targets"] = tuple(mask << first for mask in fields["targets"])
    return Instruction(
        instruction.op,
        tuple(core + first for core in instruction.cores),
        fields,
        instruction.waits,
        instruction.events,
    )


def _shared_byte(items: list[Access]) -> int | None:
    """The first byte that one core writes and another touches."""
    active: list[Access] = []
    for access in sorted(items, key=lambda each: each.low):
        active = [other for other in active if other.high > access.low]
        for other in active:
            if other.position != access.position and (other.write or access.write):
                return access.low
        active.append(access)
    return None


def _bits(number: int) -> list[int]:
    found = []
    while number:
        lowest = number & -number
        found.append(lowest.bit_length() - 1)
        number ^= lowest
    return found


def _queues(op: Op | None, cores: tuple[int, ...]) -> list[tuple[str, int]]:
    if op is None:
        return [("system", -1)]
    if op is Op.LAUNCH:
        return [(engine, core) for core in cores for engine in ("matrix", "vector")]
    engine = "matrix" if op in _DRAINING else "vector" if op is Op.VECTOR else "dma"
    return [(engine, core) for core in cores]


def find_races(program: Program, machine: Machine) -> list[str]:
    """What is wrong with a program on a machine: accesses out of place, and conflicts without an order."""
    return Checker(program, machine).check()
