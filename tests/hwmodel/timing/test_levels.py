"""Accesses of inner memories: against a walk over every step of the loops, by hand, and for whole programs."""

from __future__ import annotations

from itertools import permutations, product
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.level_table import LevelTable, level_table
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.machines.machine_levels import Levels
from hwmodel.timing.energy import energy_parts_pj, energy_pj, inner_parts_pj
from hwmodel.timing.flatten import time_program
from hwmodel.timing.levels import (
    READ,
    WRITE,
    Extents,
    contraction_accesses,
    pass_down,
    pass_up,
    product_accesses,
)
from scheduling.choice import Choice
from scheduling.emission.program import build_program
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from tests.graph.onnx_helpers import GraphBuilder

KIB = 1024
DF = load_machine("meta_prototype_df")


def table_of(machine: Machine) -> LevelTable:
    assert machine.level_table is not None
    return machine.level_table


def registers_only(rng: np.random.Generator) -> LevelTable:
    """One-element registers of weights and sums, every access at a random price: any of the orders can be cheapest."""
    word = {"word_bits": 8, "read_pj": 0.0, "write_pj": 0.0}
    levels = Levels.model_validate(
        {
            "sum_bytes": 2,
            "registers": [
                {"name": "w", "operands": ["weights"], "bytes": 1, **word},
                {"name": "o", "operands": ["outputs"], "bytes": 2, **word},
            ],
            "buffers": [],
            "l1": {"word_bits": 1 << 16, "ports": 2},
            "weights": {"word_bits": 1 << 16, "ports": 2},
        }
    )
    prices = rng.random(4)
    return level_table(levels, (prices[0], prices[1]), (prices[2], prices[3]))


def walked(x: Extents, order: tuple[str, ...]) -> tuple[int, int, int, int]:
    """Bytes of weights loaded into registers, of sums moved out to l1 and back, and of inputs read, when the steps of
    32 output channels, 2 input channels and 4 x 4 pixels are walked one by one in this order, innermost first."""
    rows, columns = range(0, x.rows, 4), range(0, x.columns, 4)
    loops = {
        "P": [(i, r, c) for i in range(x.images) for r in rows for c in columns],
        "K": list(range(0, x.out_channels, 32)),
        "R": list(product(range(x.taps), range(0, x.in_channels, 2))),
    }
    loaded = out = back = read = 0
    weights_at = sums_at = None
    begun: dict[object, int] = {}
    for outer, middle, inner in product(*(loops[name] for name in reversed(order))):
        at = dict(zip(reversed(order), (outer, middle, inner), strict=True))
        (_, r, c), k, (_, depth) = at["P"], at["K"], at["R"]  # type: ignore[misc]
        pixels = min(4, x.rows - r) * min(4, x.columns - c)
        wide, deep = min(32, x.out_channels - k), min(2, x.in_channels - depth)
        read += pixels * deep
        if weights_at != (k, at["R"]):
            loaded += wide * deep
            weights_at = (k, at["R"])
        if sums_at != (at["P"], k):
            if sums_at is not None and begun[sums_at] < len(loops["R"]):
                out += size_of(x, sums_at)
            sums_at = (at["P"], k)
            if sums_at in begun:
                back += 2 * pixels * wide
        begun[sums_at] = begun.get(sums_at, 0) + 1
    return loaded, out, back, read


def size_of(x: Extents, tile: object) -> int:
    (_, r, c), k = tile  # type: ignore[misc]
    return 2 * min(4, x.rows - r) * min(4, x.columns - c) * min(32, x.out_channels - k)


@pytest.mark.parametrize("seed", range(12))
def test_registers_load_what_a_walk_over_the_steps_loads(seed: int) -> None:
    """The order of least energy, found by walking all six, has the accesses that the closed form gives."""
    rng = np.random.default_rng(seed)
    t = registers_only(rng)
    images, rows, columns = (int(n) for n in rng.integers(1, (3, 10, 10)))
    channels, depth, taps = int(rng.integers(1, 70)), int(rng.integers(1, 6)), int(rng.choice([1, 2, 4]))
    x = Extents(images, rows, columns, channels, depth, taps, rows, columns, 4)
    costs = {}
    for order in permutations("PKR"):
        loaded, out, back, read = walked(x, order)
        energy = back * t.read_pj[2] + out * t.write_pj[2] + read * t.read_pj[2] + loaded * t.read_pj[3]
        costs[order] = (energy, loaded, out, back, read)
    found = np.zeros((4, 2), np.int64)
    contraction_accesses(t, DF.table(), x, 2, 3, 0, found)
    energy, loaded, out, back, read = min(costs.values())
    assert (found[2:] * np.stack([t.read_pj[2:], t.write_pj[2:]], axis=1)).sum() == pytest.approx(energy)
    assert found[0, WRITE] == found[3, READ] == loaded
    assert (found[2, WRITE], found[2, READ]) == (out, back + read)
    steps_p = images * -(-rows // 4) * -(-columns // 4)
    assert found[0, READ] == channels * depth * taps * steps_p
    updates = images * rows * columns * channels * 2 * -(-depth // 2) * taps
    assert found[1].tolist() == [updates, updates]


def test_a_convolution_on_the_depth_first_machine_by_hand() -> None:
    """The worked example of docs/machines.md. 4 x 8 outputs of 32 channels from 4, 3 x 3: two steps of pixels, 18 of
    the reduction. Sums stay in the registers; weights (1,152 bytes) come once into their buffer and from there for
    each step of pixels; the 6 x 10 window comes once and is read for 9 positions, all 32 channels at once."""
    x = Extents(1, 4, 8, 32, 4, 9, 6, 10, 6)
    found = np.zeros((6, 2), np.int64)
    assert contraction_accesses(table_of(DF), DF.table(), x, 4, 5, 0, found) == 36
    assert found.tolist() == [
        [2 * 1152, 2 * 1152],  # weight registers
        [32 * 32 * 18 * 2, 32 * 32 * 18 * 2],  # sum registers
        [2 * 1152, 1152],  # weight buffer
        [32 * 4 * 9, 240],  # activation buffer
        [240, 0],  # l1
        [1152, 0],  # weights
    ]
    found[:] = 0
    contraction_accesses(
        table_of(DF), DF.table(), x, 3, 2, 1, found
    )  # both in the inner buffers; added to sums
    assert found[2:].tolist() == [[2 * 1152, 0], [32 * 4 * 9 + 2048, 2048], [0, 0], [0, 0]]
    assert found[1].tolist() == [32 * 32 * 18 * 2, 32 * 32 * 19 * 2]
    prices = table_of(DF)
    assert 2 * 1152 * prices.read_pj[2] == pytest.approx(36 * 17.2)
    assert 1152 * prices.write_pj[2] == pytest.approx(18 * 28.4)
    data = DF.model_dump()
    first, *others = data["levels"]["buffers"]
    data["levels"]["buffers"] = [{**first, "word_bits": 128}, *others]
    narrow = Machine.model_validate(data)
    assert contraction_accesses(table_of(narrow), narrow.table(), x, 4, 5, 0, found) == 144


def test_an_operand_that_does_not_fit_is_read_anew() -> None:
    """48 KiB of weights do not fit 32 KiB, those of a step of output channels (16 KiB) do. So they come once, while
    all pixels pass, and the input, which does not fit either, comes once for each of three steps: 6 MiB instead of
    the 12 MiB of weights that 256 steps of pixels would need."""
    x = Extents(1, 64, 64, 96, 512, 1, 64, 64, 4)
    found = np.zeros((6, 2), np.int64)
    contraction_accesses(table_of(DF), DF.table(), x, 4, 5, 0, found)
    assert found[5, READ] == found[2, WRITE] == 96 * 512
    assert found[4, READ] == found[3, WRITE] == 3 * 64 * 64 * 512


def test_products_of_activations_are_contractions_of_each_image() -> None:
    x = Extents(3, 5, 1, 20, 12, 1, 5, 1, 1)
    one, many = np.zeros((6, 2), np.int64), np.zeros((6, 2), np.int64)
    single = product_accesses(table_of(DF), DF.table(), x._replace(images=1), 4, 3, 0, one)
    assert product_accesses(table_of(DF), DF.table(), x, 4, 3, 0, many) == 3 * single
    assert (many == 3 * one).all()


def test_a_narrow_port_stalls_the_engine() -> None:
    """32 x 2 weights a step through a port of 16 bytes take four cycles; with one port for both ways, fills too."""
    x = Extents(1, 4, 4, 32, 64, 1, 4, 4, 4)
    for ports, cycles in ((2, 128), (1, 256)):
        data = DF.model_dump()
        first, *others = data["levels"]["buffers"]
        data["levels"]["buffers"] = [{**first, "word_bits": 128, "ports": ports}, *others]
        machine = Machine.model_validate(data)
        found = np.zeros((6, 2), np.int64)
        assert contraction_accesses(table_of(machine), machine.table(), x, 4, 5, 0, found) == cycles
        assert found[2].tolist() == [32 * 64, 32 * 64]


def test_transfers_pass_all_memories_on_their_way() -> None:
    t = table_of(load_machine("ascend_like_df"))
    down, up = np.zeros((7, 2), np.int64), np.zeros((7, 2), np.int64)
    pass_down(t, t.input_end, 3, 5, 100, down)
    assert down[3:6].tolist() == [[0, 100], [100, 100], [100, 0]]
    pass_up(t, t.input_end, 3, 5, 100, up)
    assert up[3:6].tolist() == [[100, 0], [100, 100], [0, 100]]
    pass_down(t, t.input_end, 5, 5, 100, down)
    assert down.sum() == 400


def two_layers(folder: Path) -> str:
    graph = GraphBuilder()
    value = graph.input("image", 1, 8, 12, 12)
    for _ in range(2):
        value = graph.node("Relu", graph.node("Conv", value, graph.random(8, 8, 3, 3), graph.random(8)))
    return str(graph.save(folder, value))


def test_a_tensor_between_layers_stays_in_the_inner_buffer(tmp_path: Path) -> None:
    """Fused, only what enters and leaves passes l1; apart, each map does; both move the same between DRAM and l1."""
    network = load_model(two_layers(tmp_path), 1).network
    evaluator = Evaluator(network, DF)
    fused = evaluator.evaluate((Choice(0, 2),), Rules())
    image, output = 12 * 12 * 8, 8 * 8 * 8
    assert (fused.counts.l1_read_bytes, fused.counts.l1_write_bytes) == (image + output, image + output)
    activation = fused.inner.write_bytes[3]
    assert activation == image + 10 * 10 * 8 + output
    apart = evaluator.evaluate((Choice(0, 1), Choice(1, 2)), Rules())
    middle = 10 * 10 * 8
    assert apart.counts.l1_read_bytes - fused.counts.l1_read_bytes == 2 * middle
    assert apart.inner.read_bytes[0] == fused.inner.read_bytes[0]


def test_energy_is_that_of_all_memories(tmp_path: Path) -> None:
    evaluator = Evaluator(load_model(two_layers(tmp_path), 1).network, DF)
    choices = (Choice(0, 2),)
    found = evaluator.evaluate(choices, Rules())
    parts = {**energy_parts_pj(found.counts, DF), **inner_parts_pj(found.inner, DF)}
    assert found.energy_pj == pytest.approx(sum(parts.values()))
    assert parts["weight_buffer"] == pytest.approx(
        found.inner.read_bytes[2] * 17.2 / 64 + found.inner.write_bytes[2] * 28.4 / 64
    )
    assert energy_pj(found.counts, DF) < found.energy_pj
    timing = time_program(build_program(evaluator, choices, evaluator.arrange(choices, Rules())), DF)
    assert (timing.inner, timing.energy_pj) == (found.inner, pytest.approx(found.energy_pj))
