"""Inner memories in random schedules: lowering and the decoded program count the same, and outputs are right."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from report.verify import verify
from scheduling.choice import Choice
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluator
from tests.scheduling.random_cases import (
    checked_program,
    legal_draws,
    random_choices,
    random_model,
    random_tiles,
)


def machine_of(name: str) -> Machine:
    """A machine that ships, or, as `crowded`, the depth-first one with four cores, small buffers and narrow ports."""
    if name != "crowded":
        return load_machine(name)
    data = load_machine("meta_prototype_df").model_dump()
    data["cores"] = 4
    weights, activations = data["levels"]["buffers"]
    data["levels"]["buffers"] = [
        {**weights, "bytes": 256, "word_bits": 64, "ports": 1},
        {**activations, "bytes": 512, "word_bits": 64, "ports": 1},
    ]
    data["memories"]["l1"]["bytes"] = data["memories"]["weights"]["bytes"] = 4096
    return Machine.model_validate(data)


CASES = [
    *((name, 2, 0, random_choices) for name in ("meta_prototype_df", "ascend_like_df", "tesla_npu_like_df")),
    *(("crowded", 4, seed, random_choices) for seed in range(4)),
    *(("crowded", 2, seed, random_tiles) for seed in range(3)),
]


@pytest.mark.parametrize(("name", "batch", "seed", "draw"), CASES)
def test_rows_and_programs_count_the_same(
    tmp_path: Path,
    name: str,
    batch: int,
    seed: int,
    draw: Callable[[Evaluator, np.random.Generator], tuple[Choice, ...] | None],
) -> None:
    rng = np.random.default_rng([seed, batch, len(name)])
    machine = machine_of(name)
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    for choices, rules in legal_draws(evaluator, rng, draw, 30):
        evaluation, program = checked_program(evaluator, choices, rules)
        assert verify(model, program, machine, program_weights(model.network)).passed
        assert machine.levels is not None
        assert len(evaluation.inner.read_bytes) == len(machine.levels.inner)
        assert name == "crowded" or evaluation.inner.port_stall_cycles == 0
