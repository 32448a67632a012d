"""`channels`: where slices over channels pay, and that they never cost, whatever the objective and the budget."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.flatten import time_program
from scheduling.candidates.space import CandidateSpace
from scheduling.emission.program import build_program
from scheduling.evaluator import Evaluator
from scheduling.legality.arrangements import check_arrangement
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.strategies import solve
from tests.scheduling.random_cases import random_model


def test_heads_and_wide_layers_are_sliced_where_memory_is_small() -> None:
    """One layer of BERT on the edge device: less traffic and fewer cycles than without slices."""
    evaluator = Evaluator(
        load_model("bert_base:layers=1", 1, weights=False).network, load_machine("edge_tcm")
    )
    problem = Problem(evaluator, CandidateSpace(evaluator), budget=60)
    plain, sliced = solve("dp", problem), solve("dp+channels", problem)
    assert any(choice.split_channels > 1 for choice in sliced.choices)
    assert sliced.evaluation.cycles < 0.9 * plain.evaluation.cycles
    plan = evaluator.arrange(sliced.choices, sliced.rules)
    check_arrangement(evaluator, sliced.choices, plan)
    program = build_program(evaluator, sliced.choices, plan)
    assert time_program(program, evaluator.machine).makespan_cycles == sliced.evaluation.cycles


@pytest.mark.parametrize("seed", range(3))
def test_slices_are_never_worse_than_dp_with_half_the_budget(tmp_path: Path, seed: int) -> None:
    model = load_model(str(random_model(tmp_path, np.random.default_rng(seed))), 2)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    for objective in Objective:
        for budget in (1, 2, 7, 30):
            problem = Problem(evaluator, CandidateSpace(evaluator), objective, budget=budget)
            half = solve("dp", replace(problem, budget=(budget + 1) // 2))
            found = solve("dp+channels", problem)
            assert found.evaluations <= budget
            assert objective.cost(found.evaluation) <= objective.cost(half.evaluation)
