"""List scheduling on ranges of cores: by hand, and what any list schedule keeps to."""

import math
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from scheduling.choice import Choice
from scheduling.core_groups.core_ranges import CoreRanges
from scheduling.core_groups.links import LinkCycles
from scheduling.core_groups.side_by_side import Block, ListScheduler, together
from scheduling.evaluator import Evaluator
from scheduling.legality.orders import check_order
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.random_cases import random_tiles
from tests.scheduling.random_graphs import random_graph_model


def test_cores_are_taken_where_a_kernel_can_start_first() -> None:
    cores = CoreRanges(4)
    assert cores.place(3, 0, 10) == (0, 0, 10)
    assert cores.place(1, 0, 4) == (3, 0, 4)
    assert cores.place(2, 0, 5) == (0, 10, 15)  # core 3 alone would be free at 4
    assert cores.place(1, 6, 1) == (3, 6, 7)


@pytest.mark.parametrize("count", [1, 6, 80])
def test_ranges_are_those_of_free_times_core_by_core(count: int) -> None:
    """Random kernels: the range is the first of those whose latest core is free first."""
    rng = np.random.default_rng(count)
    cores, free = CoreRanges(count), np.zeros(count, np.int64)
    for _ in range(200):
        size, ready, cycles = (
            int(rng.integers(1, count + 1)),
            int(rng.integers(0, 50)),
            int(rng.integers(0, 20)),
        )
        starts = np.maximum(np.lib.stride_tricks.sliding_window_view(free, size).max(axis=1), ready)
        first = int(starts.argmin())
        end = int(starts[first]) + cycles
        free[first : first + size] = end
        assert cores.place(size, ready, cycles) == (first, starts[first], end)
        low = int(rng.integers(0, count))
        size = int(rng.integers(1, count - low + 1))
        assert cores.free(low, size) == free[low : low + size].max()
        if rng.random() < 0.2:
            cores = cores.copy()
            cores.hold(low, size, end)
            free[low : low + size] = end


def test_a_diamond_by_hand(tmp_path: Path) -> None:
    """A layer, two that read it, and one that reads both, on four cores: a of 10 cycles on all, b of 8 on two and c of
    5 on two side by side, then d of 3 on all. Were c on four cores it would wait for b."""
    graph = GraphBuilder()
    x = graph.input("x", 1, 4, 4, 4)
    a = graph.node("MaxPool", x, kernel_shape=[1, 1])
    b = graph.node("MaxPool", a, kernel_shape=[1, 1])
    c = graph.node("AveragePool", a, kernel_shape=[1, 1])
    path = graph.save(tmp_path, graph.node("Concat", b, c, axis=1))
    evaluator = Evaluator(load_model(str(path), 1, weights=False).network, concurrent("tiny"))
    scheduler = ListScheduler(evaluator.table, 4)
    assert scheduler.sources([Choice(layer, layer + 1) for layer in range(4)]) == [[], [0], [0], [1, 2]]

    def blocks(c_cores: int) -> list[Block]:
        cores = (4, 2, c_cores, 4)
        choices = [Choice(layer, layer + 1, ways_rows=each) for layer, each in enumerate(cores)]
        return [Block(choice, (cycles,)) for choice, cycles in zip(choices, (10, 8, 5, 3), strict=True)]

    assert scheduler.makespan(blocks(2)) == 10 + 8 + 3
    assert scheduler.makespan(blocks(4)) == 10 + 8 + 5 + 3
    (step,) = scheduler.packing(blocks(2)).steps
    assert [(placed.subgraph, placed.first_core, placed.wave) for placed in step.instances] == [
        (0, 0, 0),
        (1, 0, 1),
        (2, 2, 1),
        (3, 0, 2),
    ]


@pytest.mark.parametrize("seed", range(20))
def test_any_list_schedule_keeps_order_and_cores(tmp_path: Path, seed: int) -> None:
    """On random networks in random tiles: every instance once, after what it reads, those that must follow one another
    do; no sooner done than the longest way or the work of all cores takes, and no later than one after the other, where
    links are free. Where they are not, a limit ends what is no shorter and changes nothing else."""
    rng = np.random.default_rng(seed)
    network = load_model(
        str(random_graph_model(tmp_path, rng, 12)), int(rng.choice([1, 3])), weights=False
    ).network
    evaluator = Evaluator(network, concurrent("tiny"))
    choices = random_tiles(evaluator, rng)
    if choices is None:
        pytest.skip("luck found nothing that fits")
    blocks = [
        Block(choice, tuple(rng.integers(1, 50, choice.instances // together(choice)).tolist()))
        for choice in choices
    ]
    cores = evaluator.machine.cores
    scheduler = ListScheduler(evaluator.table, cores)
    (step,) = scheduler.packing(blocks).steps
    check_order(evaluator.table, choices, [(placed.subgraph, placed.instance) for placed in step.instances])
    assert all(placed.first_core + choices[placed.subgraph].cores <= cores for placed in step.instances)
    waves = [placed.wave for placed in step.instances]
    assert waves == sorted(waves)
    longest: list[int] = []
    for block, sources in zip(blocks, scheduler.sources(choices), strict=True):
        longest.append(max((longest[source] for source in sources), default=0) + min(block.cycles))
    work = sum(block.choice.cores * block.all_cycles for block in blocks)
    makespan = scheduler.makespan(blocks)
    assert max(*longest, -(-work // cores)) <= makespan <= sum(block.all_cycles for block in blocks)
    busy = [block._replace(links=LinkCycles(*rng.integers(0, 50, 4).tolist())) for block in blocks]
    shared = scheduler.makespan(busy)
    assert shared >= makespan
    for limit in (shared + 1, shared, makespan, shared // 2):
        assert scheduler.makespan(busy, limit) == (shared if shared < limit else math.inf)
