"""Programs of random schedules of random transformers: timed, counted, free of races, and right."""

import numpy as np
import pytest

from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import load_machine
from hwmodel.programs.order import latest_first, random_order
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluator
from tests.scheduling.primitive_networks import transformer
from tests.scheduling.random_cases import checked_program, legal_draws

CASES = [
    (machine, batch, seed) for machine in ("tiny", "stcp920") for batch in (1, 3, 4) for seed in range(6)
]


@pytest.mark.parametrize(("machine_name", "batch", "seed"), CASES)
def test_a_random_schedule_of_a_transformer_holds_all_the_way_down(
    machine_name: str, batch: int, seed: int
) -> None:
    """Fast timing equals that of the decoded program, nothing races, any allowed order gives the same bytes, and
    every tensor that crosses a boundary is what plain numpy gives."""
    rng = np.random.default_rng([seed, batch, len(machine_name), 1])
    machine = load_machine(machine_name)
    network, values = transformer(rng, batch)
    evaluator = Evaluator(network, machine)
    for choices, rules in legal_draws(evaluator, rng, attempts=30):
        _, program = checked_program(evaluator, choices, rules)
        simulator = FunctionalSimulator(program, machine, "fp32", program_weights(network))
        names = {tensor.name: index for index, tensor in enumerate(network.tensors)}
        outputs = []
        for order in (None, latest_first(program), random_order(program, rng)):
            simulator.clear()
            for index in network.inputs:
                simulator.write_input(network.tensors[index].name, values[index])
            simulator.run(order)
            for buffer in program.buffers:
                if buffer.role in ("output", "boundary"):
                    expected = values[names[buffer.name]]
                    found = simulator.read_output(buffer.name)
                    assert np.abs(found - expected).max() <= 1e-4 * np.abs(expected).max(), buffer.name
            outputs.append(simulator.read_output(network.tensors[network.outputs[0]].name).tobytes())
        assert outputs[0] == outputs[1] == outputs[2]
