"""Random packings: instances of a schedule in steps and waves, on random ranges of cores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.timeline.packing import AS_BARRIERS, BARRIERS, EARLIEST, WAITS, Packing, Placement, Step


def random_packing(evaluator: Evaluator, choices: Sequence[Choice], rng: np.random.Generator) -> Packing:
    """A random topological order of the instances, cut into steps and waves at random."""
    plan = evaluator.arrange(choices, Rules(order=int(rng.integers(2))))
    order = list(zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True))
    steps: list[Step] = []
    at = last_core = 0
    while at < len(order):
        members = []
        wave = 0
        for subgraph, instance in order[at : at + int(rng.integers(1, 8))]:
            wave += int(rng.integers(2)) if members else 0
            first_core = int(rng.integers(evaluator.machine.cores - choices[subgraph].cores + 1))
            if choices[subgraph].consecutive and instance % choices[subgraph].slices:
                first_core = last_core
            last_core = first_core
            members.append(Placement(subgraph, instance, first_core, wave))
        steps.append(Step(tuple(members), int(rng.choice([WAITS, BARRIERS]))))
        at += len(members)
    return Packing(tuple(steps), int(rng.choice([EARLIEST, AS_BARRIERS])))
