"""summary.json: what a run found, for programs to read."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from graph.network import Network
from hwmodel.machines.machine import Machine
from report.accesses import access_summary, accesses
from report.breakdown import Breakdown, breakdown_summary
from report.output import TOOL
from report.results import Result
from report.utilisation import Utilisation, utilisation_summary
from report.verify_result import Verification
from scheduling.bound import Bound
from scheduling.objective import Objective

FORMAT_VERSION = 1


def summary(
    network: Network,
    head_groups: int,
    machine: Machine,
    objective: Objective,
    bound: Bound,
    results: Sequence[Result],
    chosen: Result,
    reason: str,
    verification: Verification | None,
    breakdown: Breakdown,
    busy: Utilisation,
) -> dict[str, object]:
    """The content of summary.json; `docs/command-line.md` says what each key means. `head_groups` is how many groups of
    heads the network's attention is cut into.
    """
    return {
        "tool": TOOL,
        "format_version": FORMAT_VERSION,
        "model": network.name,
        "model_hash": network.model_hash,
        "head_groups": head_groups,
        "machine": machine.name,
        "batch": chosen.batch,
        "objective": objective.value,
        "bound_cycles": int(bound.cycles),
        "bound_off_core_bytes": int(bound.off_core_bytes),
        "bound_energy_pj": float(bound.energy_pj),
        "chosen": chosen.strategy,
        "reason": reason,
        "max_relative_error": None if verification is None else verification.max_relative_error,
        "verification": {}
        if verification is None
        else {
            check.arithmetic: {
                "max_relative_error": check.max_relative_error,
                "tolerance": check.tolerance,
                "storage_error": check.storage_error,
                "worst_tensor": check.worst_tensor,
                "tensors": check.tensors,
            }
            for check in verification.checks
        },
        "breakdown": breakdown_summary(breakdown),
        "utilisation": utilisation_summary(busy),
        "accesses": access_summary(accesses(chosen.evaluation, machine)),
        "strategies": {result.strategy: _row(result, machine) for result in results},
    }


def write_summary(path: Path, content: dict[str, object]) -> None:
    """Write summary.json."""
    path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")


def _row(result: Result, machine: Machine) -> dict[str, object]:
    counts = result.evaluation.counts
    return {
        "batch": result.batch,
        "cycles": result.evaluation.cycles,
        "images_per_second": result.images_per_second(machine),
        "dram_bytes": counts.dram_bytes,
        "llb_bytes": counts.llb_bytes,
        "off_core_bytes": counts.off_core_bytes,
        "exchange_bytes": counts.exchange_bytes,
        "energy_pj": result.evaluation.energy_pj,
        **_inner(result, machine),
        "kernels": result.evaluation.kernels,
        "matrix_utilisation": result.matrix_utilisation(machine),
        "percent_of_bound": result.percent_of_bound,
        "seconds": result.seconds,
        "evaluations": result.evaluations,
    }


def _inner(result: Result, machine: Machine) -> dict[str, object]:
    """What the inner memories move, where the machine has some."""
    found = result.evaluation.inner
    if machine.levels is None:
        return {}
    moved = zip(machine.levels.inner, found.read_bytes, found.write_bytes, strict=True)
    return {
        "inner_memories": {
            level.name: {"read_bytes": read, "write_bytes": written} for level, read, written in moved
        },
        "port_stall_cycles": found.port_stall_cycles,
    }
