"""Making problems: a network on a machine, for one objective, ready to be scheduled."""

from __future__ import annotations

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from scheduling.problem import Problem


def make_problem(
    network: Network | str,
    machine: Machine | str = "stcp920",
    batch: int = 1,
    objective: Objective | str = Objective.LATENCY,
) -> Problem:
    """A problem of a network, or a zoo name or path of one at this batch, on a machine or the name of one."""
    if isinstance(network, str):
        network = load_model(network, batch=batch, weights=False).network
    if isinstance(machine, str):
        machine = load_machine(machine)
    evaluator = Evaluator(network, machine)
    return Problem(evaluator, CandidateSpace(evaluator), Objective(objective))
