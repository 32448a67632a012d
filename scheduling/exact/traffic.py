"""The order and the residence of tensors with the least traffic between one memory and what is outside it.

Every operator needs what it reads and writes in a memory of a given capacity, at once. Beyond the compulsory bytes
(each graph input once, each output once) traffic comes from evictions: a write, unless a copy is outside already,
and a load when the tensor is read again. With a fixed order and equal sizes the tensor that is read last should go
(Belady, A study of replacement algorithms for a virtual-storage computer, IBM Systems Journal 1966), which gives the
first solution here; with sizes the problem is NP-hard.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from scheduling.exact.arrays import concatenated
from scheduling.exact.errors import CapacityError, GraphError
from scheduling.exact.memory import greedy_order, least_memory
from scheduling.exact.operator_graph import INPUT, OperatorGraph, ancestors
from scheduling.exact.traffic_search import CLEAN, DIRTY, OUTSIDE, search_traffic
from scheduling.lowering.tables import Ints

STATES = 200_000
"""States that a search may hold by default."""


_Tables = tuple[
    Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints, Ints
]  # fmt: skip


class Step(NamedTuple):
    """One operator and what moves before it (spills, drops, loads) and after it (stores). Tensors, ascending."""

    operator: int
    spilled: tuple[int, ...]
    """Written outside and given up: there is no copy outside yet."""
    dropped: tuple[int, ...]
    """Given up: there is a copy outside."""
    loaded: tuple[int, ...]
    stored: tuple[int, ...]
    """Outputs that are written and given up since nothing reads them any more."""


class LeastTraffic(NamedTuple):
    """A plan and its traffic, and what no plan goes below. Bytes, compulsory ones included."""

    plan: tuple[Step, ...]
    traffic_bytes: int
    compulsory_bytes: int
    bound_bytes: int

    @property
    def proven(self) -> bool:
        """Whether no plan has less traffic."""
        return self.bound_bytes == self.traffic_bytes


def least_traffic(
    graph: OperatorGraph,
    capacity_bytes: int,
    states: int = STATES,
    known_orders: Iterable[Sequence[int]] = (),
) -> LeastTraffic:
    """Find the plan with the least traffic.

    `states` bounds the states that the search holds; where it runs out, the plan is the best that Belady's rule
    gave for some orders, `known_orders` among them. Deterministic. Raises CapacityError where an operator's
    working set is more than the capacity, ValueError for fewer than one state.
    """
    if states < 1:
        raise ValueError(f"{states} states; expected at least 1")
    working_set = graph.working_set_bytes
    largest = max(range(len(working_set)), key=working_set.__getitem__, default=-1)
    if largest >= 0 and working_set[largest] > capacity_bytes:
        short = working_set[largest] - capacity_bytes
        raise CapacityError(
            f"{graph.names[largest]} needs {working_set[largest]} bytes at once; "
            f"the capacity of {capacity_bytes} is {short} bytes short",
            short,
        )
    compulsory = graph.compulsory_bytes
    rules = (tuple(range(len(graph.names))), greedy_order(graph), least_memory(graph, states).order)
    orders = (*rules, *map(tuple, known_orders))
    plans = [belady_plan(graph, order, capacity_bytes) for order in dict.fromkeys(orders)]
    best = min(plans, key=lambda plan: plan_traffic_bytes(graph, plan, capacity_bytes))
    known = plan_traffic_bytes(graph, best, capacity_bytes) - compulsory
    if not known:
        return LeastTraffic(best, compulsory, compulsory, compulsory)
    way, order, bound = search_traffic(*_tables(graph), capacity_bytes, known, states)
    if len(order):
        rows = way[:, len(graph.names) :].tolist()
        best = tuple(_step(graph, order[: i + 1].tolist(), rows[i], rows[i + 1]) for i in range(len(order)))
    return LeastTraffic(
        best, plan_traffic_bytes(graph, best, capacity_bytes), compulsory, int(bound) + compulsory
    )


def belady_plan(graph: OperatorGraph, order: Sequence[int], capacity_bytes: int) -> tuple[Step, ...]:
    """The plan of an order that evicts, where it must, the tensor that is read again last."""
    position = {operator: i for i, operator in enumerate(order)}
    uses = [sorted(position[user] for user in users) for users in graph.consumers]
    size = graph.tensor_bytes
    now = [OUTSIDE] * len(size)
    plan = []
    for i, operator in enumerate(order):
        before = list(now)
        for tensor in graph.reads[operator]:
            now[tensor] = now[tensor] or CLEAN
        for tensor in graph.makes[operator]:
            now[tensor] = DIRTY
        excess = sum(bytes_ for bytes_, status in zip(size, now, strict=True) if status) - capacity_bytes
        needed = {*graph.reads[operator], *graph.makes[operator]}
        held = (t for t, status in enumerate(now) if status and t not in needed and size[t])
        gone: list[int] = []
        for tensor in sorted(held, key=lambda t: (-next(use for use in uses[t] if use > i), -size[t], t)):
            if excess > 0:
                gone.append(tensor)
                excess -= size[tensor]
        for tensor in list(gone):  # the last ones may have made room for the first
            if excess + size[tensor] <= 0:
                gone.remove(tensor)
                excess += size[tensor]
        for tensor in gone:
            now[tensor] = OUTSIDE
        for tensor in needed:
            if not uses[tensor] or uses[tensor][-1] <= i:
                now[tensor] = OUTSIDE
        plan.append(_step(graph, order[: i + 1], before, now))
    return tuple(plan)


def plan_traffic_bytes(graph: OperatorGraph, plan: Iterable[Step], capacity_bytes: int) -> int:
    """Replay a plan and return its bytes read and written.

    Raises GraphError where a step uses what is not there, gives up what is not safe or does not run all
    operators once, CapacityError where a step does not fit.
    """
    size = graph.tensor_bytes
    inside: dict[int, bool] = {}  # tensor: whether it has no copy outside
    outside = {t for t, maker in enumerate(graph.producer) if maker == INPUT}
    left = [len(users) for users in graph.consumers]
    ran: set[int] = set()
    traffic = 0
    for step in plan:
        name = graph.names[step.operator]
        for tensor in (*step.spilled, *step.dropped):
            if inside.pop(tensor, None) is not (tensor in step.spilled):
                raise GraphError(f"before {name} tensor {tensor} cannot be given up as the step says")
        for tensor in step.spilled:
            outside.add(tensor)
            traffic += size[tensor]
        for tensor in step.loaded:
            if tensor in inside or tensor not in outside:
                raise GraphError(f"before {name} tensor {tensor} cannot be loaded")
            inside[tensor] = False
            traffic += size[tensor]
        if step.operator in ran or not inside.keys() >= set(graph.reads[step.operator]):
            raise GraphError(f"{name} cannot run: it has run, or what it reads is not in memory")
        ran.add(step.operator)
        inside.update(dict.fromkeys(graph.makes[step.operator], True))
        short = sum(size[t] for t in inside) - capacity_bytes
        if short > 0:
            raise CapacityError(f"at {name} the memory is {short} bytes short", short)
        for tensor in graph.reads[step.operator]:
            left[tensor] -= 1
        for tensor in step.stored:
            if inside.pop(tensor, None) is not True:
                raise GraphError(f"after {name} tensor {tensor} cannot be stored")
            outside.add(tensor)
            traffic += size[tensor]
        for tensor in [t for t in inside if not left[t]]:
            if tensor in graph.outputs and inside[tensor]:
                raise GraphError(f"after {name} output {tensor} is lost")
            del inside[tensor]
    if len(ran) != len(graph.names):
        raise GraphError(f"{len(ran)} of {len(graph.names)} operators ran")
    return traffic


def _step(graph: OperatorGraph, ran: Sequence[int], before: Sequence[int], after: Sequence[int]) -> Step:
    """The step between two states, after the operators `ran`, of which the last is its own."""
    operator, done = ran[-1], set(ran)
    ended = [done.issuperset(users) for users in graph.consumers]
    gone = [
        t for t, status in enumerate(before) if status and not after[t] and operator not in graph.consumers[t]
    ]
    last = (*(t for t in graph.reads[operator] if before[t] == DIRTY), *graph.makes[operator])
    return Step(
        operator=operator,
        spilled=tuple(t for t in gone if before[t] == DIRTY),
        dropped=tuple(t for t in gone if before[t] == CLEAN),
        loaded=tuple(t for t in graph.reads[operator] if not before[t]),
        stored=tuple(sorted(t for t in last if ended[t] and t in graph.outputs)),
    )


def _tables(graph: OperatorGraph) -> _Tables:
    """The first arguments of search_traffic, up to the working sets."""
    above = ancestors(graph)
    cross: list[list[int]] = []
    surely: list[list[int]] = []
    for operator in range(len(graph.names)):
        needed = {*graph.reads[operator], *graph.makes[operator]}
        crossing = [
            t
            for t, users in enumerate(graph.consumers)
            if t not in needed and any(above[user] >> operator & 1 for user in users)
        ]
        cross.append(crossing)
        surely.append(
            [int(graph.producer[t] != INPUT and above[operator] >> graph.producer[t] & 1) for t in crossing]
        )
    writes = [0 if t in graph.outputs else size for t, size in enumerate(graph.tensor_bytes)]
    return (
        *concatenated(graph.predecessors),
        *concatenated(graph.reads),
        *concatenated(graph.makes),
        *concatenated(graph.consumers),
        np.array(graph.producer, np.int64),
        np.array(graph.tensor_bytes, np.int64),
        np.array(writes, np.int64),
        *concatenated(cross),
        concatenated(surely)[1],
        np.array(graph.working_set_bytes, np.int64),
    )
