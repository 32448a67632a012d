"""What --list prints: the names that the other options take."""

from __future__ import annotations

from graph.zoo import zoo_names
from hwmodel.machine import load_machine, machine_names
from report.table import Column, render
from scheduling.strategies import STRATEGIES
from scripts.options import LEARNED, OBJECTIVES


def listing() -> str:
    """Models, machines, strategies and objectives."""
    machines = [load_machine(name) for name in machine_names()]
    return "\n".join(
        [
            render(
                [Column("models (or the path of an ONNX file)", left=True)], [[name] for name in zoo_names()]
            ),
            render(
                [Column("machines (or a path)", left=True), Column("description", left=True)],
                [[machine.name, machine.description] for machine in machines],
            ),
            render([Column("strategies", left=True)], [[name] for name in (*STRATEGIES, LEARNED)]),
            render([Column("objectives", left=True)], [[name] for name in OBJECTIVES]),
        ]
    )
