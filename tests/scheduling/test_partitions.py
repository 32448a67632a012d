"""Partitions into convex sub-graphs with an acyclic quotient are the runs of topological orders, and the reverse."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import load_machine
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.layer_order import in_order, order_of_blocks, producers_of
from scheduling.rules import Rules
from scheduling.schedule import make_schedule
from scheduling.schedule_file import load_schedule, save_schedule
from scheduling.stored.replay import replay, schedule_decisions, schedule_network
from tests.scheduling.random_graphs import random_graph_model

Blocks = list[set[int]]


def quotient(network: Network, blocks: Blocks) -> set[tuple[int, int]]:
    """(reader, source) pairs of different blocks."""
    home = {layer: number for number, block in enumerate(blocks) for layer in block}
    return {
        (home[layer], home[source])
        for layer, sources in enumerate(producers_of(network))
        for source in sources
        if home[layer] != home[source]
    }


def is_acyclic(pairs: set[tuple[int, int]]) -> bool:
    """Whether nothing reaches itself, by following all pairs until nothing new is reached."""
    reached = set(pairs)
    while True:
        longer = reached | {(a, d) for a, b in reached for c, d in pairs if b == c}
        if longer == reached:
            return all(a != b for a, b in reached)
        reached = longer


def is_convex(network: Network, block: set[int]) -> bool:
    """Whether no way from the block leads out of it and back."""
    outside = set()
    for layer, sources in enumerate(producers_of(network)):  # in topological order
        behind = any(source in block or source in outside for source in sources)
        if layer in block and any(source in outside for source in sources):
            return False
        if layer not in block and behind:
            outside.add(layer)
    return True


def random_partition(network: Network, rng: np.random.Generator) -> Blocks:
    """Blocks joined at random, as long as the quotient stays acyclic."""
    blocks: Blocks = [{layer} for layer in range(len(network.layers))]
    for _ in range(3 * len(blocks)):
        if len(blocks) < 3:
            break
        one, other = rng.choice(len(blocks), 2, replace=False).tolist()
        joined = [block for number, block in enumerate(blocks) if number not in (one, other)]
        joined.append(blocks[one] | blocks[other])
        if is_acyclic(quotient(network, joined)):
            blocks = joined
    return blocks


@pytest.mark.parametrize("seed", range(12))
def test_any_convex_partition_is_a_schedule(tmp_path: Path, seed: int) -> None:
    """A random partition comes back from the schedule file as it was, and its schedule is legal."""
    rng = np.random.default_rng(seed)
    network = load_model(str(random_graph_model(tmp_path, rng, int(rng.integers(4, 12)))), 1).network
    blocks = random_partition(network, rng)
    assert all(is_convex(network, block) for block in blocks)
    order = order_of_blocks(network, blocks)
    placed = {layer: at for at, layer in enumerate(order)}
    runs = sorted((min(placed[layer] for layer in block), len(block)) for block in blocks)
    choices = tuple(Choice(first, first + size) for first, size in runs)
    machine = load_machine("stcp920")
    evaluator = Evaluator(in_order(network, order), machine)
    made = make_schedule(evaluator, choices, Rules(), network.model_hash, "random", reordered=True)
    save_schedule(tmp_path / "schedule.json", made)
    schedule = load_schedule(tmp_path / "schedule.json")
    again = Evaluator(schedule_network(network, schedule), machine)
    assert replay(again, schedule) == evaluator.evaluate(choices, Rules())
    number = {layer.name: index for index, layer in enumerate(network.layers)}
    found = [
        {number[layer.name] for layer in again.network.layers[choice.first : choice.stop]}
        for choice in schedule_decisions(again, schedule)[0]
    ]
    assert sorted(map(sorted, found)) == sorted(map(sorted, blocks))


@pytest.mark.parametrize("seed", range(20))
def test_runs_of_a_topological_order_are_convex(tmp_path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    network = load_model(str(random_graph_model(tmp_path, rng, int(rng.integers(4, 14)))), 1).network
    sources = producers_of(network)
    order: list[int] = []
    while len(order) < len(sources):
        ready = [n for n, before in enumerate(sources) if n not in order and set(before) <= set(order)]
        order.append(int(rng.choice(ready)))
    cuts = sorted({0, len(order), *rng.integers(0, len(order), 3).tolist()})
    blocks = [set(order[a:b]) for a, b in itertools.pairwise(cuts)]
    assert all(is_convex(network, block) for block in blocks)
    assert is_acyclic(quotient(network, blocks))


def test_blocks_that_are_no_partition_or_read_in_a_circle_are_refused(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    network = load_model(str(random_graph_model(tmp_path, rng, 8)), 1).network
    layers = len(network.layers)
    first, middle, last = next(
        (source, layer, reader)
        for layer, sources in enumerate(producers_of(network))
        for source in sources
        for reader, reads in enumerate(producers_of(network))
        if layer in reads
    )
    rest = set(range(layers)) - {first, middle, last}
    with pytest.raises(IllegalSchedule, match="reads, through others, what itself makes"):
        order_of_blocks(network, [{first, last}, {middle}, *({layer} for layer in rest)])
    with pytest.raises(IllegalSchedule, match="each of"):
        order_of_blocks(network, [{0}, set(range(layers))])
