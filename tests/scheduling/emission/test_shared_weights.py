"""Weights that layers share: one buffer, one copy in the LLB, one load where they are still in the weight buffer."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.model import Model
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Op
from report.verify import verify
from scheduling.bound import bound
from scheduling.choice import CACHE, COLUMNS, RECOMPUTE, ROWS, Choice
from scheduling.emission.program import build_program, program_weights
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.layer_order import in_order, least_live
from scheduling.legality.arrangements import check_arrangement
from scheduling.rules import Rules
from scheduling.schedule import make_schedule
from scheduling.timeline.arrangement import WEIGHTS_RELOADED
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import checked_program, legal_draws
from tests.scheduling.random_packings import random_packing
from tests.scheduling.whole_checks import check_replay

CHANNELS, SIZE = 8, 6
WEIGHT_BYTES = 2 * (CHANNELS * CHANNELS * 9 + CHANNELS)


def chain(folder: Path, layers: int = 4, batch: int = 2) -> Model:
    """The same convolution, weight and bias, again and again; then one of its own."""
    graph = GraphBuilder()
    kernel, bias = graph.random(CHANNELS, CHANNELS, 3, 3), graph.random(CHANNELS)
    value = graph.input("image", 1, CHANNELS, SIZE, SIZE)
    for _ in range(layers):
        value = graph.node("Relu", graph.node("Conv", value, kernel, bias, pads=[1, 1, 1, 1]))
    other = graph.random(CHANNELS, CHANNELS, 3, 3)
    return load_model(graph.save(folder, graph.node("Conv", value, other, bias, pads=[1, 1, 1, 1])), batch)


def recurrent(folder: Path, batch: int = 2) -> Model:
    graph = GraphBuilder()
    x = graph.node("Transpose", graph.input("x", 1, 5, 6), perm=[1, 0, 2])
    weights = (graph.random(2, 24, 6), graph.random(2, 24, 8), graph.random(2, 48))
    y = graph.node("GRU", x, *weights, hidden_size=8, direction="bidirectional")
    return load_model(graph.save(folder, graph.node("Transpose", y, perm=[2, 0, 1, 3])), batch)


def test_one_buffer_and_the_bound_counts_it_once(tmp_path: Path) -> None:
    network = chain(tmp_path).network
    machine = load_machine("stcp920")
    evaluator = Evaluator(network, machine)
    choices = tuple(Choice(layer, layer + 1) for layer in range(5))
    program = build_program(evaluator, choices, evaluator.arrange(choices, Rules()))
    stored = [buffer for buffer in program.buffers if buffer.role in ("weight", "parameter")]
    assert sum(2 * int(np.prod(buffer.shape)) for buffer in stored) == 2 * WEIGHT_BYTES
    assert {buffer.name for buffer in stored} == program_weights(network).keys()
    image = 2 * 2 * CHANNELS * SIZE * SIZE
    assert bound(network, machine).dram_read_bytes == image + 2 * WEIGHT_BYTES


def test_a_kernel_loads_them_once(tmp_path: Path) -> None:
    """All five layers fit the weight buffer, so the kernel reads the image, and two weights."""
    evaluator = Evaluator(chain(tmp_path).network, load_machine("stcp920"))
    choices, rules = (Choice(0, 5),), Rules(prefetch=0)
    evaluation, _ = checked_program(evaluator, choices, rules)
    assert evaluation.counts.dram_read_bytes == 2 * 2 * CHANNELS * SIZE * SIZE + 2 * WEIGHT_BYTES
    assert evaluation.counts.llb_read_bytes == 0


def test_one_copy_in_the_llb_serves_the_kernels_that_follow(tmp_path: Path) -> None:
    """Alone, each of the four would read them from DRAM; together they are copied once."""
    evaluator = Evaluator(chain(tmp_path).network, load_machine("stcp920"))
    choices, rules = tuple(Choice(layer, layer + 1) for layer in range(5)), Rules(prefetch=0)
    plan = evaluator.arrange(choices, rules)
    assert plan.staged_by.tolist() == [0, 0, 0, 0, -1]
    assert plan.copy_layer.tolist() == [0]
    evaluation, _ = checked_program(evaluator, choices, rules)
    assert evaluation.counts.dram_read_bytes == 2 * 2 * CHANNELS * SIZE * SIZE + 2 * WEIGHT_BYTES
    plan.staged_by[3] = 4
    with pytest.raises(IllegalSchedule, match="are not where those of n8_Conv are copied to"):
        check_arrangement(evaluator, choices, plan)


def test_copies_that_nobody_reads_are_refused(tmp_path: Path) -> None:
    """A layer reads its own copies or those of another layer; the copies of a layer with both would be nobody's."""
    evaluator = Evaluator(chain(tmp_path).network, load_machine("stcp920"))
    choices = tuple(Choice(layer, layer + 1) for layer in range(5))
    plan = evaluator.arrange(choices, Rules(prefetch=0))
    plan = plan._replace(copy_when=np.array([0, 0]), copy_layer=np.array([0, 1]))
    with pytest.raises(IllegalSchedule, match="are copied to the LLB, but the layer reads none there or"):
        check_arrangement(evaluator, choices, plan)


@pytest.mark.parametrize("halo", [RECOMPUTE, CACHE])
def test_weights_that_stay_are_loaded_once_for_all_that_share_them(tmp_path: Path, halo: int) -> None:
    """Two slices of rows, of which the first loads one weight for four layers and one for the fifth, the second
    none. Where halos are computed anew, both read all 6 rows of the image, 3 and 5 around them."""
    model, machine = chain(tmp_path), load_machine("stcp920")
    evaluator, rules = Evaluator(model.network, machine), Rules(weights=WEIGHTS_RELOADED)
    image = 2 * 2 * CHANNELS * SIZE * SIZE * (2 if halo == RECOMPUTE else 1)
    for keep in (0, 1):
        axis = ROWS if halo == RECOMPUTE else COLUMNS  # overlaps are cached along the other axis than pieces
        choices = (Choice(0, 5, split_rows=2, axis=axis, halo=halo, keep_weights=keep),)
        evaluation, program = checked_program(evaluator, choices, rules)
        assert evaluation.counts.dram_read_bytes == image + (2 - keep) * 2 * WEIGHT_BYTES
        loads = [
            sum(instruction.op == Op.LOADW for instruction in program.kernels[step.kernel].instructions)
            for step in program.steps
        ]
        assert loads[0] > 0 and loads[1] == (0 if keep else loads[0])
        assert verify(model, program, machine, program_weights(model.network)).passed


def machine_named(name: str) -> Machine:
    """A machine that ships, or, with " side by side", one with twice the cores, on which kernels run at one time."""
    machine = load_machine(name.removesuffix(" side by side"))
    if name.endswith("side by side"):
        changed = {"concurrent_kernels": True, "barrier_cycles": 7, "cores": 2 * machine.cores}
        machine = machine.model_copy(update=changed)
    return machine


@pytest.mark.parametrize(
    "machine_name", ["tiny", "stcp920", "tiny side by side", "stcp920 side by side", "rammer_v100"]
)
@pytest.mark.parametrize("build", [chain, recurrent])
@pytest.mark.parametrize("seed", range(3))
def test_random_schedules_hold_all_the_way_down(tmp_path: Path, build, machine_name: str, seed: int) -> None:  # type: ignore[no-untyped-def]
    """Timed, counted and placed as the decoded program, without races, equal to onnxruntime, and replayed."""
    rng = np.random.default_rng(seed)
    model, machine = build(tmp_path), machine_named(machine_name)
    network = model.network if seed % 2 else in_order(model.network, least_live(model.network))
    evaluator = Evaluator(network, machine)
    for choices, rules in legal_draws(evaluator, rng):
        if machine.concurrent_kernels:
            rules = replace(rules, packing=random_packing(evaluator, choices, rng))
        evaluation, program = checked_program(evaluator, choices, rules)
        assert verify(model, program, machine, program_weights(model.network)).passed
        assert bound(network, machine).off_core_bytes <= evaluation.off_core_bytes
        schedule = make_schedule(
            evaluator, choices, rules, network.model_hash, "random", reordered=seed % 2 == 0
        )
        check_replay(evaluator, schedule, program, evaluation, tmp_path)
