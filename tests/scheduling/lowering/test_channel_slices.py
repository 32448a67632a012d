"""Slices over channels: random programs right all the way down, bytes by hand, shared templates, what is refused."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.model import Model
from hwmodel.machines.machine import Machine, load_machine
from scheduling.choice import CACHE_LLB, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.channel_slices import channel_units
from scheduling.rules import Rules
from scheduling.timeline.arrangement import SCOPE_DRAM, WEIGHTS_RELOADED
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called, with_bursts, with_llb_bytes
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.primitive_networks import transformer
from tests.scheduling.random_cases import (
    checked_program,
    legal,
    legal_draws,
    random_channel_slices,
    random_model,
    random_rules,
)
from tests.scheduling.random_packings import random_packing
from tests.scheduling.timeline.test_moves import random_reads
from tests.scheduling.whole_checks import check_all_the_way_down, check_values

THROUGH_DRAM = Rules(scopes=SCOPE_DRAM, weights=WEIGHTS_RELOADED)


def blocks(folder: Path, rng: np.random.Generator) -> Path:
    """Expansion, depthwise convolution, pool, product with a channel-wise gate, projection and residual."""
    graph = GraphBuilder(seed=int(rng.integers(1000)))
    channels, size, wide = int(rng.integers(2, 5)), int(rng.choice([6, 9])), int(rng.choice([6, 8, 12]))
    value = graph.input("image", 1, channels, size, size)
    for _ in range(2):
        pads = [1, 1, 1, 1]
        inner = graph.node(
            "Relu", graph.node("Conv", value, graph.random(wide, channels, 1, 1), graph.random(wide))
        )
        weight = graph.random(wide, 2, 3, 3) if rng.integers(2) else graph.random(wide, 1, 3, 3)
        groups = wide // (2 if weight_inputs(graph, weight) == 2 else 1)
        inner = graph.node("Conv", inner, weight, graph.random(wide), pads=pads, group=groups)
        inner = graph.node("MaxPool", inner, kernel_shape=[3, 3], pads=pads)
        if rng.integers(2):
            mean = graph.node("GlobalAveragePool", inner)
            gate = graph.node("Sigmoid", graph.node("Conv", mean, graph.random(wide, wide, 1, 1)))
            inner = graph.node("Mul", inner, gate)
        projected = graph.node("Conv", inner, graph.random(channels, wide, 1, 1), graph.random(channels))
        value = graph.node("Add", projected, value)
    return Path(graph.save(folder, value))


def weight_inputs(graph: GraphBuilder, name: str) -> int:
    return next(int(values.dims[1]) for values in graph.initializers if values.name == name)


def machines() -> dict[str, Machine]:
    tiny = load_machine("tiny")
    return {"tiny": tiny, "bursts": with_bursts(tiny, 16)} | {
        name: machine_called(name) for name in ("stcp920", "tiny-without-llb", "edge_tcm")
    }


@pytest.mark.parametrize(
    ("machine_name", "batch", "seed"),
    [
        ("tiny", 1, 0),
        ("tiny", 3, 1),
        ("bursts", 2, 2),
        ("stcp920", 3, 3),
        ("tiny-without-llb", 2, 4),
        ("edge_tcm", 2, 5),
    ],
)
def test_random_slices_of_a_network_hold_all_the_way_down(
    tmp_path: Path, machine_name: str, batch: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, batch])
    sliced = 0
    for number, made in enumerate((blocks, random_model)):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = load_model(str(made(folder, rng)), batch)
        evaluator = Evaluator(model.network, machines()[machine_name])
        for choices, rules in legal_draws(evaluator, rng, random_channel_slices, 100, most=1):
            check_all_the_way_down(model, evaluator, choices, rules, rng, folder)
            sliced += sum(choice.split_channels > 1 for choice in choices)
    assert sliced > 0


@pytest.mark.parametrize(
    ("machine_name", "batch", "seed"), [("tiny", 2, 0), ("stcp920", 1, 5), ("bursts", 3, 2)]
)
def test_random_slices_of_a_transformer_hold_all_the_way_down(
    machine_name: str, batch: int, seed: int
) -> None:
    rng = np.random.default_rng([seed, batch, 9])
    sliced = 0
    for _ in range(2):
        network, values = transformer(rng, batch)
        evaluator = Evaluator(network, machines()[machine_name])
        for choices, rules in legal_draws(evaluator, rng, random_channel_slices, 100, most=1):
            _, program = checked_program(evaluator, choices, rules)
            check_values(network, values, program, evaluator.machine, rng)
            sliced += sum(choice.split_channels > 1 for choice in choices)
    assert sliced > 0


@pytest.mark.parametrize(("packed", "seed"), [(True, 0), (False, 1), (False, 2)])
def test_random_slices_in_packed_steps_and_with_moves_hold_all_the_way_down(
    tmp_path: Path, packed: bool, seed: int
) -> None:
    """Kernels side by side, and tensors that leave a small last-level buffer while they are in use."""
    rng = np.random.default_rng([seed, 3])
    machine = concurrent("stcp920") if packed else with_llb_bytes(load_machine("stcp920"), 2048)
    model = load_model(str(blocks(tmp_path, rng)), 2)
    evaluator = Evaluator(model.network, machine)
    for _ in range(200):
        choices, rules = random_channel_slices(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        if packed:
            rules = replace(rules, packing=random_packing(evaluator, choices, rng))
        else:
            rules = replace(rules, reads=random_reads(evaluator, choices, rng))
        sliced = any(choice.split_channels > 1 for choice in choices)
        if sliced and legal(evaluator, choices, rules):
            break
    else:
        pytest.fail("luck found nothing that fits")
    check_all_the_way_down(model, evaluator, choices, rules, rng, tmp_path)


def attention(folder: Path, heads: int, width: int, tokens: int) -> Model:
    """Self-attention of one image of `tokens` rows, without the projection behind it."""
    graph = GraphBuilder()
    x = graph.input("tokens", 1, tokens, heads * width)

    def projected(order: list[int]) -> str:
        mixed = graph.node("MatMul", x, graph.random(heads * width, heads * width))
        apart = graph.node("Reshape", mixed, graph.integers(0, 0, heads, width))
        return graph.node("Transpose", apart, perm=order)

    queries, keys, values = (projected(order) for order in ([0, 2, 1, 3], [0, 2, 3, 1], [0, 2, 1, 3]))
    weights = graph.node("Softmax", graph.node("MatMul", queries, keys), axis=-1)
    mixed = graph.node("Transpose", graph.node("MatMul", weights, values), perm=[0, 2, 1, 3])
    return load_model(
        graph.save(folder, graph.node("Reshape", mixed, graph.integers(0, 0, heads * width))), 1
    )


def test_weights_are_read_once_and_an_input_by_each_slice(tmp_path: Path) -> None:
    """A 1 x 1 convolution of 4 into 7 channels on 5 x 5 pixels, in 3 slices of 2, 2 and 3 channels, with a bias."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 5, 5)
    out = graph.node("Conv", image, graph.random(7, 4, 1, 1), graph.random(7))
    model = load_model(graph.save(tmp_path, out), 1)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    whole, sliced = Choice(0, 1), Choice(0, 1, split_channels=3)
    counts = evaluator.evaluate((sliced,), THROUGH_DRAM).counts
    assert counts.dram_read_bytes == 4 * (3 * 4 * 25 + 7 * 4 + 7)
    assert counts.dram_write_bytes == 4 * 7 * 25
    assert counts.macs == evaluator.evaluate((whole,), THROUGH_DRAM).counts.macs == 7 * 4 * 25
    plan = evaluator.arrange((sliced,), THROUGH_DRAM)
    templates = evaluator.templates.of((sliced,), plan)
    assert [template.index == templates[0].index for template in templates] == [True, True, False]


def test_a_layer_on_groups_reads_its_slice_only(tmp_path: Path) -> None:
    """Depthwise 3 x 3 convolution of 6 channels on 5 x 5 pixels: everything crosses DRAM once, however it is cut."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 6, 5, 5)
    out = graph.node("Conv", image, graph.random(6, 1, 3, 3), pads=[1, 1, 1, 1], group=6)
    evaluator = Evaluator(load_model(graph.save(tmp_path, out), 1).network, load_machine("tiny"))
    for slices in (1, 2, 4, 6):
        counts = evaluator.evaluate((Choice(0, 1, split_channels=slices),), THROUGH_DRAM).counts
        assert (counts.dram_read_bytes, counts.dram_write_bytes) == (4 * (6 * 25 + 6 * 9), 4 * 6 * 25)


def test_slices_of_attention_are_heads(tmp_path: Path) -> None:
    """Projections, scores, softmax and context of 4 heads in one sub-graph: each slice reads the input, scores cross no
    border, and a slice needs the room of its heads."""
    heads, width, tokens = 4, 3, 6
    model = attention(tmp_path, heads, width, tokens)
    network = model.network
    evaluator = Evaluator(network, load_machine("tiny"))
    layers, features = len(network.layers), heads * width
    assert channel_units(network, 0, layers).units == heads
    peaks = []
    for slices in (1, 2, 4):
        choice = Choice(0, layers, split_channels=slices)
        counts = evaluator.evaluate((choice,), THROUGH_DRAM).counts
        assert counts.dram_read_bytes == 4 * (slices * tokens * features + 3 * features * features)
        assert counts.dram_write_bytes == 4 * tokens * features
        plan = evaluator.arrange((choice,), THROUGH_DRAM)
        peaks.append(evaluator.templates.of((choice,), plan)[0].lowered.plan.peak_bytes)
        check_all_the_way_down(model, evaluator, (choice,), THROUGH_DRAM, np.random.default_rng(0), tmp_path)
    # The whole input, and of everything else the slice's part.
    made = [peak - 4 * tokens * features for peak in peaks]
    assert made[0] > 1.9 * made[1] > 3.6 * made[2]


def test_slices_over_channels_with_ways_over_channels(tmp_path: Path) -> None:
    """Cores share a slice: 2 slices of 6 channels on 2 cores, 3 each."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 5, 5)
    inner = graph.node("Conv", image, graph.random(12, 4, 1, 1), graph.random(12))
    out = graph.node("Conv", inner, graph.random(12, 1, 3, 3), pads=[1, 1, 1, 1], group=12)
    model = load_model(graph.save(tmp_path, out), 1)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    choice = Choice(0, 2, split_channels=2, ways_channels=2)
    check_all_the_way_down(model, evaluator, (choice,), Rules(), np.random.default_rng(0), tmp_path)
    assert evaluator.evaluate((choice,), Rules()).counts.exchange_bytes == 0


def refusal(evaluator: Evaluator, choice: Choice) -> str:
    with pytest.raises(IllegalSchedule) as error:
        evaluator.templates.check(choice)
    return str(error.value)


def test_what_does_not_carry_channels_is_refused(tmp_path: Path) -> None:
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 5, 5)
    one = graph.node("Conv", image, graph.random(6, 4, 1, 1), graph.random(6))
    two = graph.node("Conv", one, graph.random(6, 6, 1, 1), graph.random(6))
    joined = graph.node("Concat", two, one, axis=1)
    mean = graph.node("LRN", joined, size=3)
    gated = graph.node(
        "Mul", mean, graph.node("Sigmoid", graph.node("Conv", mean, graph.random(12, 12, 1, 1)))
    )
    summed = graph.node("ReduceSum", gated, graph.integers(1), keepdims=1)
    model = load_model(graph.save(tmp_path, graph.node("Relu", summed)), 1)
    network = model.network
    evaluator = Evaluator(network, load_machine("tiny"))
    at = {kind: i for i, layer in enumerate(network.layers) for kind in layer.name.split("_")[-1:]}

    def told(first: int, stop: int, slices: int = 2, **others: int) -> str:
        return refusal(evaluator, Choice(first, stop, split_channels=slices, **others))

    assert "through layer n1_Conv, which reads all channels of t0, made in the same sub-graph" in told(0, 2)
    assert "through layer n2_Concat, which joins channels of t1" in told(at["Concat"], at["Concat"] + 1)
    assert "through layer n3_LRN, which mixes channels of t2" in told(at["LRN"], at["LRN"] + 1)
    assert "channels cannot be cut into 7 slices, at most 6 because of layer n0_Conv" in told(0, 1, 7)
    gate = at["LRN"] + 1
    assert "through layer n4_Conv, which reads all channels of t3, of which slices are read too" in told(
        gate, gate + 1
    )
    last = len(network.layers)
    assert "mixes channels" in told(last - 1, last)
    uneven = told(0, 1, 4, split_columns=2, halo=CACHE_LLB)
    assert (
        "overlaps of slices over channels that are not as wide as one another, or copy from other places, cannot be "
        "cached outside L1" in uneven
    )


def test_one_unit_is_what_all_tensors_and_groups_divide_into(tmp_path: Path) -> None:
    """8 channels in groups of 2, and 12 of another branch: 4 units of 2 and 3 channels."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 4, 5, 5)
    grouped = graph.node("Conv", image, graph.random(8, 1, 1, 1), group=4)
    other = graph.node("Conv", image, graph.random(12, 4, 1, 1))
    network = load_model(graph.save(tmp_path, grouped, other), 1).network
    with pytest.raises(IllegalSchedule, match="of which slices are read too"):
        channel_units(network, 0, 2)
    assert channel_units(network, 0, 1).units == 4
    assert channel_units(network, 1, 2).units == 12
