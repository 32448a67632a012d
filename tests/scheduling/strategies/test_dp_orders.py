"""Dynamic programming over orders by rule: never worse than `dp` with what that needs, within any budget."""

from dataclasses import replace
from pathlib import Path

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.problem import Simulated
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


def test_portfolio_goes_on_with_the_order_that_dp_orders_finds(tmp_path: Path) -> None:
    """With a fifth of its budget; what is noted says in which order it counts layers."""
    log: list[Simulated] = []
    network = load_model(cells(tmp_path), 1).network
    problem = problem_of(network, load_machine("tiny"), budget=60)
    orders = solve("dp_orders", replace(problem, budget=12))
    found = solve("portfolio", replace(problem, log=log))
    assert orders.layer_order
    assert found.layer_order == orders.layer_order
    assert found.evaluation.cycles <= orders.evaluation.cycles
    assert 0 < len(log) <= found.evaluations <= 60
    assert {note.layer_order for note in log} >= {(), found.layer_order}
    for note in log:
        arranged = problem.reordered(note.layer_order)
        assert arranged.cost(*note.state) == note.cost
