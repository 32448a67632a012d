"""What --list prints: the names that the other options take."""

from __future__ import annotations

from graph.files.zoo import file_names
from graph.models import describe, model_names
from hwmodel.machines.machine import load_machine, machine_names
from report.table import Column, render
from scheduling.refinements import ALL, REFINEMENTS
from scheduling.strategies import strategy_names
from scripts.options import LEARNED, OBJECTIVES


def listing() -> str:
    """Models, machines, strategies and objectives."""
    machines = [load_machine(name) for name in machine_names()]
    return "\n".join(
        [
            render(
                [Column("models (or the path of an ONNX file)", left=True), Column("from", left=True)],
                [[name, "the onnx package"] for name in file_names()]
                + [list(_described(name)) for name in model_names()],
            ),
            render(
                [Column("machines (or a path)", left=True), Column("description", left=True)],
                [[machine.name, machine.description] for machine in machines],
            ),
            render([Column("strategies", left=True)], [[name] for name in (*strategy_names(), LEARNED)]),
            render(
                [Column("refinements (STRATEGY+NAME)", left=True), Column("of what", left=True)],
                [[name, refinement.decides] for name, refinement in REFINEMENTS.items()]
                + [[ALL, "all that fit the machine, in this order"]],
            ),
            render([Column("objectives", left=True)], [[name] for name in OBJECTIVES]),
        ]
    )


def _described(name: str) -> tuple[str, str]:
    """A model with its parameters, and where it was published."""
    model, _, source = describe(name).partition(" (")
    return model, source.removesuffix(")")
