"""Core groups of given schedules: never worse, within the budget, the same every time, and right to the last byte."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.core_groups.run_kernels import RunKernels
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem
from scheduling.refinements.cores import with_cores
from scheduling.rules import Rules
from scheduling.strategies import solve
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.random_cases import (
    checked_program,
    legal_draws,
    random_channel_slices,
    random_choices,
    random_model,
    random_own_bindings,
    random_tiles,
)
from tests.scheduling.random_packings import random_packing
from tests.scheduling.strategies.test_rammer import randomly_connected
from tests.scheduling.whole_checks import check_all_the_way_down


def problem_of(network: Network, machine: Machine, budget: int = 300) -> Problem:
    evaluator = Evaluator(network, machine)
    return Problem(evaluator, CandidateSpace(evaluator), budget=budget)


@pytest.mark.parametrize("draw", [random_choices, random_tiles, random_channel_slices, random_own_bindings])
@pytest.mark.parametrize("machine", [concurrent("tiny"), load_machine("tiny"), concurrent("stcp920")])
def test_any_schedule_is_made_no_worse(tmp_path: Path, machine: Machine, draw: object) -> None:
    """Random sub-graphs of random networks with random rules, some packed at random: what comes back is legal, no
    dearer, found within the budget, and found again."""
    rng = np.random.default_rng([machine.cores, machine.concurrent_kernels, len(draw.__name__)])
    network = load_model(str(random_model(tmp_path, rng)), int(rng.choice([2, 3])), weights=False).network
    problem = problem_of(network, machine, budget=12)
    evaluator = problem.evaluator
    for number, (choices, rules) in enumerate(legal_draws(evaluator, rng, draw, 200, most=2)):
        if number and machine.concurrent_kernels:
            rules = replace(rules, packing=random_packing(evaluator, choices, rng))
        given = evaluator.evaluate(choices, rules).cycles
        before = evaluator.evaluations
        found = with_cores(problem, (choices, rules))
        assert evaluator.evaluations - before <= problem.budget
        assert checked_program(evaluator, *found)[0].cycles <= given
        assert with_cores(problem_of(network, machine, budget=12), (choices, rules)) == found


@pytest.mark.parametrize("budget", [2, 3, 5, 9])
def test_small_budgets_are_kept(tmp_path: Path, budget: int) -> None:
    network = randomly_connected(tmp_path, np.random.default_rng(0))
    problem = problem_of(network, concurrent("tiny"), budget)
    state = solve("graphturbo", problem)
    before = problem.evaluator.evaluations
    with_cores(problem, (state.choices, state.rules))
    assert problem.evaluator.evaluations - before <= budget


@pytest.mark.parametrize(("machine_name", "seed"), [("tiny", 0), ("tiny", 1), ("stcp920", 2)])
def test_programs_with_cores_hold_all_the_way_down(tmp_path: Path, machine_name: str, seed: int) -> None:
    """Sub-graphs of several layers, in slices of the batch, side by side: executed, in any allowed order, and
    replayed from a file."""
    rng = np.random.default_rng(seed)
    model = load_model(str(random_model(tmp_path, rng)), 3)
    problem = problem_of(model.network, concurrent(machine_name))
    state = solve("graphturbo", problem)
    choices, rules = with_cores(problem, (state.choices, state.rules))
    check_all_the_way_down(model, problem.evaluator, choices, rules, rng, tmp_path)


def test_branches_that_fill_half_of_the_cores_run_side_by_side(tmp_path: Path) -> None:
    """Two convolutions of one image of 2 rows: on four cores each has work for two, and together they take as long as
    one of them."""
    graph = GraphBuilder()
    x = graph.input("x", 1, 4, 2, 8)
    ends = [graph.node("Conv", x, graph.random(4, 4, 3, 3), pads=[1, 1, 1, 1]) for _ in range(2)]
    path = graph.save(tmp_path, *ends)
    machine = concurrent("tiny").model_copy(update={"launch_cycles": 1000})
    problem = problem_of(load_model(str(path), 1, weights=False).network, machine)
    state = (Choice(0, 1, ways_rows=2), Choice(1, 2, ways_rows=2)), Rules()
    one_by_one = problem.evaluator.evaluate(*state).cycles
    choices, rules = with_cores(problem, state)
    assert rules.packing is not None
    (step,) = rules.packing.steps
    one, other = step.instances
    last = one.first_core + choices[one.subgraph].cores
    assert last <= other.first_core or other.first_core + choices[other.subgraph].cores <= one.first_core
    assert problem.evaluator.evaluate(choices, rules).cycles < one_by_one - 900


@pytest.mark.parametrize("name", ["tiny", "stcp920"])
def test_the_time_of_a_kernel_is_that_of_its_network_alone(tmp_path: Path, name: str) -> None:
    """A network that is one run of layers, on a machine whose launches cost nothing: the schedule of one sub-graph
    takes as long as its kernel says, for every number of cores; none is slower than one on fewer."""
    rng = np.random.default_rng(5)
    network = load_model(str(random_model(tmp_path, rng)), 2, weights=False).network
    evaluator = Evaluator(network, concurrent(name).model_copy(update={"launch_cycles": 0}))
    layers = len(network.layers)
    plan = evaluator.arrange((Choice(0, layers),), Rules())
    kernels = RunKernels(evaluator).where(plan.in_llb).of(0, layers, 1)
    assert kernels
    for kernel in kernels:
        simulated = evaluator.simulate((kernel.choice,), plan)[1].cycles
        assert simulated >= kernel.cycles
        if not plan.staged.any():
            assert simulated == kernel.cycles
    assert [kernel.cycles for kernel in kernels] == sorted(
        {kernel.cycles for kernel in kernels}, reverse=True
    )
