"""What --list prints: the names that the other options take."""

from __future__ import annotations

from graph.files.zoo import file_names
from graph.models import describe, model_names
from hwmodel.machines.machine import load_machine, machine_names
from report.table import Column, render
from scheduling.refinements import ALL, REFINEMENTS
from scheduling.strategies import CONCURRENT, DEFAULT, DEFAULT_REFINED, description, strategy_names
from scripts.options import LEARNED, LEARNED_DOES, OBJECTIVES

_ALWAYS = "by default"


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
            render(
                [
                    Column("strategies", left=True),
                    Column("runs", left=True),
                    Column("what it does", left=True),
                ],
                [[name, _runs(name), description(name)] for name in strategy_names()]
                + [[LEARNED, _ALWAYS, LEARNED_DOES]],
            ),
            render(
                [Column("refinements (STRATEGY+NAME)", left=True), Column("of what", left=True)],
                [[name, refinement.decides] for name, refinement in REFINEMENTS.items()]
                + [[ALL, f"all that fit the machine, in the order that suits it; {_refined()}"]],
            ),
            render([Column("objectives", left=True)], [[name] for name in OBJECTIVES]),
        ]
    )


def _runs(name: str) -> str:
    """When a strategy runs."""
    if name not in DEFAULT:
        return "if named"
    return f"{_ALWAYS} where kernels run side by side" if name in CONCURRENT else _ALWAYS


def _refined() -> str:
    """When DEFAULT_REFINED runs."""
    return f"{DEFAULT_REFINED} runs {_ALWAYS} where kernels run one at a time"


def _described(name: str) -> tuple[str, str]:
    """A model with its parameters, and where it was published."""
    model, _, source = describe(name).partition(" (")
    return model, source.removesuffix(")")
