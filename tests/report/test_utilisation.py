"""How busy engines and links are in each sub-graph: cycle by cycle on random schedules, and in the files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.programs.isa import Op
from hwmodel.timing.flatten import time_program
from hwmodel.timing.resources import resource_name
from report.subgraphs import subgraphs
from report.utilisation import BUSY, utilisation, utilisation_summary, utilisation_table
from scheduling.emission.program import build_program
from scheduling.evaluator import Evaluator
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.random_cases import legal, random_choices, random_model, random_rules


@pytest.mark.parametrize(("machine_name", "seed"), [("tiny", 0), ("tiny", 1), ("stcp920", 0), ("stcp920", 1)])
def test_shares_are_those_counted_cycle_by_cycle(tmp_path: Path, machine_name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(machine_name)])
    machine = machine_called(machine_name)
    network = load_model(str(random_model(tmp_path, rng)), 3, weights=False).network
    evaluator = Evaluator(network, machine)
    while True:
        choices, rules = random_choices(evaluator, rng), random_rules(rng)
        if choices is not None and legal(evaluator, choices, rules):
            break
    plan = evaluator.arrange(choices, rules)
    program = build_program(evaluator, choices, plan)
    timing = time_program(program, machine)
    found = utilisation(evaluator, choices, plan, program, timing)
    assert found.cycles[:-1].tolist() == [each.cycles for each in subgraphs(evaluator, choices, plan)]
    assert found.cycles[-1] == timing.makespan_cycles

    # Whose window each cycle is in, and in which cycles each resource is held by what.
    finish = evaluator.simulate(choices, plan)[0].finish.tolist()
    home = np.full(timing.makespan_cycles, -1)
    before = 0
    for step, end in enumerate(finish):
        home[before : max(before, end)] = plan.subgraph[step]
        before = max(before, end)
    home[home < 0] = plan.subgraph[len(finish) - 1]
    busy: dict[str, np.ndarray] = {}
    flat = timing.flat
    for i, at in enumerate(flat.positions):
        kernel = program.kernels[program.steps[at.step].kernel]
        launch = at.index < len(kernel.instructions) and kernel.instructions[at.index].op is Op.LAUNCH
        for k in range(flat.resource_ptr[i], flat.resource_ptr[i + 1]):
            name = resource_name(int(flat.resource_index[k]), machine.cores) + (" launch" if launch else "")
            held = busy.setdefault(name, np.zeros(timing.makespan_cycles, bool))
            held[timing.start[i] : timing.start[i] + flat.resource_hold[k]] = True
    nothing = np.zeros(timing.makespan_cycles, bool)
    for index in range(len(choices)):
        mine = home == index
        if not mine.any():
            continue
        for column, name in enumerate(BUSY):
            if name in ("dram", "llb"):
                cycles = max(busy.get(f"{name} {way}", nothing)[mine].sum() for way in ("read", "write"))
            else:
                suffix = "matrix launch" if name == "launch" else name
                cycles = sum(
                    busy.get(f"core {core} {suffix}", nothing)[mine].sum() for core in range(machine.cores)
                )
                cycles /= machine.cores
            assert found.busy[index, column] == pytest.approx(cycles / mine.sum())
    assert (found.busy <= 1).all()
    assert (found.macs <= found.busy[:, 0] + 1e-9)[-1]
    text = json.loads(json.dumps(utilisation_summary(found)))
    assert sum(each["cycles"] for each in text["subgraphs"]) == text["all"]["cycles"]
    assert len(utilisation_table(found).splitlines()) == 3 + len(choices) + 1
