"""Refinements: each makes a schedule that some strategy found better by decisions of one kind (docs/strategies.md).

A refinement never gives a schedule that costs more than the one that it is given, simulates at most the problem's
budget, leaves alone what it cannot change, and is deterministic. In a strategy's name they follow behind `+`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

from hwmodel.machines.machine import Machine
from scheduling.problem import Problem, Refine, State
from scheduling.refinements.bindings import with_bindings
from scheduling.refinements.channels import with_channels
from scheduling.refinements.configurations import with_configurations
from scheduling.refinements.cores import with_cores
from scheduling.refinements.prefetch import with_prefetch
from scheduling.refinements.rings import with_rings


def _any(_: Machine) -> bool:
    return True


def _several_cores(machine: Machine) -> bool:
    return machine.cores > 1


@dataclass(frozen=True, slots=True)
class Refinement:
    """A refinement, what it decides, and which machines it can decide that for."""

    refine: Refine
    decides: str
    fits: Callable[[Machine], bool] = _any
    needs: str = ""
    """What machines lack that it does not fit."""


REFINEMENTS: dict[str, Refinement] = {
    "configurations": Refinement(
        with_configurations, "the configuration of every kernel, by a learned ranker"
    ),
    "bindings": Refinement(
        with_bindings,
        "layers with bindings of their own, and sub-graphs joined to one that keeps both bindings",
        _several_cores,
        "several cores",
    ),
    "rings": Refinement(with_rings, "outputs of sub-graphs in rings of channels"),
    "channels": Refinement(with_channels, "sub-graphs in slices over channels, which may be heads"),
    "cores": Refinement(
        with_cores,
        "how many cores each sub-graph has, and which run side by side in one launch",
        _several_cores,
        "several cores",
    ),
    "prefetch": Refinement(
        with_prefetch, "how far ahead weights are loaded, whether they stay, and the order of instances"
    ),
}
"""By name."""

ALL = "all"
"""In place of names of refinements: all that fit the machine."""

ONE_BY_ONE = {"configurations": 3, "bindings": 3, "rings": 1, "channels": 1, "cores": 1, "prefetch": 1}
"""The order in which `all` takes refinements where a launch has the machine to itself, and how much of a budget each
gets beside others: more where several schedules are simulated for each sub-graph."""

SIDE_BY_SIDE = {"channels": 2, "cores": 4, "configurations": 6, "bindings": 1, "rings": 1, "prefetch": 1}
"""The same where kernels run side by side: `cores` decides the sub-graphs anew, so what changes them one by one comes
behind it; in a program they are many, and each keeps its cores, so few bindings of layers are left to try."""


def weights(machine: Machine) -> dict[str, int]:
    """The refinements that fit a machine in the order in which `all` takes them, each with its share of a budget beside
    others."""
    order = SIDE_BY_SIDE if machine.concurrent_kernels else ONE_BY_ONE
    return {name: weight for name, weight in order.items() if REFINEMENTS[name].fits(machine)}


def refined(problem: Problem, state: State, names: Sequence[str]) -> State:
    """A schedule after these refinements, one after the other: each may simulate a share, by its weight, of what the
    ones before left of the problem's budget. One that may not simulate the given schedule and another is left out."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    weight = weights(evaluator.machine)
    for place, name in enumerate(names):
        left = last - evaluator.evaluations
        share = left * weight[name] // sum(weight[other] for other in names[place:])
        if share >= 2:
            state = REFINEMENTS[name].refine(replace(problem, budget=share), state)
    return state
