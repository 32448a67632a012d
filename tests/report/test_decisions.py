"""Decisions in words, and the sentence that compares the learned schedule with the best heuristic."""

from dataclasses import replace

import pytest

from graph.importer import load_model
from graph.network import Network
from hwmodel.timing.counts import Counts
from report.decisions import binding_text, compare, pieces_text, rules_text, shortened, split_text
from report.results import Result
from scheduling.choice import CHANNELS, Choice, OwnRun, packed_run
from scheduling.evaluator import Evaluation
from scheduling.rules import Rules
from scheduling.timeline.arrangement import SCOPE_DRAM, WEIGHTS_RELOADED
from scheduling.timeline.instance_order import BREADTH_FIRST
from tests.report.models import small_model

WHOLE = Choice(0, 6)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Network:
    return load_model(str(small_model(tmp_path_factory.mktemp("model"))), weights=False).network


def result(strategy: str, cost: float, *choices: Choice, rules: Rules = Rules()) -> Result:  # noqa: B008 (frozen)
    evaluation = Evaluation(int(cost), 1.0, Counts(), 1)
    return Result(strategy, 1, choices, rules, evaluation, cost, 1.0, 1, 0.0, 1)


def test_choices_in_words(network: Network) -> None:
    choice = Choice(0, 3, split_batch=8, split_rows=2, ways_batch=2, ways_channels=4, pieces=4, axis=CHANNELS)
    assert split_text(choice) == "batch 8 x rows 2"
    assert binding_text(network, choice) == "batch 2 x channels 4"
    assert pieces_text(choice) == "channels 4"
    assert split_text(WHOLE) == binding_text(network, WHOLE) == pieces_text(WHOLE) == "-"
    apart = choice.with_own_runs([OwnRun(1, 2, 1, 8, 1)])
    assert binding_text(network, apart) == "batch 2 x channels 4; layer n2_Conv: rows 8"
    two = choice.with_own_runs([OwnRun(0, 1, 8, 1, 1), OwnRun(1, 3, 1, 8, 1)])
    assert binding_text(network, two).endswith("; layer n0_Conv: batch 8; n2_Conv to n5_MaxPool: rows 8")


def test_rules_in_words() -> None:
    assert rules_text(Rules()) == (
        "depth first, tensors in the LLB where they fit, weights resident, prefetched one kernel ahead"
    )
    assert rules_text(Rules(prefetch=0)).endswith("weights resident, not prefetched")
    assert rules_text(Rules(prefetch=3)).endswith("weights resident, prefetched 3 kernels ahead")
    assert rules_text(Rules(BREADTH_FIRST, SCOPE_DRAM, WEIGHTS_RELOADED)) == (
        "breadth first, everything through DRAM, weights reloaded"
    )


def test_long_names_lose_their_middle() -> None:
    assert shortened("conv1") == "conv1"
    assert shortened("a" * 20 + "b" * 20, 12) == "aaaaa..bbbbb"


@pytest.mark.parametrize(
    "change, words",
    [
        ({"split_batch": 4}, "learned splits by batch 4 and dp nothing"),
        ({"ways_rows": 2}, "learned binds to cores by rows 2 and dp nothing"),
        (
            {"ways_rows": 2, "own_1": packed_run(OwnRun(1, 2, 1, 1, 2))},
            "learned binds to cores by rows 2; layer n2_Conv: channels 2 and dp nothing",
        ),
        ({"pieces": 4}, "learned cuts pieces by rows 4 and dp nothing"),
        ({"rule": 10}, "learned orders instructions by layer + a x piece, a = 0.5 and dp 1"),
        ({"overlap": 0}, "learned has overlap of layers off and dp on"),
    ],
)
def test_the_first_decision_that_differs_is_named(
    network: Network, change: dict[str, int], words: str
) -> None:
    learned = result("learned", 100.0, WHOLE._replace(**change))
    sentence = compare(
        network, learned, [result("greedy", 130.0, WHOLE), result("dp", 110.0, WHOLE)], "latency"
    )
    assert sentence == (
        f"learned is 1.100 times better in latency than dp, the best of the others: at node n0_Conv, {words}."
    )


def test_another_end_of_a_sub_graph(network: Network) -> None:
    learned = result("learned", 121.0, Choice(0, 2), Choice(2, 3), Choice(3, 6))
    other = result("dp", 110.0, Choice(0, 2), Choice(2, 6))
    assert compare(network, learned, [other], "energy") == (
        "learned is 1.100 times worse in energy than dp, the best of the others: at node n5_MaxPool, learned "
        "ends its sub-graph at n5_MaxPool and dp n9_Softmax."
    )


def test_a_small_difference_is_not_one_time(network: Network) -> None:
    learned, best = result("learned", 2_000_014.0, WHOLE), result("dp", 2_000_000.0, WHOLE)
    assert compare(network, learned, [best], "edp").startswith(
        "learned is 1.00001 times worse in edp than dp"
    )
    assert "is 1.00001 times better in edp than learned" in compare(network, best, [learned], "edp")


def test_schedules_that_are_alike(network: Network) -> None:
    learned = result("learned", 100.0, WHOLE)
    assert compare(network, learned, [replace(learned, strategy="dp")], "latency") == (
        "learned costs the same as dp, the best of the others: they decide everything alike."
    )
    other = result("dp", 110.0, WHOLE, rules=Rules(order=BREADTH_FIRST))
    assert "learned is depth first" in compare(network, learned, [other], "latency")
