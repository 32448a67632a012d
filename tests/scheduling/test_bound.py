"""The bound: worked out by hand on the tiny machine, and below every random schedule."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.bound import bound
from scheduling.evaluator import Evaluator
from scheduling.objective import Objective
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import legal, random_choices, random_model, random_rules


def test_one_convolution_by_hand(tmp_path: Path) -> None:
    """3 x 5 x 5 image, 6 filters of 3 x 3 without padding: 3 x 3 pixels, batch 2."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 3, 5, 5)
    out = graph.node("Conv", image, graph.random(6, 3, 3, 3))
    least = bound(load_model(str(graph.save(tmp_path, out)), 2).network, load_machine("tiny"))
    # 18 pixels need 2 tiles of 4 channels each, 4 pixels at a time: 9 tile-rows of 27 cycles, on 2 cores; six
    # channels at 5 tiles of pixels need 5 x 6 / 4 = 7.5, less.
    assert least.matrix_cycles == -(-9 * 27 // 2)
    assert least.vector_cycles == -(-18 * 6 // 8)  # a move for each output, 4 lanes on 2 cores
    assert least.dram_read_bytes == 4 * (2 * 3 * 5 * 5 + 6 * 3 * 3 * 3)
    assert least.dram_write_bytes == 4 * (2 * 6 * 3 * 3)
    assert least.dram_cycles == least.dram_read_bytes // 4  # both directions at once
    assert least.macs == 2 * 9 * 6 * 27
    assert least.energy_pj == least.macs + 100 * least.off_core_bytes
    assert least.cycles == least.dram_cycles
    assert least.limit == "dram"
    assert least.of(Objective.LATENCY) == least.cycles
    assert least.of(Objective.OFF_CORE) == least.off_core_bytes
    assert least.of(Objective.ENERGY) == least.energy_pj
    assert least.of(Objective.EDP) == least.energy_pj * least.cycles


def test_rows_that_nothing_depends_on_are_left_out(tmp_path: Path) -> None:
    """A 1 x 1 convolution with stride 2 on 6 rows reads every other one."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 2, 6, 6)
    middle = graph.node("Conv", image, graph.random(2, 2, 1, 1))
    out = graph.node("Conv", middle, graph.random(2, 2, 1, 1), strides=[2, 2])
    least = bound(load_model(str(graph.save(tmp_path, out)), 1).network, load_machine("tiny"))
    assert least.dram_read_bytes == 4 * (2 * 3 * 6 + 8)
    assert least.macs == 4 * 3 * 6 + 4 * 3 * 3


@pytest.mark.parametrize("machine_name", ["tiny", "stcp920"])
@pytest.mark.parametrize("seed", range(6))
def test_no_random_schedule_beats_it(tmp_path: Path, machine_name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(machine_name)])
    machine = load_machine(machine_name)
    network = load_model(str(random_model(tmp_path, rng)), int(rng.choice([1, 2, 4]))).network
    evaluator = Evaluator(network, machine)
    least = bound(network, machine)
    for _ in range(15):
        choices, rules = random_choices(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        found = evaluator.evaluate(choices, rules)
        for objective in Objective:
            assert least.of(objective) <= objective.cost(found) * (1 + 1e-12)
