"""DRAM that sustains less than its peak and answers late: random schedules, in the fast simulator, the decoded program
and the event-driven reference."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Program
from hwmodel.timing.flatten import flatten, time_program
from scheduling.bound import bound
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from tests.hwmodel.event_driven import EventDriven, Task
from tests.hwmodel.machine_variants import with_dram, without_llb
from tests.scheduling.random_cases import (
    checked_program,
    legal,
    legal_draws,
    random_choices,
    random_model,
    random_tiles,
)
from tests.scheduling.random_packings import random_packing


def reference_cycles(program: Program, machine: Machine) -> int:
    """The makespan by the event-driven simulation."""
    flat = flatten(program, machine)
    tasks = []
    for i, latency in enumerate(flat.latency.tolist()):
        held = range(flat.resource_ptr[i], flat.resource_ptr[i + 1])
        holds = {str(flat.resource_index[k]): int(flat.resource_hold[k]) for k in held}
        waits = flat.wait_index[flat.wait_ptr[i] : flat.wait_ptr[i + 1]].tolist()
        tasks.append(Task(latency, holds, waits))
    return EventDriven(tasks).run()


@pytest.mark.parametrize("kind", ["rows", "tiles", "packed"])
@pytest.mark.parametrize("machine_name", ["tiny", "stcp920", "no llb"])
@pytest.mark.parametrize("seed", range(2))
def test_random_schedules_take_the_time_that_dram_takes(
    tmp_path: Path, machine_name: str, kind: str, seed: int
) -> None:
    rng = np.random.default_rng([seed, len(machine_name), len(kind)])
    plain = without_llb(load_machine("tiny")) if machine_name == "no llb" else load_machine(machine_name)
    if kind == "packed":
        plain = plain.model_copy(update={"concurrent_kernels": True, "barrier_cycles": 7})
    latency, sustained = int(rng.integers(1, 300)), int(rng.integers(300, 1000)) / 1000
    slow = with_dram(plain, latency_cycles=latency, sustained=sustained, burst_bytes=int(rng.choice([1, 16])))
    model = load_model(str(random_model(tmp_path, rng)), int(rng.choice([1, 3, 4])))
    evaluator, other = Evaluator(model.network, slow), Evaluator(model.network, plain)
    for choices, rules in legal_draws(
        evaluator, rng, random_tiles if kind == "tiles" else random_choices, 40
    ):
        if kind == "packed":
            rules = Rules(packing=random_packing(evaluator, choices, rng))
            if not legal(evaluator, choices, rules):
                continue
        evaluation, program = checked_program(evaluator, choices, rules)
        assert reference_cycles(program, slow) == evaluation.cycles
        assert bound(model.network, slow).cycles <= evaluation.cycles
        assert time_program(program, plain).makespan_cycles <= evaluation.cycles
        without = with_dram(slow, latency_cycles=0, sustained=1.0, burst_bytes=1)
        assert Evaluator(model.network, without).evaluate(choices, rules) == other.evaluate(choices, rules)
