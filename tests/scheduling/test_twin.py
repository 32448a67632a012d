"""An int8 machine is verified on its fp32 twin: the same program, everything in bytes times 4."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.model import Model
from hwmodel.errors import KernelError
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Instruction, Program
from report.verify import verify
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluation, Evaluator
from tests.scheduling.random_cases import checked_program, legal, random_choices, random_model, random_rules

EDGE = load_machine("edge_tcm")
IN_BYTES = ("_addr", "_stride", "_offset", "_bytes")


def twin(machine: Machine) -> Machine:
    """An int8 machine with elements of 4 bytes, and all that holds or moves elements times 4; sums are float32 on
    both."""
    data = machine.model_dump()
    data |= {"name": f"{machine.name}-twin", "element": "fp32"}
    memories, links = data["memories"], data["links"]
    for name in ("l1", "weights"):
        memories[name]["bytes"] *= 4
    data["memories"]["dram"]["burst_bytes"] *= 4
    data["dma"]["bytes_per_cycle"] *= 4
    links["exchange"]["bytes_per_cycle"] *= 4
    for way in ("read", "write"):
        links["dram"][f"{way}_bytes_per_cycle"] *= 4
    return Machine.model_validate(data)


def scaled(instruction: Instruction) -> dict[str, tuple[int, ...]]:
    """Fields of an instruction, those in bytes of elements times 4."""
    return {
        name: tuple(4 * value for value in values)
        if name.endswith(IN_BYTES) and name != "acc_addr"
        else values
        for name, values in instruction.fields.items()
    }


def random_program(folder: Path, machine: Machine, seed: int) -> tuple[Model, Evaluation, Program]:
    """A legal random schedule of a random network, its cost and its program."""
    rng = np.random.default_rng(seed)
    model = load_model(str(random_model(folder, rng)), 2)
    evaluator = Evaluator(model.network, machine)
    while True:
        choices, rules = random_choices(evaluator, rng), random_rules(rng)
        if choices is not None and legal(evaluator, choices, rules):
            return model, *checked_program(evaluator, choices, rules)


@pytest.mark.parametrize("seed", range(3))
def test_the_twin_runs_the_same_program(tmp_path: Path, seed: int) -> None:
    """The same schedule lowered for the twin has the same instructions, but for bytes, and takes the same cycles; and
    fp32 arithmetic on the int8 program gives what the twin computes, byte for byte, and what onnxruntime does."""
    model, evaluation, program = random_program(tmp_path, EDGE, seed)
    _, other, twins = random_program(tmp_path, twin(EDGE), seed)
    ours = [i for kernel in program.kernels.values() for i in kernel.instructions]
    theirs = [i for kernel in twins.kernels.values() for i in kernel.instructions]
    assert [(i.op, i.cores, i.waits, scaled(i)) for i in ours] == [
        (i.op, i.cores, i.waits, dict(i.fields)) for i in theirs
    ]
    assert evaluation.cycles == other.cycles
    assert evaluation.counts.dram_bytes * 4 == other.counts.dram_bytes
    weights = program_weights(model.network)
    outputs = []
    for which, machine in ((program, EDGE), (twins, twin(EDGE))):
        simulator = FunctionalSimulator(which, machine, "fp32", weights)
        first = model.network.tensors[model.network.inputs[0]]
        shape = (2, first.channels, first.rows, first.columns)
        image = np.random.default_rng(seed).standard_normal(shape).astype(np.float32)
        simulator.write_input(first.name, image)
        simulator.run()
        outputs.append(simulator.read_output(model.network.tensors[model.network.outputs[0]].name).tobytes())
    assert outputs[0] == outputs[1]
    result = verify(model, program, EDGE, weights)
    assert result.passed
    assert result.fp32.arithmetic == "fp32"


def test_int8_has_no_native_arithmetic(tmp_path: Path) -> None:
    model, _, program = random_program(tmp_path, EDGE, 0)
    with pytest.raises(KernelError, match="int8 has no native arithmetic: run with arithmetic 'fp32'"):
        FunctionalSimulator(program, EDGE, "native", program_weights(model.network))
