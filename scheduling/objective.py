"""What a schedule is judged by: latency, off-core bytes, energy or the energy-delay product."""

from __future__ import annotations

from enum import StrEnum

from scheduling.evaluator import Evaluation


class Objective(StrEnum):
    """The cost to be made small; every cost is positive."""

    LATENCY = "latency"
    OFF_CORE = "off_core"
    ENERGY = "energy"
    EDP = "edp"

    def cost(self, evaluation: Evaluation) -> float:
        """Cycles, bytes, pJ, or pJ x cycles."""
        if self is Objective.LATENCY:
            return float(evaluation.cycles)
        if self is Objective.OFF_CORE:
            return float(evaluation.off_core_bytes)
        if self is Objective.ENERGY:
            return evaluation.energy_pj
        return evaluation.energy_pj * evaluation.cycles
