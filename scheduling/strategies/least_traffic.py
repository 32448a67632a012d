"""`least_traffic`: the order of layers and the residence with the fewest bytes to and from a memory of the LLB's size.

Order, spills and refills are exact where the search ends within its states, else the best that Belady's rule gave for
some orders (`scheduling.exact.traffic`; Morpheus). The plan is about layers that run one at a time and whole; where a
layer needs more than the last-level buffer (LLB) has, the plan is made for the largest such layer, and what does not
fit is in DRAM by the usual rule. Where there is no LLB the plan is for the L1 of all cores, and only its order is used.

A tensor has one scope here, so one that the plan spills is in DRAM from the start. With and without that, `dp` and
layer by layer are simulated on the plan's order, and the best is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from graph.network import Network
from hwmodel.machine import Machine
from scheduling.choice import Choice
from scheduling.evaluator import Rules
from scheduling.exact.operator_graph import OperatorGraph, counted_tensors, operator_graph
from scheduling.exact.traffic import LeastTraffic, Step
from scheduling.exact.traffic import least_traffic as least_traffic_plan
from scheduling.layer_order import Order
from scheduling.problem import Problem
from scheduling.strategies.dp import dp
from scheduling.strategies.llb_first import llb_first
from scheduling.strategies.options import simulated_cost

SEARCH_BYTES = 4_000_000
"""Of states that the search may hold: each takes a byte for each layer and each tensor."""


def least_traffic(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """The best of `dp` and layer by layer on the plan's order, with its residence and with the usual one."""
    evaluator = problem.evaluator
    network = evaluator.network
    plan = traffic_plan(network, evaluator.machine.element_bytes, capacity_bytes(evaluator.machine)).plan
    order: Order = tuple(step.operator for step in plan)
    if order == tuple(range(len(order))):
        order = ()
    part = problem.reordered(order)
    spilled = spilled_tensors(network, plan) if evaluator.machine.memories.llb else ()
    # What this strategy simulates itself, once dp is done: two more schedules where nothing is spilled.
    own = 4 if spilled else 2
    found = []
    if problem.budget > own:
        found.append(dp(replace(part, budget=problem.budget - own)))
    found.append(llb_first(part))
    found += [(choices, replace(rules, spilled=spilled)) for choices, rules in found if spilled]
    choices, rules = min(found[: problem.budget], key=lambda state: simulated_cost(part, *state))
    return order, choices, rules


def capacity_bytes(machine: Machine) -> int:
    """What tensors can stay in on chip: the LLB, or the L1 of all cores of a cluster that has none."""
    if machine.memories.llb is None:
        return machine.memories.l1.bytes * machine.cores
    return machine.memories.llb.bytes


def traffic_plan(network: Network, element_bytes: int, available_bytes: int) -> LeastTraffic:
    """The plan for a memory of this capacity, or of the largest working set of a layer where that is more."""
    graph = operator_graph(network, element_bytes)
    capacity = max(available_bytes, *graph.working_set_bytes)
    return least_traffic_plan(graph, capacity, most_states(graph))


def most_states(graph: OperatorGraph) -> int:
    """States that the search may hold."""
    return max(1, SEARCH_BYTES // (len(graph.names) + len(graph.tensor_bytes)))


def spilled_tensors(network: Network, plan: Sequence[Step]) -> tuple[int, ...]:
    """Tensors that layers make and that the plan evicts before their last use, as numbered in the plan's order."""
    numbers = counted_tensors(network)
    place = {step.operator: at for at, step in enumerate(plan)}
    sources = network.source_count
    evicted = {numbers[t] for step in plan for t in (*step.spilled, *step.dropped)}
    return tuple(sorted(sources + place[t - sources] for t in evicted if t >= sources))
