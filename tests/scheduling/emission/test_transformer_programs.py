"""Programs of random schedules of random transformers: timed, counted, free of races, and right."""

import numpy as np
import pytest

from scheduling.evaluator import Evaluator
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.primitive_networks import transformer
from tests.scheduling.random_cases import (
    Drawn,
    checked_program,
    legal_draws,
    random_choices,
    random_own_bindings,
)
from tests.scheduling.whole_checks import check_values

CASES = [
    (machine, batch, seed, random_choices)
    for machine in ("tiny", "stcp920")
    for batch in (1, 3, 4)
    for seed in range(6)
] + [
    (machine, batch, 7, random_own_bindings)
    for machine, batch in (
        ("tiny", 1),
        ("tiny", 4),
        ("stcp920", 4),
        ("stcp920-without-llb", 3),
        ("tiny-bursts", 2),
        ("ascend_multi", 2),
    )
]


@pytest.mark.parametrize(("machine_name", "batch", "seed", "drawn"), CASES)
def test_a_random_schedule_of_a_transformer_holds_all_the_way_down(
    machine_name: str, batch: int, seed: int, drawn: Drawn
) -> None:
    """Fast timing equals that of the decoded program, nothing races, any allowed order gives the same bytes, and
    every tensor that crosses a boundary is what plain numpy gives."""
    rng = np.random.default_rng([seed, batch, len(machine_name), 1])
    machine = machine_called(machine_name)
    network, values = transformer(rng, batch)
    evaluator = Evaluator(network, machine)
    for choices, rules in legal_draws(evaluator, rng, drawn, attempts=30):
        _, program = checked_program(evaluator, choices, rules)
        check_values(network, values, program, machine, rng)
