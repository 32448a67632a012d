"""Slices over columns, pieces along columns and cached overlaps: random schedules, right all the way down."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import load_machine
from hwmodel.programs.order import latest_first, random_order
from report.verify import verify
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluator
from scheduling.schedule import make_schedule, replay, schedule_to_program
from scheduling.schedule_file import load_schedule, save_schedule
from tests.scheduling.random_cases import checked_program, legal, random_model, random_rules, random_tiles

CASES = [(machine, batch, seed) for machine in ("tiny", "stcp920") for batch in (1, 3) for seed in range(5)]


@pytest.mark.parametrize(("machine_name", "batch", "seed"), CASES)
def test_random_tiles_hold_all_the_way_down(tmp_path: Path, machine_name: str, batch: int, seed: int) -> None:
    """Fast timing and counts equal those of the decoded program, nothing races, any allowed order gives the same
    bytes, every boundary tensor equals onnxruntime's, and the saved schedule replays to the same program."""
    rng = np.random.default_rng([seed, batch, len(machine_name)])
    machine = load_machine(machine_name)
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    tried = 0
    for _ in range(40):
        choices, rules = random_tiles(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        evaluation, program = checked_program(evaluator, choices, rules)
        weights = program_weights(model.network)
        result = verify(model, program, machine, weights)
        assert result.passed, result
        simulator = FunctionalSimulator(program, machine, "fp32", weights)
        tensor = model.network.tensors[0]
        image = rng.standard_normal((batch, tensor.channels, tensor.rows, tensor.columns)).astype(np.float32)
        outputs = []
        for order in (None, latest_first(program), random_order(program, rng)):
            simulator.clear()
            simulator.write_input(tensor.name, image)
            simulator.run(order)
            output = model.network.tensors[model.network.outputs[0]].name
            outputs.append(simulator.read_output(output).tobytes())
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
