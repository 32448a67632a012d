"""DRAM bursts: random schedules move whole bursts, in the fast simulator, the decoded program and byte by byte."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Op, Program
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from tests.hwmodel.accesses import instruction_accesses
from tests.hwmodel.machine_variants import with_bursts
from tests.scheduling.random_cases import (
    checked_program,
    legal,
    random_choices,
    random_model,
    random_rules,
    random_tiles,
)
from tests.scheduling.random_packings import random_packing


def moved_in_bursts(program: Program, machine: Machine, burst: int) -> tuple[int, int]:
    """DRAM bytes read and written if every contiguous interval that a core touches is rounded up; cores that read the
    same intervals read them once."""
    read = written = 0
    for step in program.steps:
        kernel = program.kernels[step.kernel]
        for instruction in kernel.instructions:
            if instruction.op not in (Op.LOAD, Op.LOADW, Op.STORE):
                continue
            parts: dict[int, list[tuple[int, int]]] = {}
            for access in instruction_accesses(machine, kernel, instruction, step.bindings):
                if access.place[0] == "dram":
                    parts.setdefault(access.position, []).append((access.low, access.high))
            found = {tuple(part) for part in parts.values()}
            size = sum(-(-(high - low) // burst) * burst for part in found for low, high in part)
            written, read = (written + size, read) if instruction.op is Op.STORE else (written, read + size)
        read += sum(-(-copy.size_bytes // burst) * burst for copy in step.copies)
    return read, written


@pytest.mark.parametrize(
    ("machine_name", "burst", "kind", "seed"),
    [
        *(
            (name, 16, kind, seed)
            for name in ("tiny", "stcp920")
            for kind in ("rows", "tiles")
            for seed in (0, 1, 2)
        ),
        *((name, 64, "packed", seed) for name in ("tiny", "stcp920") for seed in (0, 1)),
    ],
)
def test_every_run_of_a_random_schedule_is_rounded_up(
    tmp_path: Path, machine_name: str, burst: int, kind: str, seed: int
) -> None:
    rng = np.random.default_rng([seed, burst, len(kind)])
    machine = with_bursts(load_machine(machine_name), burst)
    if kind == "packed":
        machine = machine.model_copy(update={"concurrent_kernels": True, "barrier_cycles": 7})
    model = load_model(str(random_model(tmp_path, rng)), int(rng.choice([1, 3, 4])))
    evaluator = Evaluator(model.network, machine)
    plain = Evaluator(model.network, load_machine(machine_name))
    draw = random_tiles if kind == "tiles" else random_choices
    tried = 0
    for _ in range(40):
        choices, rules = draw(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        if kind == "packed":
            rules = Rules(packing=random_packing(evaluator, choices, rng))
            if not legal(evaluator, choices, rules):
                continue
        evaluation, program = checked_program(evaluator, choices, rules)
        counts = evaluation.counts
        found = moved_in_bursts(program, machine, burst)
        assert found == (counts.dram_read_bytes, counts.dram_write_bytes)
        if kind != "packed":
            exact = plain.evaluate(choices, rules)
            assert exact.counts.dram_bytes < counts.dram_bytes
            assert exact.counts.llb_bytes == counts.llb_bytes
            assert exact.counts.l1_write_bytes == counts.l1_write_bytes
        tried += 1
        if tried == 2:
            break
    assert tried > 0
