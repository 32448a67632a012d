"""Every strategy on every machine that ships: what it finds is legal, simulated and emitted alike, and executed."""

import pytest

from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine, machine_names
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.emission.program import build_program, program_weights
from scheduling.legality.arrangements import check_arrangement
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import COMPOSED, runs_on, solve, strategy_names

NETWORKS = (
    "resnet18:size=32,width=0.125,classes=10",
    "bert_base:layers=1,width=32,heads=2,vocabulary=50,sequence=16",
)
BUDGET = 6


@pytest.mark.slow
@pytest.mark.parametrize("name", machine_names())
@pytest.mark.parametrize("network", NETWORKS)
def test_every_strategy(network: str, name: str) -> None:
    """Schedules that several strategies find are executed once."""
    model, machine = load_model(network, 2), load_machine(name)
    made = make_problem(model.network, machine)
    executed = set()
    for strategy in (*strategy_names(), *COMPOSED):
        if not runs_on(strategy, machine):
            continue
        problem = Problem(made.evaluator, made.space, Objective.LATENCY, BUDGET, 0)
        found = solve(strategy, problem)
        schedule = (found.layer_order, found.choices, found.rules)
        if schedule in executed:
            continue
        executed.add(schedule)
        evaluator = problem.reordered(found.layer_order).evaluator
        plan = evaluator.arrange(found.choices, found.rules)
        check_arrangement(evaluator, found.choices, plan)
        program = build_program(evaluator, found.choices, plan)
        timing = time_program(program, machine)
        simulated = found.evaluation
        assert (timing.makespan_cycles, timing.counts) == (simulated.cycles, simulated.counts), strategy
        assert verify(model, program, machine, program_weights(evaluator.network)).passed, strategy
