"""Steps that repeat are jumped over: every figure is what simulating each of them gives."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.choice import CACHE, CACHE_DRAM, CACHE_LLB, COLUMNS, RECOMPUTE, ROWS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.rows import SLOT_ENTRIES
from scheduling.rules import Rules
from scheduling.timeline.periods import STATES, jump, jump_stores, repeated
from tests.graph.onnx_helpers import GraphBuilder


def step(
    k: int, free: list[int], ended: tuple[int, int], states: np.ndarray, reads: int = 0
) -> tuple[int, ...]:
    """`repeated` for step k of ten steps of one template and sub-graph, two slices of the batch of five each."""
    places, subgraph = np.zeros((10, 4), np.int64), np.zeros(10, np.int64)
    external = np.array([*ended, reads], np.int64)
    return repeated(
        k,
        10,
        places,
        subgraph,
        np.arange(10),
        5,
        np.array(free, np.int64),
        *ended,
        external,
        SLOT_ENTRIES + 1,
        states,
    )


def test_a_repetition_by_hand() -> None:
    """Step 1 begins 7 cycles later than step 0 in all respects, so steps 1 to 4 repeat; step 5 is of another slice."""
    states = np.zeros(STATES, np.int64)
    assert step(0, [10, 12, 9, 0, 5, 0, 0, 0], (11, 9), states) == (0, 0, 0)
    assert step(1, [17, 19, 16, 0, 12, 0, 0, 0], (18, 16), states) == (4, 1, 7)
    free, finish = np.array([17, 19, 16, 0, 12, 0, 0, 0]), np.array([11, 0, 0, 0, 0, 0])
    assert jump(1, 4, 1, 7, free, finish) == 28
    assert free.tolist() == [45, 47, 44, 0, 44, 44, 44, 44]  # links are free before the queue that they need
    assert finish.tolist() == [11, 18, 25, 32, 39, 0]
    ready = np.array([0, 0, 4, 0, 0, 0, 0])
    jump_stores(1, 4, 1, 7, np.arange(10), 2, ready)
    assert ready.tolist() == [0, 0, 4, 11, 18, 25, 32]


@pytest.mark.parametrize(
    ("free", "ended", "reads"),
    [
        ([17, 20, 16, 0, 12, 0, 0, 0], (18, 16), 0),  # an engine is later than the others
        ([17, 19, 16, 0, 17, 0, 0, 0], (18, 16), 0),  # a link is
        ([17, 19, 16, 0, 12, 0, 0, 0], (19, 16), 0),  # the end of the compute is
        ([17, 19, 16, 0, 12, 0, 0, 0], (18, 17), 0),  # that of the transfers
        ([17, 19, 16, 0, 12, 0, 0, 0], (18, 16), 10),  # step 0 may have waited for what it reads
    ],
)
def test_what_is_no_repetition(free: list[int], ended: tuple[int, int], reads: int) -> None:
    states = np.zeros(STATES, np.int64)
    step(0, [10, 12, 9, 0, 5, 0, 0, 0], (11, 9), states, reads)
    assert step(1, free, ended, states, reads) == (0, 0, 0)


def test_every_second_step_repeats() -> None:
    states = np.zeros(STATES, np.int64)
    assert step(0, [10, 12, 10, 0, 0, 0, 0, 0], (12, 10), states)[0] == 0
    assert step(1, [16, 17, 16, 0, 0, 0, 0, 0], (17, 16), states)[0] == 0
    assert step(2, [20, 22, 20, 0, 0, 0, 0, 0], (22, 20), states) == (2, 2, 10)


@pytest.fixture(scope="module")
def evaluators(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Evaluator, Evaluator]]:
    """Of three convolutions and a pool on 36 x 48 pixels, twice: with periods and without."""
    graph = GraphBuilder()
    value = graph.input("image", 1, 3, 36, 48)
    for inputs, outputs in ((3, 4), (4, 5), (5, 4)):
        weight = graph.random(outputs, inputs, 3, 3)
        value = graph.node("Relu", graph.node("Conv", value, weight, graph.random(outputs), pads=[1] * 4))
    value = graph.node("MaxPool", value, kernel_shape=[2, 2], strides=[2, 2])
    path = graph.save(tmp_path_factory.mktemp("model"), value)
    network = load_model(str(path), 2, weights=False).network
    found = {}
    for name in ("tiny", "stcp920", "meta_prototype_df"):
        both = Evaluator(network, load_machine(name)), Evaluator(network, load_machine(name))
        both[1].periodic = False
        found[name] = both
    return found


@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_figures_are_those_of_every_step_simulated(
    evaluators: dict[str, tuple[Evaluator, Evaluator]], data: st.DataObject
) -> None:
    fast, full = evaluators[data.draw(st.sampled_from(sorted(evaluators)))]
    layers = len(fast.network.layers)
    cut = data.draw(st.sampled_from([layers, 2]))

    def choice(first: int, stop: int) -> Choice:
        axis = data.draw(st.sampled_from([ROWS, COLUMNS]))
        return Choice(
            first,
            stop,
            split_batch=data.draw(st.integers(1, 2)),
            split_rows=data.draw(st.sampled_from([1, 3, 6, 9])),
            split_columns=data.draw(st.sampled_from([4, 8, 12, 24])),
            pieces=data.draw(st.sampled_from([1, 2, 3])),
            axis=axis,
            rule=data.draw(st.sampled_from([10, 20, 60])),
            halo=data.draw(st.sampled_from([RECOMPUTE, CACHE, CACHE_LLB, CACHE_DRAM]))
            if axis == COLUMNS
            else RECOMPUTE,
            keep_weights=data.draw(st.integers(0, 1)),
            overlap=data.draw(st.integers(0, 1)),
        )

    choices = (choice(0, layers),) if cut == layers else (choice(0, cut), choice(cut, layers))
    rules = Rules(*(data.draw(st.integers(0, 1)) for _ in range(4)))
    try:
        plan = full.arrange(choices, rules)
        times, evaluation = full.simulate(choices, plan)
    except IllegalSchedule:
        return
    jumped, same = fast.simulate(choices, plan)
    assert same == evaluation
    assert jumped.makespan == times.makespan
    assert np.array_equal(jumped.finish, times.finish)
    assert [t.index for t in fast.templates.of(choices, plan)] == fast.templates.indices(
        choices, plan
    ).tolist()
