"""Refinements: each makes a schedule that some strategy found better by decisions of one kind (docs/strategies.md).

A refinement never gives a schedule that costs more than the one that it is given, simulates at most the problem's
budget, leaves alone what it cannot change, and is deterministic. In a strategy's name they follow behind `+`.
"""

from __future__ import annotations

from collections.abc import Callable
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
    weight: int = 1
    """How much of a budget it gets beside others."""


EACH_SUB_GRAPH = 3
"""The weight of refinements that simulate several schedules for each sub-graph."""

REFINEMENTS: dict[str, Refinement] = {
    "configurations": Refinement(
        with_configurations, "the configuration of every kernel, by a learned ranker", weight=EACH_SUB_GRAPH
    ),
    "bindings": Refinement(
        with_bindings,
        "layers with bindings of their own, and sub-graphs joined to one that keeps both bindings",
        _several_cores,
        "several cores",
        EACH_SUB_GRAPH,
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
"""By name, in the order in which `all` takes them."""

ALL = "all"
"""In place of names of refinements: all that fit the machine."""


def refined(problem: Problem, state: State, names: tuple[str, ...]) -> State:
    """A schedule after these refinements, one after the other: each may simulate a share, by its weight, of what the
    ones before left of the problem's budget. One that may not simulate the given schedule and another is left out."""
    evaluator = problem.evaluator
    last = evaluator.evaluations + problem.budget
    for place, name in enumerate(names):
        weights = [REFINEMENTS[other].weight for other in names[place:]]
        share = (last - evaluator.evaluations) * weights[0] // sum(weights)
        if share >= 2:
            state = REFINEMENTS[name].refine(replace(problem, budget=share), state)
    return state
