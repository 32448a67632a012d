"""What --prove prints: how far the order of layers is from the least memory and the least traffic of all orders."""

from __future__ import annotations

from graph.network import Network
from hwmodel.machines.machine import Machine
from scheduling.exact.memory import least_memory
from scheduling.exact.operator_graph import OperatorGraph, operator_graph, peak_bytes
from scheduling.exact.traffic import LeastTraffic, belady_plan, least_traffic, plan_traffic_bytes
from scheduling.layer_order import Order
from scheduling.strategies.least_traffic import capacity_bytes, most_states


def proof(network: Network, order: Order, machine: Machine) -> str:
    """What is proven about the order of layers: of memory, then of traffic."""
    graph = operator_graph(network, machine.element_bytes)
    mine = order or tuple(range(len(network.layers)))
    return f"{memory_proof(graph, mine)}\n{traffic_proof(graph, mine, capacity_bytes(machine))}"


def memory_proof(graph: OperatorGraph, order: Order) -> str:
    """One sentence on the peak of live tensors, layer by layer: the schedule's order beside the least of all orders."""
    mine, given = peak_bytes(graph, order), peak_bytes(graph, range(len(order)))
    least = least_memory(graph)
    known = "which is proven" if least.proven else f"no order needs less than {least.bound_bytes:,}"
    gap = 100 * (mine / least.bound_bytes - 1) if least.bound_bytes else 0.0
    return (
        f"Peak of live tensors, layer by layer: {mine:,} bytes in the schedule's order of layers ({given:,} in the "
        f"file's), {least.peak_bytes:,} in the best order found ({known}): a gap of {gap:.1f} %."
    )


def traffic_proof(graph: OperatorGraph, order: Order, available_bytes: int) -> str:
    """One sentence on the bytes to and from a memory of this capacity beyond the compulsory ones, layer by layer."""
    capacity = max(available_bytes, *graph.working_set_bytes)
    mine = plan_traffic_bytes(graph, belady_plan(graph, order, capacity), capacity)
    least = least_traffic(graph, capacity, most_states(graph), [order])
    compulsory = least.compulsory_bytes
    size = f"{capacity:,} bytes on chip"
    if capacity > available_bytes:
        size += f", which the largest layer needs (there are {available_bytes:,})"
    return (
        f"Traffic beyond the compulsory {compulsory:,} bytes, layer by layer with {size}: "
        f"{mine - compulsory:,} bytes in the schedule's order, {least.traffic_bytes - compulsory:,} in the best plan "
        f"found ({what_is_known(least)})."
    )


def what_is_known(least: LeastTraffic) -> str:
    """What is proven about the best plan that was found."""
    if least.proven:
        return "proven"
    beyond = least.bound_bytes - least.compulsory_bytes
    return f"no plan has less than {beyond:,}" if beyond else "not proven: a plan may have none"
