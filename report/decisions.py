"""Decisions in words: what a sub-graph's choice says, and where two schedules differ first."""

from __future__ import annotations

from collections.abc import Sequence

from graph.network import Network
from report.results import Result
from scheduling.choice import (
    CACHE_DRAM,
    CACHE_LLB,
    CHANNEL_RING,
    CHANNELS,
    COLUMNS,
    RECOMPUTE,
    ROWS,
    RULE_SCALE,
    Choice,
)
from scheduling.rules import Rules
from scheduling.timeline.arrangement import SCOPE_DRAM, SCOPE_SHORTENED, WEIGHTS_RELOADED
from scheduling.timeline.consumer_scopes import COPIED_BACK
from scheduling.timeline.instance_order import BREADTH_FIRST
from scheduling.timeline.packing import BARRIERS, Packing

_NAME_WIDTH = 28


def shortened(name: str, width: int = _NAME_WIDTH) -> str:
    """A node's name, its middle left out where it is long."""
    if len(name) <= width:
        return name
    head = (width - 2) // 2
    return f"{name[:head]}..{name[len(name) - (width - 2 - head) :]}"


def first_node(network: Network, choice: Choice) -> str:
    """Name of the first ONNX node of a sub-graph."""
    return network.layers[choice.first].nodes[0]


def last_node(network: Network, choice: Choice) -> str:
    """Name of the last ONNX node of a sub-graph."""
    return network.layers[choice.stop - 1].nodes[-1]


def split_text(choice: Choice) -> str:
    """How a sub-graph is cut into instances, such as `batch 8 x rows 2`; `cached` where these keep what they share,
    in the memory that is named, or in L1."""
    axes = _axes(
        (
            ("batch", choice.split_batch),
            ("rows", choice.split_rows),
            ("columns", choice.split_columns),
            ("channels", choice.split_channels),
        )
    )
    if choice.halo == RECOMPUTE or choice.tiles == 1:
        return axes
    where = {CACHE_LLB: " in llb", CACHE_DRAM: " in dram"}.get(choice.halo, "")
    return f"{axes} cached{where}"


def binding_text(network: Network, choice: Choice) -> str:
    """How an instance is spread over cores, such as `batch 2 x channels 4`; layers of the sub-graph that have a binding
    of their own are named as schedule files name them."""
    streamed = "columns" if choice.axis == COLUMNS else "rows"
    bound = _axes(
        (("batch", choice.ways_batch), (streamed, choice.ways_rows), ("channels", choice.ways_channels))
    )
    for run in choice.own_runs:
        own = _axes((("batch", run.batch), (streamed, run.rows), ("channels", run.channels)))
        first, last = (network.layers[k].name for k in (run.first, run.stop - 1))
        layers = f"layer {shortened(first)}" if first == last else f"{shortened(first)} to {shortened(last)}"
        bound += f"; {layers}: {own}"
    return bound


def pieces_text(choice: Choice) -> str:
    """How the layers of an instance are cut, such as `rows 4`."""
    name = {ROWS: "rows", COLUMNS: "columns", CHANNELS: "channels", CHANNEL_RING: "channel ring"}[choice.axis]
    return _axes(((name, choice.pieces),))


def rules_text(rules: Rules, llb: bool = True) -> str:
    """The rules of a schedule, on a machine with or without an LLB."""
    if rules.packing is not None:
        return _packing_text(rules.packing)
    order = "breadth first" if rules.order == BREADTH_FIRST else "depth first"
    dram = rules.scopes == SCOPE_DRAM or not llb
    shortened = rules.scopes == SCOPE_SHORTENED
    in_llb = (
        "tensors in the LLB for as long as they fit" if shortened else "tensors in the LLB where they fit"
    )
    scopes = "everything through DRAM" if dram else in_llb
    if not llb:
        return f"{order}, {scopes}"
    if rules.spilled:
        scopes += f", {len(rules.spilled)} kept out of it"
    back = sum(read.how == COPIED_BACK for read in rules.reads)
    if back:
        scopes += f", {back} copied back"
    if rules.weights == WEIGHTS_RELOADED:
        return f"{order}, {scopes}, weights reloaded"
    ahead = {0: "not prefetched", 1: "prefetched one kernel ahead"}
    when = ahead.get(rules.prefetch, f"prefetched {rules.prefetch} kernels ahead")
    return f"{order}, {scopes}, weights resident, {when}"


def _packing_text(packing: Packing) -> str:
    count = sum(len(step.instances) for step in packing.steps)
    sync = (
        "with barriers between waves" if packing.steps[0].sync == BARRIERS else "waiting for what they read"
    )
    launches = "one launch" if len(packing.steps) == 1 else f"{len(packing.steps)} launches"
    return f"{count} kernels side by side in {launches}, {sync}"


def first_difference(network: Network, ours: Result, theirs: Result) -> str:
    """The first decision in which two schedules of a network differ, or that there is none."""
    if ours.layer_order != theirs.layer_order:
        return f"{ours.strategy} and {theirs.strategy} order the layers differently"
    for one, two in zip(ours.choices, theirs.choices, strict=False):
        if one != two:
            return _choice_difference(network, (ours.strategy, one), (theirs.strategy, two))
    if ours.rules != theirs.rules:
        return f"{ours.strategy} is {rules_text(ours.rules)}; {theirs.strategy} is {rules_text(theirs.rules)}"
    return "they decide everything alike"


def compare(network: Network, learned: Result, heuristics: Sequence[Result], objective: str) -> str:
    """One sentence: how many times better or worse than the best heuristic, and which decision differs."""
    best = min(heuristics, key=lambda result: result.cost)
    ratio = best.cost / learned.cost
    if learned.cost == best.cost:
        relation = f"costs the same as {best.strategy}, the best of the others"
    elif ratio > 1:
        relation = f"is {_times(ratio)} better in {objective} than {best.strategy}, the best of the others"
    else:
        relation = f"is {_times(1 / ratio)} worse in {objective} than {best.strategy}, the best of the others"
    return f"learned {relation}: {first_difference(network, learned, best)}."


def _times(ratio: float) -> str:
    """A ratio above 1 with three decimals, or as many more as show that it is not 1."""
    decimals = next((digits for digits in range(3, 12) if float(f"{ratio:.{digits}f}") > 1), 12)
    return f"{ratio:.{decimals}f} times"


def _axes(parts: Sequence[tuple[str, int]]) -> str:
    return " x ".join(f"{name} {factor}" for name, factor in parts if factor > 1) or "-"


def _choice_difference(network: Network, ours: tuple[str, Choice], theirs: tuple[str, Choice]) -> str:
    (our_name, one), (their_name, two) = ours, theirs
    where = f"at node {first_node(network, one)}"
    if one.stop != two.stop:
        what = "ends its sub-graph at"
        found, other = last_node(network, one), last_node(network, two)
    elif split_text(one) != split_text(two):
        what, found, other = "splits by", split_text(one), split_text(two)
    elif binding_text(network, one) != binding_text(network, two):
        what, found, other = "binds to cores by", binding_text(network, one), binding_text(network, two)
    elif (one.pieces, one.axis) != (two.pieces, two.axis):
        what, found, other = "cuts pieces by", pieces_text(one), pieces_text(two)
    elif one.rule != two.rule:
        what = "orders instructions by layer + a x piece, a ="
        found, other = f"{one.rule / RULE_SCALE:g}", f"{two.rule / RULE_SCALE:g}"
    elif one.keep_weights != two.keep_weights:
        what = "has weights that stay between instances"
        found, other = ("on" if one.keep_weights else "off"), ("on" if two.keep_weights else "off")
    else:
        what = "has overlap of layers"
        found, other = ("on" if one.overlap else "off"), ("on" if two.overlap else "off")
    return f"{where}, {our_name} {what} {_nothing(found)} and {their_name} {_nothing(other)}"


def _nothing(text: str) -> str:
    return "nothing" if text == "-" else text
