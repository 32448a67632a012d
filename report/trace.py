"""The timeline of a program as a Chrome trace, which Perfetto and chrome://tracing open.

A process per core with a thread per engine, one for the shared links and the system DMA, one for the kernels
and the LLB's fill. Times are nanoseconds of the machine's clock.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Program
from hwmodel.timing.flatten import Timing
from hwmodel.timing.resources import resource_count, resource_name

MOST_SLICES = 400_000
"""More make a file that browsers struggle with; then whole cores are left out, the last ones first."""

MOST_ARROWS = 20_000

_SCHEDULE, _SHARED, _FIRST_CORE = 0, 1, 2


@dataclass(frozen=True, slots=True)
class Labels:
    """Names for the slices: of the kernels, step by step, and of a kernel's instructions where known."""

    steps: Sequence[str]
    instructions: Mapping[str, Sequence[str]]


Event = dict[str, object]


def write_trace(
    path: Path,
    program: Program,
    machine: Machine,
    timing: Timing,
    labels: Labels,
    llb_bytes: Sequence[int],
) -> None:
    """Write the trace of a timed program; `llb_bytes` are those in use during each step.

    The same program gives the same bytes.
    """
    trace = _Trace(program, machine, timing, labels)
    with path.open("w", encoding="utf-8", newline="\n") as file:
        file.write('{"displayTimeUnit":"ns","otherData":')
        file.write(json.dumps(trace.about(), separators=(",", ":")))
        file.write(',"traceEvents":[\n')
        separator = ""
        for event in trace.events(llb_bytes):
            file.write(separator + json.dumps(event, separators=(",", ":")))
            separator = ",\n"
        file.write("\n]}\n")


class _Trace:
    def __init__(self, program: Program, machine: Machine, timing: Timing, labels: Labels) -> None:
        self._program = program
        self._machine = machine
        self._timing = timing
        self._labels = labels
        flat = timing.flat
        self._owner = np.repeat(np.arange(len(flat.latency)), np.diff(flat.resource_ptr))
        held = flat.resource_hold > 0
        counts = np.bincount(flat.resource_index[held], minlength=resource_count(machine.cores))
        self._kept = self._keep(counts)

    def _keep(self, counts: np.ndarray[tuple[int], np.dtype[np.int64]]) -> dict[int, tuple[int, int]]:
        """(process, thread) of every resource in use, without the cores for which there is no room."""
        cores = self._machine.cores
        places: dict[int, tuple[int, int]] = {}
        of_core: dict[int, list[int]] = {core: [] for core in range(cores)}
        for resource in np.flatnonzero(counts).tolist():
            name = resource_name(resource, cores)
            if name.startswith("core "):
                of_core[int(name.split()[1])].append(resource)
            else:
                places[resource] = (_SHARED, len(places))
        total = sum(int(counts[resource]) for resource in places)
        for core, resources in of_core.items():
            total += sum(int(counts[resource]) for resource in resources)
            if total > MOST_SLICES:
                break
            for thread, resource in enumerate(resources):
                places[resource] = (_FIRST_CORE + core, thread)
        return places

    def about(self) -> dict[str, object]:
        """What the file says about itself."""
        shown = {process for process, _ in self._kept.values() if process >= _FIRST_CORE}
        return {
            "machine": self._machine.name,
            "cycles": self._timing.makespan_cycles,
            "clock_ghz": self._machine.clock_ghz,
            "cores": self._machine.cores,
            "cores_shown": len(shown),
        }

    def events(self, llb_bytes: Sequence[int]) -> Iterator[Event]:
        """All events: names first."""
        yield from self._names()
        yield from self._kernels(llb_bytes)
        yield from self._slices()
        yield from self._arrows()

    def _names(self) -> Iterator[Event]:
        yield _name("process_name", _SCHEDULE, 0, "schedule")
        yield _name("thread_name", _SCHEDULE, 0, "kernels")
        yield _name("process_name", _SHARED, 0, "shared links")
        for resource, (process, thread) in self._kept.items():
            name = resource_name(resource, self._machine.cores)
            if process >= _FIRST_CORE:
                core = f"core {process - _FIRST_CORE}"
                if thread == 0:
                    yield _name("process_name", process, 0, core)
                name = name.removeprefix(core).strip()
            yield _name("thread_name", process, thread, name)

    def _kernels(self, llb_bytes: Sequence[int]) -> Iterator[Event]:
        """A slice for each step: the time by which it makes the schedule longer."""
        timing, end = self._timing, 0
        latest = [0] * len(self._program.steps)
        for position, finish in zip(timing.flat.positions, timing.finish.tolist(), strict=True):
            latest[position.step] = max(latest[position.step], finish)
        for step, (finish, used) in enumerate(zip(latest, llb_bytes, strict=True)):
            if self._machine.memories.llb is not None:
                yield {
                    "ph": "C",
                    "pid": _SCHEDULE,
                    "name": "LLB bytes in use",
                    "ts": self._time(end),
                    "args": {"bytes": int(used)},
                }
            if finish > end:
                launch = self._program.steps[step]
                yield {
                    **self._span(self._labels.steps[step], _SCHEDULE, 0, end, finish),
                    "args": {"step": step, "kernel": launch.kernel},
                }
                end = finish

    def _slices(self) -> Iterator[Event]:
        flat, starts = self._timing.flat, self._timing.start.tolist()
        rows = zip(
            self._owner.tolist(), flat.resource_index.tolist(), flat.resource_hold.tolist(), strict=True
        )
        for index, resource, hold in rows:
            place = self._kept.get(resource)
            if place is not None and hold > 0:
                start = starts[index]
                yield self._span(self._instruction(index), *place, start, start + hold)

    def _arrows(self) -> Iterator[Event]:
        """Waits of one step for another, from slice to slice."""
        flat, starts = self._timing.flat, self._timing.start.tolist()
        drawn = 0
        for index, position in enumerate(flat.positions):
            for source in flat.wait_index[flat.wait_ptr[index] : flat.wait_ptr[index + 1]].tolist():
                if flat.positions[source].step == position.step:
                    continue
                tail, head = self._place(source), self._place(index)
                if tail is None or head is None or drawn == MOST_ARROWS:
                    continue
                drawn += 1
                common = {"cat": "wait", "name": "wait", "id": drawn}
                yield {
                    **common,
                    "ph": "s",
                    "pid": tail[0],
                    "tid": tail[1],
                    "ts": self._time(starts[source]),
                }
                yield {
                    **common,
                    "ph": "f",
                    "bp": "e",
                    "pid": head[0],
                    "tid": head[1],
                    "ts": self._time(starts[index]),
                }

    def _place(self, index: int) -> tuple[int, int] | None:
        """Where an instruction's first slice is drawn."""
        flat = self._timing.flat
        for k in range(int(flat.resource_ptr[index]), int(flat.resource_ptr[index + 1])):
            place = self._kept.get(int(flat.resource_index[k]))
            if place is not None and flat.resource_hold[k] > 0:
                return place
        return None

    def _instruction(self, index: int) -> str:
        at = self._timing.flat.positions[index]
        name = self._program.steps[at.step].kernel
        instructions = self._program.kernels[name].instructions
        if at.index >= len(instructions):
            return "prefetch of weights"
        known = self._labels.instructions.get(name)
        op = instructions[at.index].op.name
        return f"{op} {known[at.index]}" if known and known[at.index] else op

    def _span(self, name: str, process: int, thread: int, start: int, stop: int) -> Event:
        begin = self._nanoseconds(start)
        length = self._nanoseconds(stop) - begin
        return {
            "ph": "X",
            "pid": process,
            "tid": thread,
            "ts": begin / 1000,
            "dur": length / 1000,
            "name": name,
        }

    def _nanoseconds(self, cycles: int) -> int:
        return round(cycles / self._machine.clock_ghz)

    def _time(self, cycles: int) -> float:
        """Microseconds, as the format wants them."""
        return self._nanoseconds(cycles) / 1000


def _name(kind: str, process: int, thread: int, name: str) -> Event:
    return {"ph": "M", "pid": process, "tid": thread, "name": kind, "args": {"name": name}}
