"""What an episode ends with: the schedule's figures, and how it compares."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from env.building import Builder, State
from scheduling.evaluator import Evaluation


def describe(builder: Builder, state: State, evaluation: Evaluation, first_cost: float) -> dict[str, Any]:
    """`info` of a finished episode: plain numbers, texts and lists."""
    choices, rules = builder.schedule(state)
    cost = builder.problem.objective.cost(evaluation)
    return {
        "cost": cost,
        "cycles": evaluation.cycles,
        "energy_pj": evaluation.energy_pj,
        "kernels": evaluation.kernels,
        **evaluation.counts._asdict(),
        "off_core_bytes": evaluation.off_core_bytes,
        "bound_cycles": builder.bound_cycles,
        "default_cost": first_cost,
        "relative_to_default": cost / first_cost,
        "layerwise_cost": builder.layerwise_cost,
        "relative_to_layerwise": cost / builder.layerwise_cost,
        "choices": [tuple(choice) for choice in choices],
        "rules": asdict(rules),
    }
