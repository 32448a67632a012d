"""What schedule files call the codes of decisions."""

from __future__ import annotations

from scheduling.choice import COLUMNS, RECOMPUTE, Choice
from scheduling.schedule_file import Subgraph
from scheduling.timeline.arrangement import (
    SCOPE_DEFAULT,
    SCOPE_DRAM,
    SCOPE_SHORTENED,
    WEIGHTS_RELOADED,
    WEIGHTS_RESIDENT,
)
from scheduling.timeline.instance_order import BREADTH_FIRST, DEPTH_FIRST
from scheduling.timeline.packing import AS_BARRIERS, BARRIERS, EARLIEST, WAITS

L1_RULE = "larger rings first, lowest free place"
ORDER_RULE = "layer + a x piece"
AXES = ("rows", "channels", "columns", "channel_ring")
HALOS = ("recompute", "cache_columns", "cache")
CACHES = ("l1", "llb", "dram")
SYNC = {"waits": WAITS, "barriers": BARRIERS}
MERGE = {"earliest start": EARLIEST, "as with barriers": AS_BARRIERS}
ORDERS = {"depth first": DEPTH_FIRST, "breadth first": BREADTH_FIRST}
SCOPES = {
    "llb where it fits": SCOPE_DEFAULT,
    "llb as long as it fits": SCOPE_SHORTENED,
    "dram": SCOPE_DRAM,
}
WEIGHTS = {"resident": WEIGHTS_RESIDENT, "reloaded": WEIGHTS_RELOADED}


def name_of(codes: dict[str, int], code: int) -> str:
    """The name of a code, which must be one of these."""
    return next(name for name, value in codes.items() if value == code)


def halo_name(choice: Choice) -> str:
    """`subgraphs[].halo` of a choice."""
    if choice.halo != RECOMPUTE:
        return "cache"
    return "cache_columns" if choice.axis == COLUMNS else "recompute"


def subgraph_name(number: int, subgraph: Subgraph) -> str:
    """A sub-graph of a file, by its place in the list and its layers."""
    return f"sub-graph {number} ({subgraph.first_layer} to {subgraph.last_layer})"
