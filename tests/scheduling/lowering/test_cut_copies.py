"""Copies that are cut over columns and channels: random programs right all the way down, and what a slice reads."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.primitives import Contraction, Rearrange
from hwmodel.machines.machine import load_machine
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.channel_slices import ChannelRun, channel_units
from scheduling.rules import Rules
from scheduling.timeline.arrangement import SCOPE_DRAM, WEIGHTS_RELOADED
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.random_cases import Drawn, legal_draws, random_channel_slices, random_tiles
from tests.scheduling.whole_checks import check_all_the_way_down

THROUGH_DRAM = Rules(scopes=SCOPE_DRAM, weights=WEIGHTS_RELOADED)

Made = Callable[[Path, np.random.Generator], str]


def up_sampling(folder: Path, rng: np.random.Generator) -> str:
    """A transposed convolution and blocks of channels that become pixels, beside one another, between convolutions."""
    graph = GraphBuilder(seed=int(rng.integers(1000)))
    channels, wide, stride = int(rng.integers(2, 5)), int(rng.integers(2, 5)), int(rng.integers(2, 4))
    image = graph.input("image", 1, channels, 4, int(rng.integers(4, 7)))
    before = graph.node("Relu", graph.node("Conv", image, graph.random(channels, channels, 1, 1)))
    phases = graph.random(channels, wide, stride, stride)
    above = graph.node("ConvTranspose", before, phases, graph.random(wide), strides=[stride, stride])
    blocks = graph.node("Conv", before, graph.random(2 * stride**2, channels, 1, 1))
    blocks = graph.node("DepthToSpace", blocks, blocksize=stride)
    both = graph.node("Concat", graph.node("Relu", above), blocks, axis=1)
    return graph.save(folder, graph.node("Conv", both, graph.random(3, wide + 2, 3, 3), pads=[1, 1, 1, 1]))


def gated_unit(folder: Path, rng: np.random.Generator) -> str:
    """Tokens with features turned round, one half of these gated by the other, a convolution along tokens, and back."""
    graph = GraphBuilder(seed=int(rng.integers(1000)))
    tokens, width = int(rng.integers(4, 9)), int(rng.integers(2, 6))
    mixed = graph.node("MatMul", graph.input("x", 1, tokens, 3), graph.random(3, 2 * width))
    halves = graph.nodes_of("Split", 2, graph.node("Transpose", mixed, perm=[0, 2, 1]), axis=1)
    gated = graph.node("Mul", halves[0], graph.node("Sigmoid", halves[1]))
    along = graph.node("Conv", gated, graph.random(width, 1, 3), pads=[1, 1], group=width)
    back = graph.node("Transpose", along, perm=[0, 2, 1])
    return graph.save(folder, graph.node("MatMul", back, graph.random(width, 3)))


def steps(folder: Path, rng: np.random.Generator) -> str:
    """Columns of a map become steps of a sequence, of which a part is read backwards and half of the features forwards,
    as by a recurrent layer in both directions."""
    graph = GraphBuilder(seed=int(rng.integers(1000)))
    channels, rows, columns = int(rng.integers(2, 4)), int(rng.integers(2, 4)), int(rng.integers(4, 7))
    image = graph.input("image", 1, channels, rows, columns)
    flat = graph.node("Reshape", graph.node("Relu", image), graph.integers(1, channels * rows, columns))
    sequence = graph.node("Transpose", flat, perm=[0, 2, 1])
    begin, width = int(rng.integers(2)), 2 * int(rng.integers(1, 4))
    some = graph.node("Slice", sequence, graph.integers(begin), graph.integers(begin + 3), graph.integers(1))
    mixed = graph.node("MatMul", some, graph.random(channels * rows, 2 * width))
    half = [graph.node("Slice", mixed, graph.integers(low), graph.integers(low + width), graph.integers(2))
            for low in (0, width)]  # fmt: skip
    ends = (graph.integers(-1), graph.integers(-4), graph.integers(1), graph.integers(-1))
    turned = graph.node("Slice", half[0], *ends)
    return graph.save(folder, graph.node("Add", graph.node("Sigmoid", turned), graph.node("Tanh", half[1])))


@pytest.mark.parametrize("machine_name", ["tiny", "stcp920"])
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("made", "draw"),
    [
        (up_sampling, random_tiles),
        (up_sampling, random_channel_slices),
        (gated_unit, random_channel_slices),
        (steps, random_channel_slices),
    ],
)
def test_random_cuts_through_copies_hold_all_the_way_down(
    tmp_path: Path, made: Made, draw: Drawn, seed: int, machine_name: str
) -> None:
    rng = np.random.default_rng([seed, 13])
    model = load_model(made(tmp_path, rng), int(rng.integers(1, 3)))
    evaluator = Evaluator(model.network, load_machine(machine_name))
    copies = [k for k, layer in enumerate(model.network.layers) if isinstance(layer.anchor, Rearrange)]

    def through_copies(evaluator: Evaluator, rng: np.random.Generator) -> tuple[Choice, ...] | None:
        choices = draw(evaluator, rng)
        cut = [choice for choice in choices or () if choice.split_columns * choice.split_channels > 1]
        return choices if any(c.first <= layer < c.stop for c in cut for layer in copies) else None

    for choices, rules in legal_draws(evaluator, rng, through_copies, 200):
        check_all_the_way_down(model, evaluator, choices, rules, rng, tmp_path)


def bytes_read(folder: Path, graph: GraphBuilder, summed: str, channels: int, **cut: int) -> int:
    """DRAM bytes that a copy of the graph's input reads in slices. Its channels are summed up by a layer that reads
    the copy, and a weight for each channel, once."""
    network = load_model(graph.save(folder, summed)).network
    assert [type(layer.anchor) for layer in network.layers] == [Rearrange, Contraction]
    evaluator = Evaluator(network, load_machine("tiny"))
    counts = evaluator.evaluate((Choice(0, 1, **cut), Choice(1, 2)), THROUGH_DRAM).counts
    copied = network.tensors[network.layers[0].output].elements
    return counts.dram_read_bytes - 4 * (copied + channels)


def test_slices_over_columns_read_their_columns(tmp_path: Path) -> None:
    """12 channels of 3 x 6 pixels become 3 of 6 x 12: two columns come of one."""
    for slices, columns_read in ((1, 6), (2, 6), (3, 6), (6, 6), (12, 12), (5, 8)):
        graph = GraphBuilder()
        moved = graph.node("DepthToSpace", graph.input("image", 1, 12, 3, 6), blocksize=2)
        summed = graph.node("Conv", moved, graph.random(1, 3, 1, 1))
        assert bytes_read(tmp_path, graph, summed, 3, split_columns=slices) == 4 * 12 * 3 * columns_read


def test_slices_of_turned_tokens_read_these_tokens(tmp_path: Path) -> None:
    """6 tokens of 5 features become 5 rows of 6 channels."""
    for slices in (1, 2, 3, 4, 6):
        graph = GraphBuilder()
        moved = graph.node("Transpose", graph.input("x", 1, 6, 5), perm=[0, 2, 1])
        summed = graph.node("MatMul", moved, graph.random(6, 1))
        assert bytes_read(tmp_path, graph, summed, 6, split_channels=slices) == 4 * 6 * 5


def test_slices_of_half_of_the_features_read_that_half(tmp_path: Path) -> None:
    """The second 4 of 8 features of 6 tokens, last token first: whole, the copy reads all of them."""
    for slices, features_read in ((1, 8), (2, 4), (3, 4), (4, 4)):
        graph = GraphBuilder()
        x = graph.input("x", 1, 6, 8)
        half = graph.node("Slice", x, graph.integers(4), graph.integers(8), graph.integers(2))
        ends = (graph.integers(-1), graph.integers(-7), graph.integers(1), graph.integers(-1))
        moved = graph.node("Slice", half, *ends)
        summed = graph.node("MatMul", moved, graph.random(4, 1))
        assert bytes_read(tmp_path, graph, summed, 4, split_channels=slices) == 4 * 6 * features_read


def test_steps_of_a_sequence_read_their_columns(tmp_path: Path) -> None:
    """Columns 2 to 4 of 3 channels of 2 x 7 pixels as three rows of 6 channels."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 3, 2, 7)
    steps = graph.node("Slice", image, graph.integers(2), graph.integers(5), graph.integers(3))
    turned = graph.node("Transpose", graph.node("Reshape", steps, graph.integers(1, 6, 3)), perm=[0, 2, 1])
    summed = graph.node("MatMul", turned, graph.random(6, 1))
    assert bytes_read(tmp_path, graph, summed, 6) == 4 * 3 * 2 * 3


def test_slices_that_a_copy_and_another_layer_cut_otherwise_are_refused(tmp_path: Path) -> None:
    """The first half of the channels is moved by one layer, and all of them are read by the next."""
    graph = GraphBuilder()
    x = graph.node("Relu", graph.input("x", 1, 6, 8))
    half = graph.node("Slice", x, graph.integers(0), graph.integers(4), graph.integers(2))
    network = load_model(graph.save(tmp_path, graph.node("Relu", half), graph.node("Neg", x))).network
    assert channel_units(network, 1, 2).cut == {2: ChannelRun(0, 4), 1: ChannelRun(0, 4)}
    with pytest.raises(IllegalSchedule, match="which reads other channels of t0 than others make or read"):
        channel_units(network, 0, 2)
