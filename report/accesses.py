"""What every memory gives and takes in a schedule, and its energy: counts times the machine's table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hwmodel.machines.machine import Machine
from hwmodel.timing.energy import energy_parts_pj, inner_parts_pj
from report.table import Column, decimals_for, number, render
from scheduling.evaluator import Evaluation

_MEMORIES = ("dram", "llb", "l1", "weights", "accumulator")
_OPERATIONS = ("macs", "vector_operations")


@dataclass(frozen=True, slots=True)
class Access:
    """A memory, the links between cores (`exchange`) or what an engine does (`macs`, `vector_operations`).

    Bytes read and written, or operations, of all cores of a cluster, and picojoules; None where there is no such count.
    """

    name: str
    read_bytes: int | None
    write_bytes: int | None
    operations: int | None
    energy_pj: float


def accesses(evaluation: Evaluation, machine: Machine) -> tuple[Access, ...]:
    """From DRAM inwards to the registers, then the engines; energies sum to that of the evaluation."""
    counts, inner = evaluation.counts, evaluation.inner
    price = energy_parts_pj(counts, machine)
    found = []
    for name in _MEMORIES:
        if name == "llb" and machine.memories.llb is None:
            continue
        read, written = f"{name}_read_bytes", f"{name}_write_bytes"
        energy = price[read] + price[written]
        found.append(Access(name, getattr(counts, read), getattr(counts, written), None, energy))
    passed = Access("exchange", None, counts.exchange_bytes, None, price["exchange_bytes"])
    found.insert(len(found) - 3, passed)  # between the shared memories and those of a core
    levels = () if machine.levels is None else machine.levels.inner
    moved = zip(levels, inner.read_bytes, inner.write_bytes, strict=True)
    inner_price = inner_parts_pj(inner, machine)
    within = [Access(level.name, read, put, None, inner_price[level.name]) for level, read, put in moved]
    found += within[::-1]
    found += [Access(name, None, None, getattr(counts, name), price[name]) for name in _OPERATIONS]
    return tuple(found)


def access_table(found: Sequence[Access]) -> str:
    """One row for each, then the energy of all."""
    columns = (
        Column("memory,\nengine", left=True),
        Column("read\nMB"),
        Column("written\nMB"),
        Column("operations\nM"),
        Column("energy\nmJ"),
        Column("% of\nall"),
    )
    total = sum(each.energy_pj for each in found)
    decimals = decimals_for(total * 1e-9 / 100)
    rows = [
        [
            each.name.replace("_", " "),
            *(_millions(count) for count in (each.read_bytes, each.write_bytes, each.operations)),
            *_energy(each.energy_pj, total, decimals),
        ]
        for each in found
    ]
    return render(columns, [*rows, ["all", "", "", "", *_energy(total, total, decimals)]])


def access_summary(found: Sequence[Access]) -> dict[str, dict[str, float]]:
    """The same for summary.json, by name."""
    return {
        each.name: {
            key: value
            for key in ("read_bytes", "write_bytes", "operations", "energy_pj")
            if (value := getattr(each, key)) is not None
        }
        for each in found
    }


def _millions(count: int | None) -> str:
    return "" if count is None else number(count / 1e6, 3)


def _energy(energy_pj: float, total_pj: float, decimals: int) -> tuple[str, str]:
    return number(energy_pj * 1e-9, decimals), number(100 * energy_pj / total_pj, 1) if total_pj else "-"
