"""What a network takes of DRAM, against the buffers of a program that keeps everything there."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from scheduling.choice import Choice
from scheduling.emission.program import build_program
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.timeline.arrangement import SCOPE_DRAM
from scheduling.timeline.capacity import dram_bytes
from tests.scheduling.random_cases import random_model


def with_dram(machine: Machine, size_bytes: int) -> Machine:
    """The same machine with so much DRAM."""
    data = machine.model_dump()
    data["memories"]["dram"] = {"bytes": size_bytes}
    return Machine.model_validate(data)


@pytest.mark.parametrize("seed", range(3))
def test_dram_holds_every_buffer_of_a_schedule_through_dram(tmp_path: Path, seed: int) -> None:
    network = load_model(str(random_model(tmp_path, np.random.default_rng(seed))), 2).network
    machine = load_machine("stcp920")
    evaluator = Evaluator(network, machine)
    choices = tuple(Choice(k, k + 1) for k in range(len(network.layers)))
    program = build_program(evaluator, choices, evaluator.arrange(choices, Rules(scopes=SCOPE_DRAM)))
    last = max(program.buffers, key=lambda buffer: buffer.address)
    need = last.address + int(np.prod(last.shape)) * machine.element_bytes
    assert dram_bytes(network, machine.element_bytes) == need
    roomy = max(need, 8 << 20)
    Evaluator(network, with_dram(machine, roomy))


def test_a_network_that_is_larger_than_dram_is_refused() -> None:
    network = load_model("squeezenet", 4, weights=False).network
    need = dram_bytes(network, 2)
    assert need > 8 << 20
    with pytest.raises(IllegalSchedule, match=rf"takes {need} bytes of DRAM, .*: short by 1 bytes"):
        Evaluator(network, with_dram(load_machine("stcp920"), need - 1))
