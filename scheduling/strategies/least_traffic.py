"""`least_traffic`: the order of layers and the residence with the fewest bytes to and from a memory of the LLB's size.

Order, spills and refills are exact where the search ends within its states, else the best that Belady's rule gave for
some orders (`scheduling.exact.traffic`; Morpheus). The plan is about layers that run one at a time and whole; where a
layer needs more than the last-level buffer (LLB) has, the plan is made for the largest such layer, and what does not
fit is in DRAM by the usual rule. Where there is no LLB the plan is for the L1 of all cores, and only its order is used.

Where a system DMA can copy between DRAM and LLB, layer by layer does just what the plan says (`plan_reads`): its
activations move as many bytes as the plan has traffic. Where none can, a tensor that the plan evicts is in DRAM from
the start. With and without the plan's residence, `dp` and layer by layer are simulated on the plan's order, and the
best is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.choice import Choice
from scheduling.exact.operator_graph import OperatorGraph, counted_tensors, operator_graph
from scheduling.exact.traffic import LeastTraffic, Step
from scheduling.exact.traffic import least_traffic as least_traffic_plan
from scheduling.layer_order import Order
from scheduling.problem import Problem, simulated_cost
from scheduling.rules import Rules
from scheduling.strategies.dp import dp
from scheduling.strategies.llb_first import llb_first
from scheduling.timeline.consumer_scopes import COPIED_BACK, KEPT, TensorRead

SEARCH_BYTES = 4_000_000
"""Of states that the search may hold: each takes a byte for each layer and each tensor."""


def least_traffic(problem: Problem) -> tuple[Order, tuple[Choice, ...], Rules]:
    """The order of layers and the residence of a plan of least DRAM traffic, with kernels by `dp` or layer by layer."""
    evaluator = problem.evaluator
    network = evaluator.network
    plan = traffic_plan(network, evaluator.machine.element_bytes, capacity_bytes(evaluator.machine)).plan
    order: Order = tuple(step.operator for step in plan)
    if order == tuple(range(len(order))):
        order = ()
    part = problem.reordered(order)
    residences = _residences(evaluator.machine, network, plan)
    # What this strategy simulates itself, once dp is done.
    own = 2 * (1 + len(residences))
    found = []
    if problem.budget > own:
        found.append(dp(replace(part, budget=problem.budget - own)))
    found.append(llb_first(part))
    found += [(choices, replace(rules, **residence)) for choices, rules in found for residence in residences]
    choices, rules = min(found[: problem.budget], key=lambda state: simulated_cost(part, *state))
    return order, choices, rules


def _residences(machine: Machine, network: Network, plan: Sequence[Step]) -> list[dict[str, Any]]:
    """What of the rules does what a plan says: nothing where it evicts nothing and loads only what one layer reads, or
    where there is no LLB."""
    if machine.memories.llb is None:
        return []
    found: list[dict[str, Any]] = []
    spilled = spilled_tensors(network, plan)
    if spilled:
        found.append({"spilled": spilled})
    reads = plan_reads(network, plan)
    readers = Counter(read.tensor for read in reads)
    if machine.system_dma is not None and any(
        read.how == COPIED_BACK and readers[read.tensor] > 1 for read in reads
    ):
        found.append({"reads": reads})
    return found


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


def plan_reads(network: Network, plan: Sequence[Step]) -> tuple[TensorRead, ...]:
    """How layers read tensors, as numbered in the plan's order, so that they are in the LLB when the plan has them in
    its memory: what it loads is copied there, all else stays from when it is made."""
    numbers = counted_tensors(network)
    place = {step.operator: at for at, step in enumerate(plan)}
    sources = network.source_count
    reads = []
    for at, step in enumerate(plan):
        loaded = {numbers[t] for t in step.loaded}
        for tensor in sorted(set(network.layers[step.operator].inputs) - network.constants.keys()):
            number = tensor if tensor < sources else sources + place[tensor - sources]
            reads.append(TensorRead(number, at, COPIED_BACK if tensor in loaded else KEPT))
    return tuple(reads)
