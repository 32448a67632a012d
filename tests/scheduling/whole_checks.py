"""What every schedule has to stand: simulated, emitted, executed in any allowed order, saved and replayed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from graph.model import Model
from graph.network import Network
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Program
from hwmodel.programs.order import latest_first, random_order
from report.verify import verify
from scheduling.choice import Choice
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.rules import Rules
from scheduling.schedule import make_schedule
from scheduling.schedule_file import Schedule, load_schedule, save_schedule
from scheduling.stored.replay import replay, schedule_to_program
from tests.scheduling.random_cases import checked_program


def check_all_the_way_down(
    model: Model,
    evaluator: Evaluator,
    choices: tuple[Choice, ...],
    rules: Rules,
    rng: np.random.Generator,
    folder: Path,
) -> Schedule:
    """Fast timing and counts equal those of the decoded program, nothing races, any allowed order gives the same bytes,
    all that crosses a border equals onnxruntime's, and the saved schedule replays to the same program."""
    evaluation, program = checked_program(evaluator, choices, rules)
    result = verify(model, program, evaluator.machine, program_weights(evaluator.network))
    assert result.passed, result
    check_any_order(model, program, evaluator.machine, rng)
    schedule = make_schedule(evaluator, choices, rules, evaluator.network.model_hash, "random")
    check_replay(evaluator, schedule, program, evaluation, folder)
    return schedule


def check_values(
    network: Network,
    values: Sequence[NDArray[np.float32]],
    program: Program,
    machine: Machine,
    rng: np.random.Generator,
) -> None:
    """In any allowed order every tensor that crosses a border is what `values` (by tensor) say, and the same bytes."""
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


def check_any_order(model: Model, program: Program, machine: Machine, rng: np.random.Generator) -> None:
    """The outputs are the same in program order, latest first, and in a random order."""
    network = model.network
    simulator = FunctionalSimulator(program, machine, "fp32", program_weights(network))
    images = []
    for index in network.inputs:
        entry = network.tensors[index]
        shape = (network.batch, entry.channels, entry.rows, entry.columns)
        images.append((entry.name, rng.standard_normal(shape).astype(np.float32)))
    outputs = []
    for order in (None, latest_first(program), random_order(program, rng)):
        simulator.clear()
        for name, image in images:
            simulator.write_input(name, image)
        simulator.run(order)
        outputs.append([simulator.read_output(network.tensors[t].name).tobytes() for t in network.outputs])
    assert outputs[0] == outputs[1] == outputs[2]


def check_replay(
    evaluator: Evaluator, schedule: Schedule, program: Program, evaluation: Evaluation, folder: Path
) -> None:
    """Saved and loaded, the schedule gives the same program and costs the same."""
    save_schedule(folder / "schedule.json", schedule)
    loaded = load_schedule(folder / "schedule.json")
    fresh = Evaluator(evaluator.network, evaluator.machine)
    assert schedule_to_program(fresh, loaded) == program
    assert replay(fresh, loaded) == evaluation
