"""Schedules neural networks on multi-core accelerators so that data stays on core.

The names that a user needs, each imported when it is first asked for:

    model = oncore.load_model("resnet50", batch=16)
    evaluator = oncore.Evaluator(model.network, oncore.load_machine("stcp920"))
    problem = oncore.Problem(evaluator, oncore.CandidateSpace(evaluator))
    solution = oncore.solve("graphturbo", problem)

Attention in groups of heads: `oncore.with_head_groups(model, n)` before the evaluator, where the n that
`--head-groups auto` takes is

    oncore.best_head_groups(oncore.tried_head_groups(model.network, machine, oncore.Objective.LATENCY, budget=300))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from graph.files.zoo import zoo_names
    from graph.head_groups import with_head_groups
    from graph.importer import load_model
    from graph.model import Model
    from hwmodel.functional.simulator import FunctionalSimulator
    from hwmodel.machines.machine import Machine, load_machine, machine_names
    from hwmodel.programs.kernels import load_kernels, save_kernels
    from hwmodel.timing.flatten import time_program
    from report.verify import verify
    from scheduling.bound import latency_bound
    from scheduling.candidates.space import CandidateSpace
    from scheduling.choice import Choice
    from scheduling.emission.program import program_weights
    from scheduling.evaluator import Evaluator
    from scheduling.objective import Objective
    from scheduling.problem import Problem, Solution
    from scheduling.rules import Rules
    from scheduling.schedule import make_schedule
    from scheduling.schedule_file import Schedule, load_schedule, save_schedule
    from scheduling.stored.replay import schedule_to_program
    from scheduling.strategies import STRATEGIES, solve, strategy_names
    from scheduling.strategies.head_groups import best_head_groups, tried_head_groups

__all__ = [
    "STRATEGIES",
    "CandidateSpace",
    "Choice",
    "Evaluator",
    "FunctionalSimulator",
    "Machine",
    "Model",
    "Objective",
    "Problem",
    "Rules",
    "Schedule",
    "Solution",
    "best_head_groups",
    "latency_bound",
    "load_kernels",
    "load_machine",
    "load_model",
    "load_schedule",
    "machine_names",
    "make_schedule",
    "program_weights",
    "save_kernels",
    "save_schedule",
    "schedule_to_program",
    "solve",
    "strategy_names",
    "time_program",
    "tried_head_groups",
    "verify",
    "with_head_groups",
    "zoo_names",
]

_HOMES = {
    "STRATEGIES": "scheduling.strategies",
    "CandidateSpace": "scheduling.candidates.space",
    "Choice": "scheduling.choice",
    "Evaluator": "scheduling.evaluator",
    "FunctionalSimulator": "hwmodel.functional.simulator",
    "Machine": "hwmodel.machines.machine",
    "Model": "graph.model",
    "Objective": "scheduling.objective",
    "Problem": "scheduling.problem",
    "Rules": "scheduling.rules",
    "Schedule": "scheduling.schedule_file",
    "Solution": "scheduling.problem",
    "best_head_groups": "scheduling.strategies.head_groups",
    "latency_bound": "scheduling.bound",
    "load_kernels": "hwmodel.programs.kernels",
    "load_machine": "hwmodel.machines.machine",
    "load_model": "graph.importer",
    "load_schedule": "scheduling.schedule_file",
    "machine_names": "hwmodel.machines.machine",
    "make_schedule": "scheduling.schedule",
    "program_weights": "scheduling.emission.program",
    "save_kernels": "hwmodel.programs.kernels",
    "save_schedule": "scheduling.schedule_file",
    "schedule_to_program": "scheduling.stored.replay",
    "solve": "scheduling.strategies",
    "strategy_names": "scheduling.strategies",
    "time_program": "hwmodel.timing.flatten",
    "tried_head_groups": "scheduling.strategies.head_groups",
    "verify": "report.verify",
    "with_head_groups": "graph.head_groups",
    "zoo_names": "graph.files.zoo",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module 'oncore' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
