"""What --prove prints: how far the order of layers is from the least memory that any order needs."""

from __future__ import annotations

from graph.network import Network
from scheduling.exact.memory import least_memory
from scheduling.exact.operator_graph import operator_graph, peak_bytes
from scheduling.layer_order import Order


def proof(network: Network, order: Order, element_bytes: int) -> str:
    """One sentence on the peak of live tensors, layer by layer: the schedule's order beside the least of all orders."""
    graph = operator_graph(network, element_bytes)
    file = tuple(range(len(network.layers)))
    mine, given = peak_bytes(graph, order or file), peak_bytes(graph, file)
    least = least_memory(graph)
    known = "which is proven" if least.proven else f"no order needs less than {least.bound_bytes:,}"
    gap = 100 * (mine / least.bound_bytes - 1) if least.bound_bytes else 0.0
    return (
        f"Peak of live tensors, layer by layer: {mine:,} bytes in the schedule's order of layers ({given:,} in the "
        f"file's), {least.peak_bytes:,} in the best order found ({known}): a gap of {gap:.1f} %."
    )
