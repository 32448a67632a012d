"""The ten single-core machines of the literature: strategies give legal schedules whose kernels are right."""

import pytest

from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.flatten import time_program
from report.verify import verify
from scheduling.emission.program import build_program, program_weights
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import COMPOSED, STRATEGIES, runs_on, solve

SINGLE_CORE = ("meta_prototype", "tpu_like", "edge_tpu_like", "ascend_like", "tesla_npu_like")


@pytest.mark.parametrize("name", [*SINGLE_CORE, *(f"{name}_df" for name in SINGLE_CORE)])
def test_every_strategy_schedules_a_small_network(name: str) -> None:
    """Int8 kernels are executed with float32 in every place, so exactly what they address is checked."""
    model = load_model("fsrcnn:rows=24,columns=32,d=16,s=4,m=1", 1)
    machine = load_machine(name)
    problem = make_problem(model.network, machine)
    problem = Problem(problem.evaluator, problem.space, Objective.ENERGY, 5, 0)
    checked = set()
    for strategy in (*STRATEGIES, *COMPOSED):
        if not runs_on(strategy, machine):
            continue
        found = solve(strategy, problem)
        decisions = found.choices, found.rules
        if decisions in checked:
            continue
        checked.add(decisions)
        evaluator = problem.evaluator
        program = build_program(evaluator, found.choices, evaluator.arrange(*decisions))
        timing = time_program(program, machine)
        assert (timing.makespan_cycles, timing.counts) == (found.evaluation.cycles, found.evaluation.counts)
        assert timing.inner == found.evaluation.inner
        assert timing.energy_pj == pytest.approx(found.evaluation.energy_pj)
        assert verify(model, program, machine, program_weights(model.network)).passed
    assert len(checked) > 1
