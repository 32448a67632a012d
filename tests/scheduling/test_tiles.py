"""Slices over columns, pieces along columns and cached overlaps: random schedules, right all the way down."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.evaluator import Evaluator
from tests.scheduling.random_cases import (
    legal_draws,
    random_model,
    random_tiles,
)
from tests.scheduling.whole_checks import check_all_the_way_down

CASES = [(machine, batch, seed) for machine in ("tiny", "stcp920") for batch in (1, 3) for seed in range(5)]


@pytest.mark.parametrize(("machine_name", "batch", "seed"), CASES)
def test_random_tiles_hold_all_the_way_down(tmp_path: Path, machine_name: str, batch: int, seed: int) -> None:
    rng = np.random.default_rng([seed, batch, len(machine_name)])
    machine = load_machine(machine_name)
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    for choices, rules in legal_draws(evaluator, rng, random_tiles, 40):
        check_all_the_way_down(model, evaluator, choices, rules, rng, tmp_path)
