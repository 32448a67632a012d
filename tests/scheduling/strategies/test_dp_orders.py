"""Dynamic programming over orders by rule: never worse than `dp` with what that needs, within any budget."""

from dataclasses import replace
from pathlib import Path

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.strategies import solve
from scheduling.strategies.dp_orders import SET_ASIDE, orders_of
from tests.scheduling.chains.test_order_costs import cells
from tests.scheduling.strategies.test_strategies import problem_of
from tests.scheduling.test_layer_order import branches


@pytest.mark.parametrize("batch", [1, 2, 4])
def test_dp_orders_is_never_worse_than_dp_with_what_that_needs(tmp_path: Path, batch: int) -> None:
    for model in (branches(tmp_path), cells(tmp_path)):
        problem = problem_of(load_model(model, batch).network, load_machine("tiny"), budget=1000)
        single = solve("dp", problem)
        budget = single.evaluations + len(orders_of(problem)) + SET_ASIDE
        both = solve("dp_orders", replace(problem, budget=budget))
        assert both.evaluation.cycles <= single.evaluation.cycles
        assert both.evaluations <= budget


@pytest.mark.parametrize("budget", [1, 2, 3, 9])
def test_dp_orders_keeps_small_budgets(tmp_path: Path, budget: int) -> None:
    problem = problem_of(load_model(branches(tmp_path), 2).network, load_machine("tiny"), budget=budget)
    found = solve("dp_orders", problem)
    assert found.evaluations <= budget
    assert found.evaluation.cycles <= solve("graphturbo", problem).evaluation.cycles
