"""Programs of random schedules: timed, counted, free of races, and right, each by a method of its own."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.choice import Choice
from scheduling.emission.program import build_program, program_weights
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called
from tests.hwmodel.race_checker import find_races
from tests.scheduling.random_cases import legal_draws, random_model
from tests.scheduling.whole_checks import check_all_the_way_down

CASES = [
    *((machine, batch, seed) for machine in ("tiny", "stcp920") for batch in (1, 3, 4) for seed in range(4)),
    *((f"{machine}-without-llb", 3, seed) for machine in ("tiny", "stcp920") for seed in range(2)),
    *((f"tiny-{stays}-stationary", 2, seed) for stays in ("output", "weight", "input") for seed in range(2)),
]


@pytest.mark.parametrize(("machine_name", "batch", "seed"), CASES)
def test_a_random_schedule_holds_all_the_way_down(
    tmp_path: Path, machine_name: str, batch: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, batch, len(machine_name)])
    machine = machine_called(machine_name)
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    for choices, rules in legal_draws(evaluator, rng):
        check_all_the_way_down(model, evaluator, choices, rules, rng, tmp_path)


@pytest.mark.parametrize(("ways_rows", "pieces"), [(8, 1), (1, 6), (2, 7)])
def test_rows_that_are_padding_only(tmp_path: Path, ways_rows: int, pieces: int) -> None:
    """A core or a piece whose rows lie in the padding reads nothing and still writes its zeros."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 14, 14)
    pads = graph.constant(np.array([0, 0, 3, 3, 0, 0, 3, 3], np.int64))
    path = graph.save(tmp_path, graph.node("Relu", graph.node("Pad", value, pads)))
    model = load_model(str(path), 2)
    evaluator = Evaluator(model.network, load_machine("stcp920"))
    layers = len(model.network.layers)
    choices = (Choice(0, layers, ways_rows=ways_rows, pieces=pieces),)
    plan = evaluator.arrange(choices, Rules())
    program = build_program(evaluator, choices, plan)
    assert time_program(program, evaluator.machine).counts == evaluator.evaluate(choices, Rules()).counts
    assert find_races(program, evaluator.machine) == []
    assert verify(model, program, evaluator.machine, program_weights(model.network)).passed
