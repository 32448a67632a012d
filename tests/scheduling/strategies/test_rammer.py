"""Waves in programs: the policy's invariants on random networks, on a small machine that runs kernels side by side."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import PIECES, CandidateSpace, survey
from scheduling.errors import UnsupportedDecision
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem
from scheduling.strategies import CONCURRENT, runs_on, solve
from scheduling.strategies.rammer import breadth_first_waves, rammer, rammer_base
from scheduling.strategies.rammer_programs import StepSimulator
from scheduling.timeline.packing import WAITS, Packing, Placement, Step
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.random_cases import checked_program, random_model

CELL = "nasnet_cifar:cells=1,filters=4,size=8"


def problem_of(network: Network, **changes: object) -> Problem:
    """On `tiny` with four cores and concurrent kernels, figures changed."""
    machine = concurrent("tiny").model_copy(update=changes)
    evaluator = Evaluator(network, machine)
    return Problem(evaluator, CandidateSpace(evaluator))


def randomly_connected(folder: Path, rng: np.random.Generator) -> Network:
    """Convolutions of random earlier tensors or of sums of two, the last of which are added up."""
    graph = GraphBuilder()
    values = [graph.input("image", 1, 4, 8, 8)]
    used = set[str]()
    for _ in range(int(rng.integers(5, 10))):
        sources = [values[int(rng.integers(len(values)))] for _ in range(int(rng.integers(1, 3)))]
        used.update(sources)
        value = sources[0] if len(set(sources)) == 1 else graph.node("Add", *sources)
        weight = graph.random(4, 4, 3, 3)
        values.append(graph.node("Relu", graph.node("Conv", value, weight, pads=[1, 1, 1, 1])))
    ends = [value for value in values[1:] if value not in used]
    total = ends[0]
    for value in ends[1:]:
        total = graph.node("Add", total, value)
    path = graph.save(folder, graph.node("GlobalAveragePool", total))
    return load_model(str(path), 1, weights=False).network


def test_waves_go_by_distance_from_the_inputs(tmp_path: Path) -> None:
    graph = GraphBuilder()
    x = graph.input("x", 1, 4, 8, 8)
    left = graph.node("MaxPool", x, kernel_shape=[3, 3])
    right = graph.node("AveragePool", x, kernel_shape=[1, 1])
    far = graph.node("MaxPool", right, kernel_shape=[3, 3])
    path = graph.save(tmp_path, graph.node("Concat", left, far, axis=1))
    evaluator = Evaluator(load_model(str(path), 1, weights=False).network, concurrent("tiny"))
    nodes = [layer.nodes[0].split("_")[0] for layer in evaluator.network.layers]  # numbered as they are made
    waves = breadth_first_waves(evaluator.table)
    assert [sorted(nodes[layer] for layer in wave) for wave in waves] == [["n0", "n1"], ["n2"], ["n3"]]


@pytest.mark.parametrize("seed", range(6))
def test_rammer_beats_one_layer_at_a_time_and_barriers(tmp_path: Path, seed: int) -> None:
    """On random irregular networks: never slower than its own corners, and its kernels are right in time and free of
    races."""
    problem = problem_of(randomly_connected(tmp_path, np.random.default_rng(seed)), launch_cycles=200)
    cycles = {}
    for name in CONCURRENT:
        solution = solve(name, problem)
        checked_program(problem.evaluator, solution.choices, solution.rules)
        cycles[name] = solution.evaluation.cycles
    assert cycles["rammer"] <= min(cycles.values())
    assert cycles["rammer"] < cycles["rammer_base"]


@pytest.mark.parametrize("budget", [1, 2, 3])
def test_small_budgets_are_kept(tmp_path: Path, budget: int) -> None:
    network = randomly_connected(tmp_path, np.random.default_rng(0))
    problem = replace(problem_of(network, launch_cycles=200), budget=budget)
    assert solve("rammer", problem).evaluations <= budget


@pytest.mark.parametrize("seed", range(6))
def test_a_wave_that_joins_a_program_makes_nothing_worse(tmp_path: Path, seed: int) -> None:
    """A program takes no longer than its waves apart, each a program of its own."""
    problem = problem_of(randomly_connected(tmp_path, np.random.default_rng(seed)))
    choices, rules = rammer(problem)
    assert rules.packing is not None
    simulator = StepSimulator(problem.evaluator)
    for step in rules.packing.steps:
        waves = [
            Step(tuple(placed for placed in step.instances if placed.wave == wave))
            for wave in range(step.instances[-1].wave + 1)
        ]
        apart = sum(
            simulator.cycles([wave], [choices[placed.subgraph] for placed in wave.instances])
            for wave in waves
        )
        assert simulator.cycles([step], [choices[placed.subgraph] for placed in step.instances]) <= apart


@pytest.mark.parametrize(("seed", "launch"), [(seed, launch) for seed in range(4) for launch in (0, 50)])
def test_a_chain_gains_nothing_but_launches(tmp_path: Path, seed: int, launch: int) -> None:
    """The layers of a chain in one launch, on the cores that they have one at a time: what it saves is at most all
    launches but one, and without launches exactly nothing."""
    rng = np.random.default_rng(seed)
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 8, 8)
    for _ in range(int(rng.integers(3, 7))):
        value = graph.node("Relu", graph.node("Conv", value, graph.random(4, 4, 3, 3), pads=[1, 1, 1, 1]))
    path = graph.save(tmp_path, value)
    problem = problem_of(load_model(str(path), 1, weights=False).network, launch_cycles=launch)
    choices, rules = rammer_base(problem)
    apart = problem.evaluator.evaluate(choices, rules).cycles
    together = Step(tuple(Placement(layer, 0, 0, layer) for layer in range(len(choices))), WAITS)
    one = problem.evaluator.evaluate(choices, replace(rules, packing=Packing((together,)))).cycles
    assert 0 <= apart - one <= (len(choices) - 1) * launch
    if launch == 0:
        assert problem.evaluator.evaluate(*rammer(problem)).cycles == apart


def test_irregular_cells_gain_without_counting_launches(tmp_path: Path) -> None:
    """A NASNet cell on a machine whose launches cost nothing: what is left is layers side by side."""
    network = load_model(CELL, 1, weights=False).network
    problem = problem_of(network, launch_cycles=0, cores=16)
    base = problem.evaluator.evaluate(*rammer_base(problem)).cycles
    assert problem.evaluator.evaluate(*rammer(problem)).cycles < 0.9 * base


def test_only_machines_with_concurrent_kernels_are_offered_it(tmp_path: Path) -> None:
    network = load_model(str(random_model(tmp_path, np.random.default_rng(0))), 1, weights=False).network
    machine = load_machine("tiny")
    evaluator = Evaluator(network, machine)
    assert [name for name in CONCURRENT if runs_on(name, machine)] == []
    assert all(runs_on(name, concurrent("tiny")) for name in ("rammer", "dp"))
    with pytest.raises(
        UnsupportedDecision, match="packs kernels side by side, and tiny runs one kernel at a time"
    ):
        solve("rammer", Problem(evaluator, CandidateSpace(evaluator)))


def test_the_machine_that_ships_spreads_over_divisors_of_its_cores() -> None:
    """Every layer of a residual network has a kernel on more than half of the 80 cores."""
    network = load_model("resnet18:size=64,width=0.5", 1, weights=False).network
    problem = Problem(evaluator := Evaluator(network, load_machine("rammer_v100")), CandidateSpace(evaluator))
    for layer in range(problem.space.layers - 1):
        stop = np.array([layer + 1], np.int64)
        rows = survey(evaluator.table, evaluator.machine_table, layer, stop, problem.space.splits, PIECES)
        assert rows[:, 4:7].prod(axis=1).max() > 40
