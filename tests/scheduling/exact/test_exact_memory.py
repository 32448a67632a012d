"""Least peak memory: known micro cases, brute force over all orders, bounds where the search is cut short."""

import itertools
import random
from collections.abc import Iterator

import pytest

from graph.importer import load_model
from scheduling.exact.errors import GraphError
from scheduling.exact.memory import crossing_bound_bytes, decomposed, greedy_order, least_memory
from scheduling.exact.operator_graph import (
    INPUT,
    OperatorGraph,
    edge_graph,
    operator_graph,
    part,
    peak_bytes,
)
from tests.scheduling.exact.exact_cases import random_graph, triangle_graphs

CHAIN_AND_BRANCH = {("A", "B"): 10, ("B", "C"): 20, ("B", "D"): 30, ("D", "E"): 40}


def replayed_peak_bytes(graph: OperatorGraph, order: tuple[int, ...]) -> int:
    """Peak by the definition, for each moment anew."""
    peaks = []
    for i, operator in enumerate(order):
        before, after = set(order[:i]), set(order[i:])
        assert before >= set(graph.predecessors[operator])
        peaks.append(
            sum(
                size
                for t, (size, maker, users) in enumerate(
                    zip(graph.tensor_bytes, graph.producer, graph.consumers, strict=True)
                )
                if maker == operator
                or ((maker == INPUT or maker in before) and (t in graph.outputs or after.intersection(users)))
            )
        )
    return max(peaks)


def orders(graph: OperatorGraph, first: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    if len(first) == len(graph.names):
        yield first
    for operator in set(range(len(graph.names))) - set(first):
        if set(first) >= set(graph.predecessors[operator]):
            yield from orders(graph, (*first, operator))


def check(graph: OperatorGraph) -> None:
    found = least_memory(graph)
    assert found.proven
    assert sorted(found.order) == list(range(len(graph.names)))
    assert replayed_peak_bytes(graph, found.order) == peak_bytes(graph, found.order) == found.peak_bytes
    best = min(replayed_peak_bytes(graph, order) for order in orders(graph))
    assert found.peak_bytes == best
    assert crossing_bound_bytes(graph) <= best


def test_micro_cases_of_the_literature() -> None:
    assert least_memory(edge_graph(CHAIN_AND_BRANCH)).peak_bytes == 70
    more = {**CHAIN_AND_BRANCH, ("E", "F"): 50, ("C", "F"): 60, ("F", "G"): 10}
    found = least_memory(edge_graph(more))
    assert (found.peak_bytes, found.proven) == (130, True)


def test_inputs_are_live_until_their_last_use_and_outputs_until_the_end() -> None:
    graph = OperatorGraph(
        ("a", "b"), (5, 7, 11, 13), (INPUT, INPUT, 0, 1), ((0,), (1,), (1,), ()), frozenset({2, 3})
    )
    assert least_memory(graph).peak_bytes == 7 + 11 + 13
    assert peak_bytes(part(graph, [0]), (0,)) == 5 + 11
    assert least_memory(OperatorGraph((), (5, 3), (INPUT, INPUT), ((), ()), frozenset({0}))).peak_bytes == 5


@pytest.mark.parametrize("operators", [1, 2, 3, 4])
def test_all_small_graphs_against_brute_force(operators: int) -> None:
    rng = random.Random(operators)
    for graph in triangle_graphs(operators, rng):
        check(graph)


def test_random_graphs_against_brute_force() -> None:
    rng = random.Random(1)
    for _ in range(60):
        check(random_graph(rng.randint(5, 7), rng, density=rng.choice([0.2, 0.35, 0.5])))


def test_edges_with_their_own_tensors_against_brute_force() -> None:
    rng = random.Random(2)
    for _ in range(40):
        pairs = [p for p in itertools.combinations("ABCDEF", 2) if rng.random() < 0.4] or [("A", "B")]
        check(edge_graph({pair: rng.randint(0, 40) for pair in pairs}))


def test_parts_that_every_order_runs_as_a_whole() -> None:
    """Two diamonds after each other, and a tensor that passes by the second: all of one precede all of the other."""
    graph = edge_graph(
        {
            ("a", "b"): 1, ("a", "c"): 2, ("b", "d"): 3, ("c", "d"): 4, ("d", "e"): 5, ("d", "f"): 6,
            ("e", "g"): 7, ("f", "g"): 8, ("b", "g"): 9,
        }
    )  # fmt: skip
    assert [[graph.names[o] for o in piece] for piece in decomposed(graph)] == [
        ["a"], ["b", "c"], ["d"], ["e", "f"], ["g"],
    ]  # fmt: skip
    check(graph)


def test_thirty_operators_are_proven() -> None:
    rng = random.Random(3)
    for _ in range(4):
        graph = random_graph(30, rng, density=0.15)
        found = least_memory(graph)
        assert found.proven
        assert replayed_peak_bytes(graph, found.order) == found.peak_bytes
        assert found.peak_bytes <= peak_bytes(graph, greedy_order(graph))


def test_out_of_states_the_bound_still_holds() -> None:
    rng = random.Random(4)
    undecided = 0
    for _ in range(10):
        graph = random_graph(20, rng, density=0.12)
        short, full = least_memory(graph, 60), least_memory(graph)
        assert short.bound_bytes <= full.peak_bytes <= short.peak_bytes
        assert replayed_peak_bytes(graph, short.order) == short.peak_bytes
        undecided += not short.proven
    assert undecided
    with pytest.raises(ValueError, match="0 states"):
        least_memory(graph, 0)


def test_a_network() -> None:
    network = load_model("squeezenet", 2, weights=False).network
    graph = operator_graph(network, 2)
    assert len(graph.names) == len(network.layers)
    assert graph.tensor_bytes[0] == 2 * 2 * network.tensors[0].elements
    found = least_memory(graph)
    assert found.proven and found.peak_bytes == replayed_peak_bytes(graph, found.order)
    assert found.peak_bytes == 2 * least_memory(operator_graph(network, 1)).peak_bytes


@pytest.mark.slow
def test_a_large_irregular_network() -> None:
    graph = operator_graph(load_model("randwire", 1, weights=False).network, 2)
    found = least_memory(graph)
    assert found.proven
    assert found.peak_bytes == replayed_peak_bytes(graph, found.order)
    assert found.peak_bytes < 0.75 * peak_bytes(graph, range(len(graph.names)))


@pytest.mark.parametrize(
    "fields, message",
    [
        ((("a",), (-1,), (0,), ((),)), "has -1 bytes"),
        ((("a",), (1,), (0,), ((0,),)), "not in order"),
        ((("a",), (1,), (INPUT,), ((0, 0),)), "not in order"),
        ((("a",), (1,), (1,), ((),)), "operator 1 of 1"),
        ((("a",), (1,), (INPUT,), ()), "1 sizes, 1 producers, 0 consumers"),
        ((("a",), (1,), (INPUT,), ((0,),), frozenset({1})), "outputs"),
    ],
)
def test_graphs_that_contradict_themselves(fields: tuple, message: str) -> None:  # type: ignore[type-arg]
    with pytest.raises(GraphError, match=message):
        OperatorGraph(*fields)


def test_orders_that_contradict_the_graph() -> None:
    graph = edge_graph(CHAIN_AND_BRANCH)
    with pytest.raises(GraphError, match="each once"):
        peak_bytes(graph, (0, 1, 2))
    with pytest.raises(GraphError, match="runs before"):
        peak_bytes(graph, (1, 0, 2, 3, 4))
    with pytest.raises(GraphError, match="a cycle among B, C"):
        edge_graph({("A", "B"): 1, ("B", "C"): 1, ("C", "B"): 1})
    with pytest.raises(GraphError, match="0 bytes"):
        operator_graph(load_model("squeezenet", 1, weights=False).network, 0)
