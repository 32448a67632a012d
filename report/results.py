"""Result: what one strategy's schedule costs, and the rates that follow from it."""

from __future__ import annotations

from dataclasses import dataclass

from hwmodel.machines.machine import Machine
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation
from scheduling.layer_order import Order
from scheduling.rules import Rules


@dataclass(frozen=True, slots=True)
class Result:
    """A schedule of `batch` images per cluster.

    `macs` are the useful multiply-accumulates of the batch: nothing that is computed twice. `bound` is the
    least that the objective's cost can be, `cost` what it is. `seconds` and `evaluations` (simulated
    schedules) are what finding it took.
    """

    strategy: str
    batch: int
    choices: tuple[Choice, ...]
    rules: Rules
    evaluation: Evaluation
    cost: float
    bound: float
    macs: int
    seconds: float
    evaluations: int
    layer_order: Order = ()

    def milliseconds(self, machine: Machine) -> float:
        """Time of one pass over the batch."""
        return self.evaluation.cycles / (machine.clock_ghz * 1e6)

    def images_per_second(self, machine: Machine) -> float:
        """Rate of the whole chip: every cluster runs its own batch."""
        return self.batch * machine.clusters / self.milliseconds(machine) * 1e3

    def matrix_utilisation(self, machine: Machine) -> float:
        """Useful MACs over what the matrix engines of a cluster could do in that time."""
        return self.macs / (self.evaluation.cycles * machine.peak_macs_per_cycle * machine.cores)

    def times_faster(self, other: Result) -> float:
        """How many times more images in the same time than `other`."""
        ours, theirs = self.batch / self.evaluation.cycles, other.batch / other.evaluation.cycles
        return ours / theirs

    @property
    def percent_of_bound(self) -> float:
        """100 where the schedule costs no more than the bound, less the more it costs."""
        return 100 * self.bound / self.cost
