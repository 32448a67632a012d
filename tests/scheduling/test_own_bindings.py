"""Layers with a binding of their own: random schedules right all the way down, bytes by hand, and what is refused."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from graph.importer import load_model
from graph.model import Model
from hwmodel.machines.machine import load_machine
from hwmodel.programs.isa import Instruction, Op
from hwmodel.timing.counts import Counts
from hwmodel.timing.instruction_cost import instruction_cost
from scheduling.choice import CACHE, Choice, OwnRun, packed_run, run_layers, run_ways
from scheduling.emission.program import build_program
from scheduling.errors import IllegalSchedule, UnsupportedDecision
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import machine_called
from tests.scheduling.random_cases import legal, random_model, random_own_bindings, random_rules
from tests.scheduling.random_packings import random_packing
from tests.scheduling.whole_checks import check_all_the_way_down

CASES = [
    (machine, batch, seed)
    for machine, batch in (("tiny", 1), ("tiny", 4), ("stcp920", 3), ("stcp920", 4))
    for seed in range(3)
] + [
    ("ascend_multi", 2, 0),
    ("rammer_v100", 2, 2),
    ("rammer_v100", 3, 6),
    ("stcp920-without-llb", 3, 0),
    ("tiny-without-llb", 2, 1),
    ("tiny-bursts", 3, 0),
    ("stcp920-bursts", 2, 1),
]
IMAGE_BYTES = 4 * 4 * 6 * 4
"""Of the tensor between both layers of `two_products`, on `tiny`."""


@pytest.mark.parametrize(("machine_name", "batch", "seed"), CASES)
def test_random_bindings_hold_all_the_way_down(
    tmp_path: Path, machine_name: str, batch: int, seed: int
) -> None:
    """Kernels that run side by side where the machine allows it."""
    rng = np.random.default_rng([seed, batch, len(machine_name), 13])
    machine = machine_called(machine_name)
    sent = 0
    for number in range(12):
        folder = tmp_path / str(number)
        folder.mkdir()
        model = load_model(str(random_model(folder, rng)), batch)
        evaluator = Evaluator(model.network, machine)
        choices, rules = random_own_bindings(evaluator, rng), random_rules(rng)
        if choices is None:
            continue
        if machine.concurrent_kernels:
            rules = replace(rules, packing=random_packing(evaluator, choices, rng))
        if not legal(evaluator, choices, rules):
            continue
        found = len(redistributions(evaluator, choices, rules))
        if found:
            check_all_the_way_down(model, evaluator, choices, rules, rng, folder)
            sent += 1
        if sent == 2:
            return
    assert sent


def redistributions(evaluator: Evaluator, choices: tuple[Choice, ...], rules: Rules) -> list[Instruction]:
    """The instructions of all kernels that send what is made in one binding to where it is read in another."""
    program = build_program(evaluator, choices, evaluator.arrange(choices, rules))
    return [
        instruction
        for kernel in program.kernels.values()
        for instruction in kernel.instructions
        if instruction.op is Op.BROADCAST and "dst_addr" in instruction.fields
    ]


def two_products(folder: Path, batch: int) -> Model:
    """4 x 4 pixels of 4 channels, then 6, then 8, each of all that there were before."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 4, 4)
    value = graph.node("Relu", graph.node("Conv", value, graph.random(6, 4, 1, 1)))
    return load_model(graph.save(folder, graph.node("Conv", value, graph.random(8, 6, 1, 1))), batch)


def bound(one: tuple[int, int, int], other: tuple[int, int, int], **decisions: int) -> Choice:
    """Both layers in a kernel, each with its ways over the batch, rows and channels."""
    return Choice(0, 2, 1, 1, *one).with_own_runs([OwnRun(1, 2, *other)])._replace(**decisions)


BY_HAND: list[tuple[tuple[int, int, int], tuple[int, int, int], int, list[Counts]]] = [
    # Each core has two rows, and both need all: one part to the other core, and both to their own copy.
    ((1, 2, 1), (1, 1, 2), 1, [Counts(0, 0, 0, 0, 384, 0, 0, 384, 768)]),
    # Each core has three channels of all rows, and needs all of two rows: a round to itself, one to the other core.
    (
        (1, 1, 2),
        (1, 2, 1),
        1,
        [Counts(0, 0, 0, 0, 0, 0, 0, 192, 192), Counts(0, 0, 0, 0, 192, 0, 0, 192, 192)],
    ),
    # Each core has two rows; the second layer, on one of them, needs all, and has half of it already.
    ((1, 2, 1), (1, 1, 1), 1, [Counts(0, 0, 0, 0, 192, 0, 0, 384, 384)]),
    # Each core has an image; the second layer needs both.
    ((2, 1, 1), (1, 1, 2), 2, [Counts(0, 0, 0, 0, 768, 0, 0, 768, 1536)]),
    # Each core has half of both images, and needs one.
    (
        (1, 2, 1),
        (2, 1, 1),
        2,
        [Counts(0, 0, 0, 0, 0, 0, 0, 384, 384), Counts(0, 0, 0, 0, 384, 0, 0, 384, 384)],
    ),
]
"""Both bindings, images, and what each instruction between them counts: exchanged, read from and written to L1."""


@pytest.mark.parametrize(("one", "other", "batch", "expected"), BY_HAND)
def test_bytes_that_change_hands_by_hand(
    tmp_path: Path,
    one: tuple[int, int, int],
    other: tuple[int, int, int],
    batch: int,
    expected: list[Counts],
) -> None:
    machine = load_machine("tiny")
    model = two_products(tmp_path, batch)
    evaluator = Evaluator(model.network, machine)
    choices = (bound(one, other),)
    sent = redistributions(evaluator, choices, Rules())
    assert [instruction_cost(machine, (), instruction).counts for instruction in sent] == expected
    # Nothing else is exchanged, and nothing goes through shared memory that a single binding would not move.
    evaluation = evaluator.evaluate(choices, Rules())
    assert evaluation.counts.exchange_bytes == sum(counts.exchange_bytes for counts in expected)
    alone = evaluator.evaluate((bound(one, other, own_1=0),), Rules())
    assert evaluation.counts.off_core_bytes == alone.counts.off_core_bytes
    # At 8 bytes a cycle the core that gets most decides.
    most = batch * IMAGE_BYTES // len(expected) // (other[0] * other[1])
    cost = instruction_cost(machine, (), sent[-1])
    assert cost.latency_cycles == most // 8


def test_a_tensor_is_sent_once_to_each_binding_that_reads_it(tmp_path: Path) -> None:
    """Two images of 4 x 4 pixels and 6 channels that two cores share by rows, read by a layer shared by channels, which
    needs all on both, by one shared by images and, sent no more than once, by another one of these."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 4, 4, 4)
    shared = graph.node("Relu", graph.node("Conv", value, graph.random(6, 4, 1, 1)))
    readers = [graph.node("Relu", graph.node("Conv", shared, graph.random(8, 6, 1, 1))) for _ in range(3)]
    model = load_model(graph.save(tmp_path, graph.node("Concat", *readers, axis=1)), 2)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    layers = evaluator.network.layers
    assert [layer.inputs for layer in layers[1:4]] == 3 * [(layers[0].output,)]
    choice = Choice(0, 4, ways_rows=2).with_own_runs([OwnRun(1, 2, 1, 1, 2), OwnRun(2, 4, 2, 1, 1)])
    rest = Choice(4, len(layers), ways_rows=2, pieces=2)
    sent = [
        instruction_cost(load_machine("tiny"), (), instruction).counts.exchange_bytes
        for instruction in redistributions(evaluator, (choice, rest), Rules())
    ]
    # To the one each core sends its half of both images; to the others half of the image that is not its own.
    assert sorted(sent) == [0, IMAGE_BYTES, 2 * IMAGE_BYTES]
    check_all_the_way_down(model, evaluator, (choice, rest), Rules(), np.random.default_rng(5), tmp_path)


def test_products_of_activations_read_what_other_cores_made(tmp_path: Path) -> None:
    """Keys that cores make a share of the rows each of are whole where queries share rows: with one binding each core
    would have to make all of them, which is refused."""
    graph = GraphBuilder()
    value = graph.input("tokens", 1, 6, 8)
    keys = graph.node("MatMul", value, graph.random(8, 8))
    scores = graph.node("MatMul", value, graph.node("Transpose", keys, perm=[0, 2, 1]))
    model = load_model(graph.save(tmp_path, graph.node("Softmax", scores, axis=-1)), 2)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    count = len(evaluator.network.layers)
    by_rows = Choice(0, count, ways_rows=2)
    with pytest.raises(IllegalSchedule, match="rows cannot be cut into 2"):
        evaluator.evaluate((by_rows,), Rules())
    for own in ((1, 1, 2), (2, 1, 1)):
        apart = by_rows.with_own_runs([OwnRun(0, 1, *own)])
        rng = np.random.default_rng(3)
        check_all_the_way_down(model, evaluator, (apart,), Rules(), rng, tmp_path)


@pytest.mark.parametrize("machine_name", ["tiny", "stcp920-without-llb", "tiny-bursts"])
def test_slices_over_channels_bind_their_layers_apart(tmp_path: Path, machine_name: str) -> None:
    """Each of two instances makes half of the channels of a depthwise convolution, shared by rows, and of a pool,
    shared by channels; both together send what a single instance sends."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 8, 6, 6)
    value = graph.node("Conv", value, graph.random(8, 1, 3, 3), group=8, pads=[1, 1, 1, 1])
    pooled = graph.node("AveragePool", graph.node("Relu", value), kernel_shape=[2, 2], strides=[2, 2])
    model = load_model(graph.save(tmp_path, pooled), 2)
    evaluator = Evaluator(model.network, machine_called(machine_name))
    whole = bound((1, 2, 1), (1, 1, 2))
    halves = whole._replace(split_channels=2)
    for choice in (halves, halves._replace(split_batch=2, pieces=2), halves._replace(split_rows=3)):
        sent = redistributions(evaluator, (choice,), Rules())
        assert sent
        check_all_the_way_down(model, evaluator, (choice,), Rules(), np.random.default_rng(4), tmp_path)
    exchanged = [evaluator.evaluate((choice,)).counts.exchange_bytes for choice in (whole, halves)]
    assert exchanged[0] == exchanged[1] > 0


REFUSED: list[tuple[tuple[int, int, int], Mapping[str, int], str]] = [
    (
        (1, 1, 3),
        {},
        "the binding of layers n2_Conv to n2_Conv has 3 cores, expected a divisor of the 2 of the sub-graph's",
    ),
    ((1, 2, 1), {}, "the binding of layers n2_Conv to n2_Conv is that of the sub-graph"),
    (
        (1, 1, 2),
        {"own_1": packed_run(OwnRun(1, 3, 1, 1, 2))},
        "bindings of layers n2_Conv to #2, expected runs of its layers, one behind the other",
    ),
    (
        (1, 1, 2),
        {"own_2": packed_run(OwnRun(0, 1, 1, 1, 2))},
        "bindings of layers n2_Conv to n2_Conv, n0_Conv to n0_Conv, expected runs of its layers, one behind the other",
    ),
    (
        (1, 1, 2),
        {"halo": CACHE, "split_columns": 2},
        "layers cannot have bindings of their own where overlaps are cached",
    ),
    ((2, 1, 1), {}, "1 slices of the batch in 2 ways each are more slices than images"),
]


@pytest.mark.parametrize(("own", "decisions", "message"), REFUSED)
def test_a_binding_that_cannot_be_is_refused(
    tmp_path: Path, own: tuple[int, int, int], decisions: Mapping[str, int], message: str
) -> None:
    evaluator = Evaluator(two_products(tmp_path, 1).network, load_machine("tiny"))
    with pytest.raises(IllegalSchedule, match=message):
        evaluator.evaluate((bound((1, 2, 1), own, **decisions),), Rules())


def test_a_shortage_says_what_lies_in_l1_twice(tmp_path: Path) -> None:
    """16 x 16 pixels of 3 channels fit tiny's L1 for two cores that share rows, but not in both bindings."""
    graph = GraphBuilder()
    value = graph.node("Conv", graph.input("image", 1, 1, 16, 16), graph.random(3, 1, 1, 1))
    model = load_model(graph.save(tmp_path, graph.node("Conv", value, graph.random(2, 3, 1, 1))), 1)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    choice = bound((1, 2, 1), (1, 1, 2))
    assert evaluator.evaluate((choice._replace(own_1=0),)).cycles
    with pytest.raises(
        IllegalSchedule, match=r"l1 .* short by .*; layers n1_Conv to n1_Conv have bindings of"
    ):
        evaluator.evaluate((choice,))


def test_more_runs_than_a_choice_holds_are_refused() -> None:
    six = [OwnRun(layer, layer + 1, 1, 1, 2) for layer in range(6)]
    choice = Choice(0, 6, ways_rows=2)
    assert list(choice.with_own_runs(six[1:]).own_runs) == six[1:]
    assert choice.with_own_runs(six[1:]).with_own_runs([]) == choice
    with pytest.raises(
        UnsupportedDecision, match="6 runs of layers with a binding of their own, expected at most 5"
    ):
        choice.with_own_runs(six)
    with pytest.raises(
        UnsupportedDecision, match="expected layers in ascending order below 65536 and from 1 to 1023"
    ):
        packed_run(OwnRun(3, 3, 1, 1, 1))


@given(
    st.tuples(st.integers(0, 65_534), st.integers(1, 1023), st.integers(1, 1023), st.integers(1, 1023)),
    st.integers(1, 65_535),
)
def test_packed_runs_lose_nothing(numbers: tuple[int, int, int, int], length: int) -> None:
    first, *ways = numbers
    run = OwnRun(first, min(65_535, first + length), *ways)
    assert OwnRun(*run_layers(packed_run(run)), *run_ways(packed_run(run))) == run
