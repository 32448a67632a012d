"""The estimate of an order against a slow computation of the same sum, moves that keep orders legal, the strategy."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import load_machine
from scheduling.layer_order import balanced, in_order
from scheduling.strategies import solve
from scheduling.strategies.annealing_orders import Walk, promising_orders
from scheduling.strategies.order_estimate import SERIAL, OrderTable, order_cost, order_table
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.strategies.test_strategies import check, problem_of, small_network
from tests.scheduling.test_layer_order import branches


def slow_cost(figures: OrderTable, network: Network, order: tuple[int, ...]) -> float:
    """Least sum over all cuts; what is live in a run is counted anew at every position."""
    size, sources = figures.tensor_bytes, figures.sources
    reads = [set(layer.inputs) for layer in network.layers]
    outputs = set(network.outputs)
    layers = len(order)

    def run_cost(i: int, j: int) -> float:
        run = order[i:j]
        made = {sources + layer for layer in run}
        read = set().union(*(reads[layer] for layer in run))
        later = set().union(set(), *(reads[layer] for layer in order[j:])) | outputs
        peak = 0.0
        for p in range(i, j):
            live = {sources + order[p]}
            for t in made | read:
                uses = [q for q in range(i, j) if t in reads[order[q]]]
                born = order.index(t - sources) if t in made else min(uses)
                if uses and born <= p <= max(uses):
                    live.add(t)
            peak = max(peak, sum(size[t] for t in live))
        moved = sum(size[t] for t in read - made) + sum(size[t] for t in made & later)
        waiting = {sources + layer for layer in order[:j]} & later
        best = float("inf")
        for s, split in enumerate(figures.splits):
            if j - i > 1 and peak > figures.l1_bytes * split:
                continue
            matrix, vector = (sum(f[s, layer] for layer in run) for f in (figures.matrix, figures.vector))
            busy = max(matrix, vector) + SERIAL * min(matrix, vector)
            cost = max(busy, sum(figures.weights[layer] for layer in run), moved / figures.border_rate)
            crossing = sum(size[t] for t in waiting - outputs) if j < layers else 0.0
            beyond = max(0.0, crossing / split - figures.llb_bytes)
            best = min(best, cost + 2 * beyond * split / figures.dram_rate + figures.launch * split)
        return best

    least = [0.0]
    for j in range(1, layers + 1):
        least.append(min(least[i] + run_cost(i, j) for i in range(j)))
    return least[-1]


def small_networks(folder: Path) -> list[Network]:
    return [load_model(branches(folder), 2).network, small_network(folder, 3, 4)]


def test_the_estimate_of_an_order_is_the_least_sum_over_its_cuts(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for network in small_networks(tmp_path):
        figures = order_table(problem_of(network, load_machine("tiny")))
        walk = Walk(network, figures)
        order = tuple(range(len(network.layers)))
        for l1_share, llb_share in ((1.0, 1.0), (0.2, 1.0), (0.5, 0.1)):
            tight = figures._replace(
                l1_bytes=figures.l1_bytes * l1_share, llb_bytes=figures.llb_bytes * llb_share
            )
            for _ in range(4):
                expected = slow_cost(tight, network, order)
                assert order_cost(tight, np.array(order)) == pytest.approx(expected, rel=1e-12)
                order = tuple(walk.shifted(list(order), rng) or order)


def test_moves_keep_the_order_topological_and_reach_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for network in small_networks(tmp_path):
        walk = Walk(network, order_table(problem_of(network, load_machine("tiny"))))
        order = list(range(len(network.layers)))
        seen = set()
        for _ in range(60):
            order = walk.shifted(order, rng) or walk.exchanged(order, rng) or order
            in_order(network, order)  # raises where it is none
            seen.add(tuple(order))
        assert len(seen) > 3 if len(network.layers) > 2 else len(seen) == 1


def chain(folder: Path) -> str:
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 4, 4)
    for _ in range(3):
        value = graph.node("Conv", value, graph.random(4, 4, 1, 1))
    return graph.save(folder, value)


def test_a_chain_has_one_order(tmp_path: Path) -> None:
    problem = problem_of(load_model(chain(tmp_path), 2).network, load_machine("tiny"))
    assert promising_orders(problem) == [()]
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
