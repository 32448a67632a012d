"""Outputs in rings of channels: programs of random schedules, the room that they take, and what does not ring."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CHANNEL_RING, CHANNELS, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.footprint import ring_footprint
from scheduling.lowering.geometry import geometry
from scheduling.lowering.operations import STORE
from scheduling.lowering.planning import plan_instance
from scheduling.lowering.rows import C_OP, OP_STORE
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import solve
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.random_cases import (
    legal,
    random_choices,
    random_model,
    random_rules,
    random_tiles,
    tileable,
)
from tests.scheduling.whole_checks import check_all_the_way_down


@pytest.mark.parametrize("drawn", [random_choices, random_tiles])
@pytest.mark.parametrize(
    ("machine_name", "batch", "seed"),
    [("tiny", 2, 0), ("tiny", 3, 1), ("stcp920", 3, 2), ("stcp920", 4, 3), ("edge_tcm", 2, 4)],
)
def test_a_random_schedule_with_rings_holds_all_the_way_down(
    tmp_path: Path, drawn: object, machine_name: str, batch: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, batch])
    machine = machine_called(machine_name)
    rings = 0
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = load_model(str(random_model(folder, rng)), batch)
        evaluator = Evaluator(model.network, machine)
        choices, rules = drawn(evaluator, rng), random_rules(rng)  # type: ignore[operator]
        if choices is None:
            continue
        ringed = []
        for choice in choices:
            changed = choice._replace(axis=CHANNEL_RING, pieces=int(rng.integers(2, 6)))
            ringed.append(changed if tileable(evaluator, changed) else choice)
        choices = tuple(ringed)
        if not legal(evaluator, choices, rules):
            continue
        check_all_the_way_down(model, evaluator, choices, rules, rng, folder)
        rings += sum(stored_by_parts(evaluator, choice) for choice in choices)
        if rings > 2:
            return
    assert rings > 0


def stored_by_parts(evaluator: Evaluator, choice: Choice) -> int:
    """Tensors that an instance stores by more than its operations do."""
    template = evaluator.templates.of_instance(choice, 0, 0, evaluator.supposed_plan())
    stores = np.count_nonzero(template.lowered.rows[:, C_OP] == OP_STORE)
    return int(stores - np.count_nonzero(template.lowered.plan.kind == STORE))


def two_products(folder: Path) -> Evaluator:
    """12 pixels of 8 channels, then 16, then 40, on stcp920."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 8, 3, 4)
    value = graph.node("Relu", graph.node("Conv", value, graph.random(16, 8, 1, 1)))
    path = graph.save(folder, graph.node("Conv", value, graph.random(40, 16, 1, 1)))
    return Evaluator(load_model(str(path), 1).network, machine_called("stcp920"))


def test_a_ring_has_room_for_two_parts(tmp_path: Path) -> None:
    """While the second product is computed its input, 12 x 16 elements of 2 bytes, is there, and of the output all 40
    channels, or two parts of 10. Both ways the same bytes move, in four transfers instead of one."""
    evaluator = two_products(tmp_path)
    whole, ring = (Choice(0, 2, pieces=4, axis=axis) for axis in (CHANNELS, CHANNEL_RING))
    peaks, stores = [], []
    for choice in (whole, ring):
        lowered = evaluator.templates.of_instance(choice, 0, 0, evaluator.supposed_plan()).lowered
        peaks.append(int(lowered.plan.peak_bytes))
        stores.append(int(np.count_nonzero(lowered.rows[:, C_OP] == OP_STORE)))
    assert peaks == [12 * (16 + 40) * 2, 12 * (16 + 20) * 2]
    assert stores == [1, 4]
    one, other = (evaluator.evaluate((choice,)) for choice in (whole, ring))
    assert one.counts.dram_write_bytes == other.counts.dram_write_bytes == 12 * 40 * 2
    assert one.counts.l1_write_bytes == other.counts.l1_write_bytes


def test_what_a_layer_of_the_same_kernel_reads_is_whole(tmp_path: Path) -> None:
    """Only the last output rings: the first product's is read by the second."""
    evaluator = two_products(tmp_path)
    assert stored_by_parts(evaluator, Choice(0, 1, pieces=4, axis=CHANNEL_RING)) == 4
    lowered = evaluator.templates.of_instance(
        Choice(0, 2, pieces=4, axis=CHANNEL_RING), 0, 0, evaluator.supposed_plan()
    ).lowered
    assert lowered.plan.size_bytes.tolist() == [12 * 8 * 2, 12 * 16 * 2, 12 * 20 * 2]


@pytest.mark.parametrize("seed", range(4))
def test_the_footprint_knows_rings(tmp_path: Path, seed: int) -> None:
    """What is estimated without an order is what the layout takes."""
    rng = np.random.default_rng(seed)
    model = load_model(str(random_model(tmp_path, rng)), 4)
    evaluator = Evaluator(model.network, machine_called("stcp920"))
    net, m = evaluator.table, evaluator.machine_table
    layers = len(model.network.layers)
    for _ in range(30):
        first = int(rng.integers(layers))
        choice = Choice(
            first, int(rng.integers(first + 1, layers + 1)), ways_channels=int(rng.choice([1, 2])),
            pieces=int(rng.integers(1, 6)), axis=CHANNEL_RING, rule=int(rng.choice([0, 10, 20, 60])),
        )  # fmt: skip
        if not tileable(evaluator, choice):
            continue
        peak = plan_instance(net, m, choice, 0, 0)[4].peak_bytes
        assert ring_footprint(net, choice, geometry(net, choice, 0, 0), m.element_bytes, 1 << 40) == peak


def test_a_block_that_is_split_for_its_output_runs_whole_with_a_ring() -> None:
    """One sentence a core of BERT-base: the second feed-forward product needs 786,432 bytes of hidden activations and
    196,608 of residual, which leaves 65,536 of 1 MiB. Its output takes 196,608, so the block runs in halves of the
    batch and reads its weights, 9.4 MB and more than the LLB holds, twice; as a ring it takes two eighths of that."""
    network = load_model("bert_base:layers=1", 8, weights=False).network
    evaluator = Evaluator(network, load_machine("stcp920"))
    problem = Problem(evaluator, CandidateSpace(evaluator), Objective.LATENCY, budget=40)
    one, other = solve("graphturbo", problem), solve("graphturbo+rings", problem)
    block, ringed = one.choices[1], other.choices[1]
    assert (block.first, block.stop, block.split_batch) == (ringed.first, ringed.stop, 2)
    assert (ringed.split_batch, ringed.axis, ringed.pieces) == (1, CHANNEL_RING, 8)
    lowered = evaluator.templates.of_instance(ringed, 0, 0, evaluator.supposed_plan()).lowered
    assert lowered.plan.peak_bytes == 786_432 + 196_608 + 2 * 196_608 // 8
    assert one.evaluation.counts.dram_read_bytes - other.evaluation.counts.dram_read_bytes > 9_400_000
    assert other.evaluation.cycles < 0.8 * one.evaluation.cycles
    assert other.evaluations <= problem.budget
