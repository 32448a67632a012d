"""Steps of several instances: timed, counted, free of races, and right in any order, each by a method of its own."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.timeline.packing import (
    AS_BARRIERS,
    BARRIERS,
    EARLIEST,
    WAITS,
    Packing,
    Placement,
    Step,
    packed_order,
)
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import (
    legal,
    legal_draws,
    random_choices,
    random_model,
    random_rules,
    random_tiles,
)
from tests.scheduling.random_packings import random_packing
from tests.scheduling.whole_checks import check_all_the_way_down


def concurrent(name: str) -> Machine:
    """A machine that ships, with twice the cores, on which kernels run side by side."""
    machine = load_machine(name)
    changed = {"concurrent_kernels": True, "barrier_cycles": 7, "cores": 2 * machine.cores}
    return machine.model_copy(update=changed)


@pytest.mark.parametrize(
    ("machine_name", "seed"),
    [*(("tiny", seed) for seed in range(8)), *(("stcp920", seed) for seed in range(4))],
)
def test_random_packed_steps_hold_all_the_way_down(tmp_path: Path, machine_name: str, seed: int) -> None:
    rng = np.random.default_rng([seed, len(machine_name)])
    machine = concurrent(machine_name)
    batch = int(rng.choice([1, 3, 4]))
    model = load_model(str(random_model(tmp_path, rng)), batch)
    evaluator = Evaluator(model.network, machine)
    draw = random_tiles if seed % 4 == 3 else random_choices
    for choices, rules in legal_draws(evaluator, rng, draw, 200, most=1):
        packed = replace(rules, packing=random_packing(evaluator, choices, rng))
        check_all_the_way_down(model, evaluator, choices, packed, rng, tmp_path)


@pytest.mark.parametrize("seed", range(10))
def test_one_instance_a_step_takes_as_long_by_either_simulator(tmp_path: Path, seed: int) -> None:
    """Steps of one instance from core 0 on: engines per core give the times of engines in lock step, copies too."""
    rng = np.random.default_rng(seed)
    network = load_model(str(random_model(tmp_path, rng)), int(rng.integers(1, 5)), weights=False).network
    evaluator = Evaluator(network, concurrent("stcp920"))
    choices, rules = random_choices(evaluator, rng), random_rules(rng)
    if choices is None or not legal(evaluator, choices, rules):
        pytest.skip("luck found nothing that fits")
    plan = evaluator.arrange(choices, rules)
    steps = [
        Step((Placement(s, i),)) for s, i in zip(plan.subgraph.tolist(), plan.instance.tolist(), strict=True)
    ]
    one = evaluator.simulate(choices, plan)[1]
    assert evaluator.simulate(choices, plan._replace(packed=packed_order(steps, EARLIEST)))[1] == one


@pytest.mark.parametrize("seed", range(30))
def test_waits_are_never_slower_than_barriers(tmp_path: Path, seed: int) -> None:
    """The same steps and waves on random networks, in the order that barriers give: leaving the barriers out only
    helps, even where one costs nothing."""
    rng = np.random.default_rng(seed)
    network = load_model(str(random_model(tmp_path, rng)), int(rng.choice([1, 4])), weights=False).network
    machine = concurrent("tiny").model_copy(update={"barrier_cycles": int(rng.choice([0, 50]))})
    evaluator = Evaluator(network, machine)
    choices = random_choices(evaluator, rng)
    if choices is None or not legal(evaluator, choices, Rules()):
        pytest.skip("luck found nothing that fits")
    steps = random_packing(evaluator, choices, rng).steps
    cycles = {
        sync: evaluator.evaluate(
            choices, Rules(packing=Packing(tuple(replace(step, sync=sync) for step in steps), AS_BARRIERS))
        ).cycles
        for sync in (WAITS, BARRIERS)
    }
    assert cycles[WAITS] <= cycles[BARRIERS]


def two_sums(folder: Path) -> Evaluator:
    """y = relu(x) and z = sign(x) of 1 x 4 x 4 x 4 numbers, 256 bytes each: two kernels that do not meet."""
    graph = GraphBuilder()
    x = graph.input("x", 1, 4, 4, 4)
    path = graph.save(folder, graph.node("Relu", x), graph.node("Sign", x))
    return Evaluator(load_model(str(path), 1, weights=False).network, concurrent("tiny"))


def test_two_kernels_side_by_side_by_hand(tmp_path: Path) -> None:
    """On `tiny` with four cores: a launch of 10 cycles; 256 bytes at 4 bytes a cycle of DRAM each way, 64 cycles; on
    one core of 4 lanes a step of 64 numbers takes 16 cycles."""
    evaluator = two_sums(tmp_path)
    choices = (Choice(0, 1), Choice(1, 2))

    def cycles(*steps: Step) -> int:
        return evaluator.evaluate(choices, Rules(packing=Packing(steps))).cycles

    # Launch 10, load 64, compute 16, store 64; the second launch is hidden under the first store.
    apart = 10 + 2 * (64 + 16 + 64)
    assert cycles(Step((Placement(0, 0),)), Step((Placement(1, 0),))) == apart
    assert cycles(Step((Placement(0, 0), Placement(1, 0)))) == apart
    # On two cores: the second load follows the first on the link, and so do the stores. In two steps it is the same,
    # since each core has its own launch.
    together = 10 + 64 + 64 + 16 + 64
    assert cycles(Step((Placement(0, 0), Placement(1, 0, 1)))) == together
    assert cycles(Step((Placement(0, 0),)), Step((Placement(1, 0, 1),))) == together
    # With a barrier between the two the second starts when the first has stored, after 7 cycles more.
    waves = (Placement(0, 0), Placement(1, 0, 1, 1))
    assert cycles(Step(waves, BARRIERS)) == 10 + 64 + 16 + 64 + 7 + 64 + 16 + 64


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (((0, 0, 3, 0), (1, 0, 0, 0)), "step 0: instance 0 of sub-graph 0 is on cores 3 to 4, tiny has 4"),
        (
            ((0, 0, 0, 1), (1, 0, 0, 0)),
            "step 0: instance 0 of sub-graph 1 is in wave 0, behind one of wave 1",
        ),
        (((0, 0, 0, 0),), "the order has 1 instances, expected each of 2 once"),
        (((0, 0, 0, 0), (2, 0, 0, 0)), "the order has 2 instances, expected each of 2 once"),
    ],
)
def test_impossible_steps_are_refused(
    tmp_path: Path, steps: tuple[tuple[int, ...], ...], message: str
) -> None:
    evaluator = two_sums(tmp_path)
    packing = Packing((Step(tuple(Placement(*each) for each in steps)),))
    with pytest.raises(IllegalSchedule, match=message):
        evaluator.evaluate((Choice(0, 1, ways_rows=2), Choice(1, 2)), Rules(packing=packing))


def test_one_kernel_at_a_time_is_kept(tmp_path: Path) -> None:
    """A machine without concurrent kernels refuses two instances in a step, naming step and instance."""
    network = two_sums(tmp_path).network
    packing = Packing((Step((Placement(0, 0), Placement(1, 0, 1))),))
    with pytest.raises(
        IllegalSchedule, match=r"step 0: instance 0 of sub-graph 0 is one of 2.*one kernel at a time"
    ):
        Evaluator(network, load_machine("tiny")).evaluate(
            (Choice(0, 1), Choice(1, 2)), Rules(packing=packing)
        )


def test_a_reader_before_its_producer_is_refused(tmp_path: Path) -> None:
    graph = GraphBuilder()
    x = graph.input("x", 1, 4, 4, 4)
    pool = graph.node("MaxPool", x, kernel_shape=[2, 2])
    path = graph.save(tmp_path, graph.node("MaxPool", pool, kernel_shape=[2, 2]))
    evaluator = Evaluator(load_model(str(path), 1, weights=False).network, concurrent("tiny"))
    packing = Packing((Step((Placement(1, 0), Placement(0, 0, 1))),))
    with pytest.raises(
        IllegalSchedule, match="of sub-graph 1 stands before instance 0 of sub-graph 0, whose"
    ):
        evaluator.evaluate((Choice(0, 1), Choice(1, 2)), Rules(packing=packing))
