"""Programs of random schedules: timed, counted, free of races, and right, each by a method of its own."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import load_machine
from hwmodel.programs.order import latest_first, random_order
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.choice import Choice
from scheduling.emission.program import build_program, program_weights
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.schedule import make_schedule, replay, schedule_to_program
from scheduling.schedule_file import load_schedule, save_schedule
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called
from tests.hwmodel.race_checker import find_races
from tests.scheduling.random_cases import checked_program, legal, random_choices, random_model, random_rules

CASES = [
    *((machine, batch, seed) for machine in ("tiny", "stcp920") for batch in (1, 3, 4) for seed in range(4)),
    *((f"{machine}-without-llb", 3, seed) for machine in ("tiny", "stcp920") for seed in range(2)),
    *((f"tiny-{stays}-stationary", 2, seed) for stays in ("output", "weight", "input") for seed in range(2)),
]


@pytest.mark.parametrize(("machine_name", "batch", "seed"), CASES)
def test_a_random_schedule_holds_all_the_way_down(
    tmp_path: Path, machine_name: str, batch: int, seed: int
) -> None:
    """Fast timing equals that of the decoded program, nothing races, any allowed order gives the same bytes, the
    outputs equal onnxruntime's, and the saved schedule replays to the same program."""
    rng = np.random.default_rng([seed, batch, len(machine_name)])
    machine = machine_called(machine_name)
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    tried = 0
    for _ in range(20):
        choices, rules = random_choices(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        evaluation, program = checked_program(evaluator, choices, rules)
        weights = program_weights(model.network)
        result = verify(model, program, machine, weights)
        assert result.passed, result
        simulator = FunctionalSimulator(program, machine, "fp32", weights)
        outputs = []
        image = rng.standard_normal((batch, *_shape(model.network.tensors[0]))).astype(np.float32)
        for order in (None, latest_first(program), random_order(program, rng)):
            simulator.clear()
            simulator.write_input(model.network.tensors[0].name, image)
            simulator.run(order)
            outputs.append(
                simulator.read_output(model.network.tensors[model.network.outputs[0]].name).tobytes()
            )
        assert outputs[0] == outputs[1] == outputs[2]
        schedule = make_schedule(evaluator, choices, rules, model.network.model_hash, "random")
        save_schedule(tmp_path / "schedule.json", schedule)
        loaded = load_schedule(tmp_path / "schedule.json")
        fresh = Evaluator(model.network, machine)
        assert schedule_to_program(fresh, loaded) == program
        assert replay(fresh, loaded) == evaluation
        tried += 1
        if tried == 2:
            break
    assert tried > 0


def _shape(tensor: object) -> tuple[int, int, int]:
    return (tensor.channels, tensor.rows, tensor.columns)  # type: ignore[attr-defined]


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
