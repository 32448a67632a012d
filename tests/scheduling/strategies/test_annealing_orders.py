"""Annealing over orders: moves that keep orders legal, the strategy."""

import math
from itertools import pairwise
from pathlib import Path

import numpy as np

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import load_machine
from scheduling.chains.chain_search import Priced
from scheduling.chains.order_costs import OrderCosts
from scheduling.layer_order import Order, balanced, in_order
from scheduling.rules import Rules
from scheduling.strategies import solve
from scheduling.strategies.annealing_orders import Moves, walk
from scheduling.strategies.dp_orders import orders_of
from scheduling.strategies.graphturbo import graphturbo
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.strategies.test_strategies import check, problem_of, small_network
from tests.scheduling.test_layer_order import branches


def small_networks(folder: Path) -> list[Network]:
    return [load_model(branches(folder), 2).network, small_network(folder, 3, 4)]


def test_moves_keep_the_order_topological_and_reach_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for network in small_networks(tmp_path):
        moves = Moves(network)
        order = tuple(range(len(network.layers)))
        seen = set()
        for step in range(60):
            move = (moves.shifted, moves.exchanged, moves.rewritten)[step % 3]
            order = move(order, rng) or order
            in_order(network, order)  # raises where it is none
            seen.add(order)
        assert len(seen) > 3 if len(network.layers) > 2 else len(seen) == 1


def test_a_walk_passes_by_orders_on_which_nothing_fits(tmp_path: Path) -> None:
    problem = problem_of(small_networks(tmp_path)[0], load_machine("tiny"))
    evaluator = problem.evaluator
    state = graphturbo(problem)
    asked = []

    class Costs(OrderCosts):
        def cheapest(self, order: Order) -> Priced:
            asked.append(order)
            evaluator.evaluate(*state)
            return Priced(math.inf, order, ((), Rules()))

    start = Priced(evaluator.evaluate(*state).cycles, tuple(range(problem.space.layers)), state)
    costs = Costs(problem, evaluator.evaluate(*state))
    assert walk(problem, costs, start, evaluator.evaluations + 5) == start
    assert len(asked) == 5


def chain(folder: Path) -> str:
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 4, 4)
    for _ in range(3):
        value = graph.node("Conv", value, graph.random(4, 4, 1, 1))
    return graph.save(folder, value)


def test_a_chain_has_one_order(tmp_path: Path) -> None:
    problem = problem_of(load_model(chain(tmp_path), 2).network, load_machine("tiny"))
    assert orders_of(problem) == [()]
    assert solve("annealing_orders", problem).layer_order == ()


def test_balanced_takes_turns_between_the_engines(tmp_path: Path) -> None:
    """Two chains of equal tensors, one of matrix work and one of vector work."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 4, 4)
    left = right = image
    for _ in range(3):
        left = graph.node("Conv", left, graph.random(4, 4, 1, 1))
    for _ in range(3):
        right = graph.node("MaxPool", right, kernel_shape=[1, 1])
    network = load_model(graph.save(tmp_path, graph.node("Add", left, right)), 1).network
    is_matrix = [layer.name.startswith("Conv") or "conv" in layer.name.lower() for layer in network.layers]
    matrix = [float(flag) for flag in is_matrix]
    order = balanced(network, matrix, [1.0 - m for m in matrix])
    in_order(network, order)
    runs = 1 + sum(matrix[a] != matrix[b] for a, b in pairwise(order))
    assert runs >= 4


def test_the_strategy_is_legal_and_keeps_its_budget(tmp_path: Path) -> None:
    for budget in (1, 9, 45):
        for network in small_networks(tmp_path):
            problem = problem_of(network, load_machine("tiny"), budget=budget)
            solution = solve("annealing_orders", problem)
            assert solution.evaluations <= budget
            assert solution.evaluation.cycles <= solve("graphturbo", problem).evaluation.cycles
            check(problem.reordered(solution.layer_order), solution)
            again = solve("annealing_orders", problem_of(network, load_machine("tiny"), budget=budget))
            assert (again.layer_order, again.choices) == (solution.layer_order, solution.choices)
