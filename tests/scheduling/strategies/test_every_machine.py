"""Every strategy on every machine that ships: what it finds is simulated, emitted and executed alike."""

import pytest

from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine, machine_names
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.emission.program import build_program, program_weights
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import COMPOSED, runs_on, solve, strategy_names

NETWORKS = (
    "resnet18:size=32,width=0.125,classes=10",
    "bert_base:layers=1,width=32,heads=2,vocabulary=50,sequence=16",
)
EXECUTED = ("layerwise", "graphturbo", "dp", "depth_first", "rammer", "annealing_orders")
BUDGET = 6


@pytest.mark.slow
@pytest.mark.parametrize("name", machine_names())
@pytest.mark.parametrize("network", NETWORKS)
def test_every_strategy(network: str, name: str) -> None:
    model, machine = load_model(network, 2), load_machine(name)
    made = make_problem(model.network, machine)
    for strategy in (*strategy_names(), *COMPOSED):
        if not runs_on(strategy, machine):
            continue
        problem = Problem(made.evaluator, made.space, Objective.LATENCY, BUDGET, 0)
        found = solve(strategy, problem)
        evaluator = problem.reordered(found.layer_order).evaluator
        plan = evaluator.arrange(found.choices, found.rules)
        program = build_program(evaluator, found.choices, plan)
        timing = time_program(program, machine)
        assert (timing.makespan_cycles, timing.counts) == (
            found.evaluation.cycles,
            found.evaluation.counts,
        ), strategy
        if strategy in EXECUTED:
            assert verify(model, program, machine, program_weights(evaluator.network)).passed, strategy
