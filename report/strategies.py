"""The table of strategies: one row for each schedule that was simulated."""

from __future__ import annotations

from collections.abc import Sequence

from hwmodel.machines.machine import Machine
from report.results import Result
from report.table import Column, counted, decimals_for, number, render

_COLUMNS = (
    Column("strategy", left=True),
    Column("cycles"),
    Column("ms"),
    Column("images/s\nwhole chip"),
    Column("DRAM\nMB"),
    Column("LLB\nMB"),
    Column("exchange\nMB"),
    Column("energy\nmJ"),
    Column("kernels"),
    Column("matrix\n% used"),
    Column("times\nlayerwise"),
    Column("% of\nbound"),
    Column("seconds"),
    Column("schedules\nsimulated"),
)


def strategy_table(results: Sequence[Result], baseline: Result, machine: Machine, chosen: str) -> str:
    """Rows in the given order, the chosen strategy marked with a star; `baseline` is layer by layer."""
    rows = []
    energies_mj = [result.evaluation.energy_pj * 1e-9 for result in results]
    decimals = decimals_for(min(energies_mj))
    for result, energy_mj in zip(results, energies_mj, strict=True):
        counts = result.evaluation.counts
        rows.append(
            [
                f"{result.strategy} *" if result.strategy == chosen else result.strategy,
                number(result.evaluation.cycles),
                number(result.milliseconds(machine), 3),
                number(result.images_per_second(machine)),
                number(counts.dram_bytes / 1e6, 1),
                number(counts.llb_bytes / 1e6, 1),
                number(counts.exchange_bytes / 1e6, 1),
                number(energy_mj, decimals),
                number(result.evaluation.kernels),
                number(100 * result.matrix_utilisation(machine), 1),
                number(result.times_faster(baseline), 2),
                number(result.percent_of_bound, 1),
                number(result.seconds, 2),
                number(result.evaluations),
            ]
        )
    return render(_COLUMNS, rows)


def footnotes(results: Sequence[Result], machine: Machine, batch: int) -> list[str]:
    """What a reader has to know about the numbers of the table."""
    notes = [
        f"Cycles, bytes and energy are those of one cluster of {machine.name} for its {counted(batch, 'image')}."
    ]
    others = sorted({(result.strategy, result.batch) for result in results if result.batch != batch})
    notes += [f"{name} runs {counted(images, 'image')}; its rates are comparable." for name, images in others]
    notes.append("Times layerwise compares images per second. MB are 10^6 bytes.")
    if any(item.startswith(("energy", "everything")) for item in machine.assumed):
        notes.append(f"Energies are assumed, not measured: see the machine file of {machine.name}.")
    return notes
