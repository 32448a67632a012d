"""Least traffic: against brute force over single moves, plans replayed by a checker of this file, bounds."""

import heapq
import random
from collections.abc import Iterable

import numpy as np
import pytest
from numba import njit

from scheduling.exact.errors import CapacityError, GraphError
from scheduling.exact.memory import least_memory
from scheduling.exact.operator_graph import INPUT, OperatorGraph
from scheduling.exact.traffic import LeastTraffic, Step, belady_plan, least_traffic, plan_traffic_bytes
from scheduling.lowering.tables import Ints
from tests.scheduling.exact.exact_cases import random_graph, triangle_graphs


def bits(indices: Iterable[int]) -> int:
    """A set as a bit mask."""
    return sum(1 << index for index in indices)


def brute_force_bytes(graph: OperatorGraph, capacity: int) -> int:
    """Least bytes by Dijkstra over single moves: write, give up, load, run. Nothing is assumed of when."""
    least = dijkstra(
        np.array(graph.tensor_bytes, np.int64),
        np.array([bits(reads) for reads in graph.reads], np.int64),
        np.array([bits(makes) for makes in graph.makes], np.int64),
        bits(t for t, maker in enumerate(graph.producer) if maker == INPUT),
        bits(graph.outputs),
        capacity,
    )
    assert least >= 0, "nothing fits"
    return int(least)


@njit  # type: ignore[untyped-decorator]
def dijkstra(size: Ints, reads: Ints, makes: Ints, inputs: int, outputs: int, capacity: int) -> int:
    """Sets are bit masks. A state is the operators that have run, the tensors inside and the tensors outside, as one
    number; on the heap with its bytes above."""
    tensors, operators = len(size), len(reads)
    held = np.zeros(1 << tensors, np.int64)  # bytes of each set of tensors
    for t in range(tensors):
        held[1 << t : 2 << t] = held[: 1 << t] + size[t]
    width = operators + 2 * tensors
    everything = (1 << operators) - 1
    best = np.full(1 << width, 1 << 30, np.int32)
    best[inputs] = 0
    heap = [inputs]
    while heap:
        entry = heapq.heappop(heap)
        cost, state = entry >> width, entry & ((1 << width) - 1)
        if cost > best[state]:
            continue
        ran, inside = state >> 2 * tensors, state >> tensors & ((1 << tensors) - 1)
        outside = state & ((1 << tensors) - 1)
        if ran == everything and not outputs & ~outside:
            return cost
        for move in range(2 * tensors + operators):
            t = move % tensors if move < 2 * tensors else 0
            price, following = 0, state
            if move < tensors:  # give up, or load
                if inside >> t & 1:
                    following ^= 1 << (t + tensors)
                elif outside >> t & 1 and held[inside] + size[t] <= capacity:
                    price, following = size[t], state | 1 << (t + tensors)
            elif move < 2 * tensors:  # write
                if inside >> t & 1 and not outside >> t & 1:
                    price, following = size[t], state | 1 << t
            else:
                n = move - 2 * tensors
                fits = not reads[n] & ~inside and held[inside] + held[makes[n]] <= capacity
                if fits and not ran >> n & 1:
                    following |= 1 << (n + 2 * tensors) | makes[n] << tensors
            if cost + price < best[following]:
                best[following] = cost + price
                heapq.heappush(heap, (cost + price) << width | following)
    return -1


def replayed_bytes(graph: OperatorGraph, plan: tuple[Step, ...], capacity: int) -> int:
    """Traffic of a plan, checked move by move; written without regard to the project's own replay."""
    size = graph.tensor_bytes
    inside: set[int] = set()
    outside = {t for t, maker in enumerate(graph.producer) if maker == INPUT}
    traffic = 0
    for step in plan:
        assert inside.isdisjoint(step.loaded) and outside >= set(step.loaded)
        assert inside >= {*step.spilled, *step.dropped} and outside.isdisjoint(step.spilled)
        assert outside >= set(step.dropped)
        outside |= set(step.spilled)
        inside -= {*step.spilled, *step.dropped}
        inside |= set(step.loaded)
        traffic += sum(size[t] for t in (*step.spilled, *step.loaded))
        assert inside >= set(graph.reads[step.operator])
        inside |= set(graph.makes[step.operator])
        assert sum(size[t] for t in inside) <= capacity
        assert inside >= set(step.stored) and outside.isdisjoint(step.stored)
        outside |= set(step.stored)
        inside -= set(step.stored)
        traffic += sum(size[t] for t in step.stored)
        ran = {s.operator for s in plan[: plan.index(step) + 1]}
        inside = {t for t in inside if not ran.issuperset(graph.consumers[t])}
    assert sorted(step.operator for step in plan) == list(range(len(graph.names)))
    assert outside >= graph.outputs
    return traffic


def checked(graph: OperatorGraph, capacity: int, states: int = 50_000) -> LeastTraffic:
    found = least_traffic(graph, capacity, states)
    assert replayed_bytes(graph, found.plan, capacity) == found.traffic_bytes
    assert found.compulsory_bytes <= found.bound_bytes <= found.traffic_bytes
    return found


def capacities(graph: OperatorGraph, rng: random.Random) -> set[int]:
    """The smallest that runs, and one between it and the least peak."""
    least, peak = max(graph.working_set_bytes), least_memory(graph).peak_bytes
    return {least, rng.randint(least, peak)}


@pytest.mark.parametrize("operators", [1, 2, 3, 4, 5])
def test_all_small_graphs_against_brute_force(operators: int) -> None:
    rng = random.Random(operators)
    for graph in triangle_graphs(operators, rng):
        for capacity in capacities(graph, rng):
            found = checked(graph, capacity)
            assert found.proven
            assert found.traffic_bytes == brute_force_bytes(graph, capacity)


@pytest.mark.parametrize(
    "operators, cases",
    [
        (6, 100),
        (7, 50),
        pytest.param(6, 1000, marks=pytest.mark.slow),
        pytest.param(7, 1000, marks=pytest.mark.slow),
    ],
)
def test_random_graphs_against_brute_force(operators: int, cases: int) -> None:
    rng = random.Random(100 * operators + cases)
    for _ in range(cases):
        graph = random_graph(operators, rng, most_bytes=9)
        for capacity in capacities(graph, rng):
            found = checked(graph, capacity)
            assert found.proven
            assert found.traffic_bytes == brute_force_bytes(graph, capacity)


def test_from_the_least_peak_on_only_what_is_compulsory() -> None:
    rng = random.Random(5)
    for _ in range(40):
        graph = random_graph(12, rng, most_bytes=50)
        found = checked(graph, least_memory(graph).peak_bytes)
        assert found.proven and found.traffic_bytes == graph.compulsory_bytes


def test_less_capacity_never_means_less_traffic() -> None:
    rng = random.Random(6)
    for _ in range(4):
        graph = random_graph(11, rng, most_bytes=20)
        largest, peak = max(graph.working_set_bytes), least_memory(graph).peak_bytes
        found = [checked(graph, c) for c in range(largest, peak + 1, max(1, (peak - largest) // 4))]
        assert all(result.proven for result in found)
        traffic = [result.traffic_bytes for result in found]
        assert traffic == sorted(traffic, reverse=True)


def test_out_of_states_the_bound_still_holds() -> None:
    rng = random.Random(7)
    undecided = 0
    for _ in range(10):
        graph = random_graph(12, rng, most_bytes=20)
        capacity = max(graph.working_set_bytes)
        short, full = checked(graph, capacity, 20), checked(graph, capacity)
        assert full.proven
        assert short.bound_bytes <= full.traffic_bytes <= short.traffic_bytes
        undecided += not short.proven
    assert undecided


def test_out_of_states_a_known_order_may_be_the_best() -> None:
    """With a single state the plan is that of the best order there is, which may be one that is given."""
    rng = random.Random(11)
    gained = 0
    for _ in range(200):
        graph = random_graph(12, rng, density=0.2)
        order = least_memory(graph).order
        capacity = max(graph.working_set_bytes)
        alone, beside = (least_traffic(graph, capacity, 1, orders) for orders in ((), [order]))
        own = plan_traffic_bytes(graph, belady_plan(graph, order, capacity), capacity)
        assert beside.traffic_bytes == min(alone.traffic_bytes, own)
        assert beside.bound_bytes == alone.bound_bytes or beside.proven
        gained += beside.traffic_bytes < alone.traffic_bytes
    assert gained


def test_too_small_says_by_how_much() -> None:
    graph = OperatorGraph(("a", "b"), (10, 20, 30), (INPUT, 0, 1), ((0,), (1,), ()), frozenset({2}))
    with pytest.raises(
        CapacityError, match=r"b needs 50 bytes at once; the capacity of 43 is 7 bytes short"
    ) as caught:
        least_traffic(graph, 43)
    assert caught.value.short_bytes == 7
    assert least_traffic(graph, 50).traffic_bytes == 10 + 30


def test_a_plan_that_cheats_is_found() -> None:
    graph = OperatorGraph(("a", "b"), (10, 20, 30), (INPUT, 0, 1), ((0,), (1,), ()), frozenset({2}))
    first, second = least_traffic(graph, 50).plan
    for plan in [
        (first,),
        (second, first),
        (first._replace(loaded=()), second),
        (first, second._replace(stored=())),
        (first, second._replace(dropped=(1,))),
        (first, second._replace(loaded=(2,))),
    ]:
        with pytest.raises(GraphError):
            plan_traffic_bytes(graph, plan, 50)
    with pytest.raises(CapacityError, match="1 bytes short"):
        plan_traffic_bytes(graph, (first, second), 49)
    with pytest.raises(ValueError, match="0 states"):
        least_traffic(graph, 50, 0)
