"""Costs of orders: simulated on the order itself, and the same whatever orders were looked at before."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.chains import order_costs
from scheduling.chains.order_costs import OrderCosts, as_in_dp, cuts_on
from scheduling.evaluator import Evaluator
from scheduling.layer_order import Order, in_order
from scheduling.problem import Problem
from scheduling.strategies.annealing_orders import Moves
from scheduling.strategies.graphturbo import graphturbo
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.strategies.test_strategies import problem_of


def cells(folder: Path) -> str:
    """Three cells, each of three branches that meet."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 8, 8)
    for _ in range(3):
        left = graph.node("Conv", value, graph.random(4, 4, 1, 1))
        left = graph.node("Conv", left, graph.random(4, 4, 3, 3), pads=[1, 1, 1, 1])
        right = graph.node("MaxPool", value, kernel_shape=[3, 3], pads=[1, 1, 1, 1])
        middle = graph.node("Conv", value, graph.random(4, 4, 1, 1))
        value = graph.node("Add", graph.node("Add", left, middle), right)
    return graph.save(folder, value)


def problem_of_cells(folder: Path) -> Problem:
    return problem_of(load_model(cells(folder), 2).network, load_machine("tiny"), budget=40)


def some_orders(problem: Problem, count: int) -> list[Order]:
    moves, random = Moves(problem.evaluator.network), np.random.default_rng(3)
    orders = [tuple(range(problem.space.layers))]
    while len(orders) < count:
        changed = moves.changed(orders[-1], random)
        if changed is not None:
            orders.append(changed)
    return orders


def test_an_order_costs_what_its_schedule_does_on_it_alone(tmp_path: Path) -> None:
    problem = problem_of_cells(tmp_path)
    evaluator = problem.evaluator
    costs = OrderCosts(problem, evaluator.evaluate(*graphturbo(problem)))
    for order in some_orders(problem, 6):
        before = evaluator.evaluations
        found = costs.cheapest(order)
        assert evaluator.evaluations <= before + 1
        alone = Evaluator(in_order(evaluator.network, order), evaluator.machine)
        assert alone.evaluate(*found.state).cycles == found.cost
        search, simulated = costs.search(found), evaluator.evaluations
        assert search.advance(12) == evaluator.evaluations - simulated <= 12
        assert alone.evaluate(*search.best.state).cycles == search.best.cost <= found.cost


def test_runs_cost_the_same_whatever_orders_came_before(tmp_path: Path) -> None:
    problem = problem_of_cells(tmp_path)
    scale = problem.evaluator.evaluate(*graphturbo(problem))
    together = OrderCosts(problem, scale)
    for order in some_orders(problem, 8):
        assert together.cheapest(order) == OrderCosts(problem, scale).cheapest(order)


def test_of_many_cuts_few_are_looked_at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = problem_of_cells(tmp_path)
    every = cuts_on(problem)
    monkeypatch.setattr(order_costs, "MANY_CUTS", 4)
    monkeypatch.setattr(order_costs, "FEW_CUTS", 4)
    few = cuts_on(problem)
    assert set(few.at) < set(every.at)
    assert (few.at[0], few.at[-1]) == (0, problem.space.layers)
    crossing = problem.space.border_bytes
    assert crossing[few.at[1:-1]].mean() <= crossing[every.at[1:-1]].mean()


def test_of_few_cuts_of_a_long_network_more_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    problem = problem_of_cells(tmp_path)
    monkeypatch.setattr(order_costs, "cut_points", lambda _: [0, 12])
    monkeypatch.setattr(order_costs, "FEW_CUTS", 4)
    found = cuts_on(problem).at
    crossing = problem.space.border_bytes
    windows = (range(1, 5), range(5, 9), range(9, 12))
    assert found == [0, *(min(window, key=lambda cut: crossing[cut]) for window in windows), 12]
    assert not as_in_dp(problem)
