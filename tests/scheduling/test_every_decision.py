"""Every value of every decision on the machines that run it: simulated, emitted, free of races, executed and matched.

A sub-graph of a convolution and a depthwise one is tiled and bound in all ways beside each other; what lies where, and
on machines with kernels side by side also steps and waits, take turns.
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from report.verify import verify
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import (
    CACHE,
    CACHE_DRAM,
    CACHE_LLB,
    CHANNEL_RING,
    CHANNELS,
    CHOICE_FIELDS,
    COLUMNS,
    ROWS,
    Choice,
    OwnRun,
)
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.timeline.arrangement import SCOPE_DRAM, SCOPE_SHORTENED, WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import with_llb_bytes
from tests.scheduling.random_cases import checked_program, legal
from tests.scheduling.random_packings import random_packing
from tests.scheduling.timeline.test_moves import random_reads

BATCH = 4

TILES: dict[str, dict[str, int]] = {
    "whole": {},
    "batch": {"split_batch": 2},
    "rows": {"split_rows": 2},
    "uneven rows, weights kept": {"split_rows": 3, "keep_weights": 1},
    "rows and columns": {"split_rows": 2, "split_columns": 3},
    "pieces of rows": {"pieces": 4, "axis": ROWS},
    "pieces of columns": {"pieces": 3, "axis": COLUMNS},
    "pieces of channels": {"pieces": 2, "axis": CHANNELS},
    "ring of channels": {"pieces": 2, "axis": CHANNEL_RING},
    "slices over channels": {"split_channels": 2},
    "rows, columns cached": {"split_rows": 3, "pieces": 3, "axis": COLUMNS},
    "cached": {"split_rows": 3, "pieces": 3, "axis": COLUMNS, "halo": CACHE},
    "cached along rows": {"split_columns": 3, "pieces": 4, "axis": ROWS, "halo": CACHE},
    "cached in the LLB": {"split_rows": 3, "pieces": 3, "axis": COLUMNS, "halo": CACHE_LLB},
    "cached in DRAM": {"split_rows": 3, "pieces": 3, "axis": COLUMNS, "halo": CACHE_DRAM},
}

BINDINGS = {
    "one core": Choice(0, 2),
    "images": Choice(0, 2, ways_batch=2),
    "rows": Choice(0, 2, ways_rows=2),
    "channels": Choice(0, 2, ways_channels=2),
    "rows and channels": Choice(0, 2, ways_rows=2, ways_channels=2),
    "three by channels": Choice(0, 2, ways_channels=3),
    "rows, then channels": Choice(0, 2, ways_rows=2).with_own_runs([OwnRun(1, 2, 1, 1, 2)]),
    "rows, then one core": Choice(0, 2, ways_rows=2).with_own_runs([OwnRun(1, 2, 1, 1, 1)]),
}

SCOPES: dict[str, Rules] = {
    "LLB": Rules(),
    "DRAM": Rules(scopes=SCOPE_DRAM, weights=WEIGHTS_RELOADED, prefetch=0),
    "breadth first": Rules(order=BREADTH_FIRST, prefetch=2),
    "shortened": Rules(scopes=SCOPE_SHORTENED),
    "moves": Rules(),
}

CACHED = {"cached", "cached along rows", "cached in the LLB", "cached in DRAM"}


def network(folder: Path) -> str:
    """A convolution and a depthwise one, whose output is read at once and again at the end."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 3, 7, 9)
    wide = graph.node("Relu", graph.node("Conv", image, graph.random(12, 3, 3, 3), pads=[1] * 4))
    deep = graph.node("Conv", wide, graph.random(12, 1, 3, 3), pads=[1] * 4, group=12)
    pooled = graph.node("MaxPool", deep, kernel_shape=[3, 3], pads=[1] * 4)
    again = graph.node("Conv", pooled, graph.random(12, 12, 1, 1))
    return graph.save(folder, graph.node("Add", again, graph.node("AveragePool", deep, kernel_shape=[1, 1])))


def machine_of(name: str) -> Machine:
    """With an LLB so small that not all of the network stays there, where there is one; `tiny` with larger memories of
    a core, since it has no room for a whole sub-graph of a few images."""
    machine = load_machine(name)
    machine = machine.varied(l1=8.0, weights=4.0) if name == "tiny" else machine
    return machine if machine.memories.llb is None else with_llb_bytes(machine, 16 * 1024)


def possible(machine: Machine) -> tuple[set[tuple[str, str]], set[str]]:
    """The pairs of tiles and bindings, and the scopes, that a machine runs."""
    llb, cores = machine.memories.llb is not None, machine.cores
    pairs = {
        (tile, binding)
        for tile in TILES
        for binding, bound in BINDINGS.items()
        if bound.cores <= cores
        and (llb or tile != "cached in the LLB")
        and not (tile in CACHED and bound.several_bindings)
    }
    return pairs, set(SCOPES) if machine.system_dma else set(SCOPES) - {"shortened", "moves"}


@pytest.mark.slow
@pytest.mark.parametrize("name", ["tiny", "stcp920", "rammer_v100", "edge_tcm"])
def test_every_decision(tmp_path: Path, name: str) -> None:
    model, machine = load_model(network(tmp_path), BATCH), machine_of(name)
    evaluator = Evaluator(model.network, machine)
    rest = tuple(
        Choice(*row[:CHOICE_FIELDS])
        for row in (CandidateSpace(evaluator).between(k, k + 1)[0][0] for k in range(2, 5))
    )
    rng = np.random.default_rng(3)
    pairs, scopes = possible(machine)
    done, seen = set[tuple[str, str]](), set[str]()
    for number, (tile, binding) in enumerate(sorted(pairs)):
        choices = (BINDINGS[binding]._replace(**TILES[tile]), *rest)
        for scope in [*sorted(scopes)[number % len(scopes) :], *sorted(scopes)[: number % len(scopes)]]:
            rules = SCOPES[scope]
            if not legal(evaluator, choices, rules):
                continue
            if scope == "moves":
                rules = replace(rules, reads=random_reads(evaluator, choices, rng))
            if machine.concurrent_kernels:
                rules = replace(rules, packing=random_packing(evaluator, choices, rng))
            if not legal(evaluator, choices, rules):
                continue
            _, program = checked_program(evaluator, choices, rules)
            assert verify(model, program, machine, program_weights(model.network)).passed, (
                tile,
                binding,
                scope,
            )
            done.add((tile, binding))
            seen.add(scope)
            break
    assert done == pairs
    assert seen == scopes
