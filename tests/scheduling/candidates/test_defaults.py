"""The default heuristic: GraphTurbo's stages on ResNet-50, and completions that keep their prefix."""

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.candidates.configurations import configurations, times
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.estimate import estimate
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tiling import LEGAL
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies import solve


@pytest.fixture(scope="module")
def resnet50() -> CandidateSpace:
    network = load_model("resnet50", batch=16, weights=False).network
    return CandidateSpace(Evaluator(network, load_machine("stcp920")))


def test_resnet50_falls_into_the_published_splits(resnet50: CandidateSpace) -> None:
    """8, 4, 2 and 1 instances; the first two stages are two groups each."""
    groups = Defaults(resnet50).complete(())
    assert [choice.split_batch for choice in groups] == [8, 8, 4, 4, 2, 1]
    layers = resnet50.evaluator.network.layers
    rows = [resnet50.evaluator.network.tensors[layers[c.stop - 1].output].rows for c in groups]
    assert rows == [56, 28, 28, 14, 7, 1]
    assert [choice.ways_batch for choice in groups] == [2, 2, 4, 4, 8, 8]  # cores an image: 4, 2, 1


def test_a_prefix_is_kept_and_the_rest_covers_all_layers(resnet50: CandidateSpace) -> None:
    defaults = Defaults(resnet50)
    rows = resnet50.all(0)
    for row in rows[:: len(rows) // 8].tolist():
        prefix = Choice(*row[:CHOICE_FIELDS])
        done = defaults.complete((prefix,))
        assert done[0] == prefix
        assert [choice.first for choice in done[1:]] == [choice.stop for choice in done[:-1]]
        assert done[-1].stop == resnet50.layers
        resnet50.evaluator.evaluate(done)


def test_without_interleaving_groups_are_the_same_in_whole_layers(resnet50: CandidateSpace) -> None:
    defaults = Defaults(resnet50)
    whole, interleaved = defaults.complete((), interleave=False), defaults.complete(())
    assert all(choice.pieces == 1 for choice in whole)
    assert [c[:7] for c in whole] == [c[:7] for c in interleaved]
    evaluate = resnet50.evaluator.evaluate
    assert evaluate(interleaved).cycles < evaluate(whole).cycles


def test_resnet50_gains_what_was_published(resnet50: CandidateSpace) -> None:
    """Per image against layer by layer at batch 2: at least 4 times faster, at least 5 times fewer DRAM bytes."""
    machine = resnet50.evaluator.machine
    two = Evaluator(load_model("resnet50", batch=2, weights=False).network, machine)
    baseline = solve("layerwise", Problem(two, CandidateSpace(two))).evaluation
    best = solve("graphturbo", Problem(resnet50.evaluator, resnet50)).evaluation
    assert 16 * baseline.cycles >= 4 * 2 * best.cycles
    assert 16 * baseline.counts.dram_bytes >= 5 * 2 * best.counts.dram_bytes


PUBLISHED_ORDER = "aabaabcaabaabcd"
"""Instances of the four stages in the GraphTurbo paper, 8, 4, 2 and 1 of them."""


def test_the_published_stages_run_in_the_published_order(resnet50: CandidateSpace) -> None:
    """Stages of three, four, six and three blocks, whatever room they need."""
    ends = (12, 25, 44, 57)
    stages = tuple(
        Choice(first, stop, split)
        for first, stop, split in zip((0, *ends[:-1]), ends, (8, 4, 2, 1), strict=True)
    )
    plan = resnet50.evaluator.arrange(stages, Rules())
    assert "".join("abcd"[stage] for stage in plan.subgraph.tolist()) == PUBLISHED_ORDER


def test_with_a_quarter_more_l1_the_rule_gives_the_published_stages(resnet50: CandidateSpace) -> None:
    """The shipped L1 has no room for the first two of them: rows that cores share are computed twice and held."""
    evaluator = Evaluator(resnet50.evaluator.network, resnet50.evaluator.machine.varied(l1=1.25))
    groups = Defaults(CandidateSpace(evaluator)).complete(())
    assert [choice.split_batch for choice in groups] == [8, 4, 2, 1]
    assert [choice.ways_batch for choice in groups] == [2, 4, 8, 8]
    plan = evaluator.arrange(groups, Rules())
    assert "".join("abcd"[stage] for stage in plan.subgraph.tolist()) == PUBLISHED_ORDER
    table, machine = resnet50.evaluator.table, resnet50.evaluator.machine_table
    assert [estimate(table, machine, choice).status == LEGAL for choice in groups] == [
        False,
        False,
        True,
        True,
    ]


def test_the_published_stages_fit_the_shipped_l1_in_pieces_of_rows_and_are_slower(
    resnet50: CandidateSpace,
) -> None:
    """The four groups that the rule finds with more L1, each in its fastest legal configuration."""
    evaluator = resnet50.evaluator
    larger = Evaluator(evaluator.network, evaluator.machine.varied(l1=1.25))
    stages = []
    for group in Defaults(CandidateSpace(larger)).complete(()):
        found = configurations(evaluator, group)
        stages.append(found.choice(int(times(evaluator, found.choices).argmin())))
    assert [stage.split_batch for stage in stages] == [8, 4, 2, 1]
    assert min(stages[0].pieces, stages[1].pieces) > 1
    rule = Defaults(resnet50).complete(())
    published = evaluator.evaluate(tuple(stages))
    assert published.cycles > 1.3 * evaluator.evaluate(rule).cycles
