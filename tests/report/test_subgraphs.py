"""The table of sub-graphs, and the fill of the LLB: parts add up to the whole schedule."""

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.occupancy import llb_bytes_in_use
from report.subgraphs import Subgraph, subgraph_table, subgraphs
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.timeline.consumer_scopes import FROM_DRAM, TensorRead
from tests.report.models import small_model

BATCH = 4


@pytest.fixture(scope="module")
def evaluator(tmp_path_factory: pytest.TempPathFactory) -> Evaluator:
    path = small_model(tmp_path_factory.mktemp("model"))
    return Evaluator(load_model(str(path), BATCH, weights=False).network, load_machine("stcp920"))


def cut(evaluator: Evaluator, split: int) -> list[Choice]:
    """Two sub-graphs; the first in `split` slices of the batch."""
    layers = len(evaluator.network.layers)
    return [Choice(0, 2, split_batch=split), Choice(2, layers, split_batch=1)]


@pytest.mark.parametrize("rules", [Rules(), Rules(0, 0, 0, 0)])
def test_sub_graphs_add_up_to_the_schedule(evaluator: Evaluator, rules: Rules) -> None:
    choices = cut(evaluator, 2)
    plan = evaluator.arrange(choices, rules)
    found = subgraphs(evaluator, choices, plan)
    evaluation = evaluator.evaluate(choices, rules)
    assert sum(item.cycles for item in found) == evaluation.cycles
    assert sum(item.dram_bytes for item in found) == evaluation.counts.dram_bytes
    assert [item.first_node for item in found] == ["n0_Conv", "n5_MaxPool"]
    assert [item.last_node for item in found] == ["n4_Relu", "n9_Softmax"]
    through = "LLB" if rules.scopes else "DRAM"
    assert [(item.reads_from, item.writes_to) for item in found] == [("DRAM", through), (through, "DRAM")]


def test_the_llb_holds_each_slice_from_its_writer_to_its_last_reader(evaluator: Evaluator) -> None:
    choices = cut(evaluator, 2)
    plan = evaluator.arrange(choices, Rules(weights=0))
    # (B, C, H, W) = (4, 8, 8, 8) in fp16, made by two instances of two images and read by one of four.
    slice_bytes = 2 * 8 * 8 * 8 * 2
    assert llb_bytes_in_use(evaluator, choices, plan).tolist() == [
        slice_bytes,
        2 * slice_bytes,
        2 * slice_bytes,
    ]


def test_resident_weights_are_in_the_llb_too(evaluator: Evaluator) -> None:
    choices = cut(evaluator, 4)
    plan = evaluator.arrange(choices, Rules(scopes=0))
    used = llb_bytes_in_use(evaluator, choices, plan)
    layers = np.unique(plan.copy_layer)
    assert layers.size and used.max() > 0
    assert used.max() <= evaluator.machine.memories.llb.bytes


def test_the_table_has_a_row_for_each_sub_graph() -> None:
    item = Subgraph(
        choice=Choice(0, 12, split_batch=8, ways_batch=2, ways_rows=4, pieces=4),
        first_node="conv1",
        last_node="pool1",
        cores_by="batch 2 x rows 4",
        reads_from="DRAM",
        writes_to="LLB",
        weights_from="both",
        cycles=1_234_567,
        limiting_engine="matrix",
        limiting_share=0.876,
        dram_bytes=9_876_543,
        l1_peak_bytes=1_000_000,
    )
    (row,) = subgraph_table([item]).splitlines()[3:]
    assert " ".join(row.split()) == (
        "0 conv1 pool1 12 batch 8 batch 2 x rows 4 rows 4 DRAM LLB both 1,234,567 matrix 88% 9.88 977"
    )


def test_moves_are_in_the_tables(evaluator: Evaluator) -> None:
    """A tensor that goes to DRAM before its reader: its bytes are those of the sub-graph that made it, and the LLB
    holds it until then."""
    choices = cut(evaluator, 1)
    (tensor,) = evaluator.templates.borders(0, 2)[1].tolist()
    reads = (TensorRead(tensor, 2, FROM_DRAM),)
    plan = evaluator.arrange(choices, Rules(weights=0))
    assert llb_bytes_in_use(evaluator, choices, plan).tolist() == [4 * 8 * 8 * 8 * 2] * 2
    moved = evaluator.arrange(choices, Rules(weights=0, reads=reads))
    found = subgraphs(evaluator, choices, moved)
    evaluation = evaluator.simulate(choices, moved)[1]
    assert llb_bytes_in_use(evaluator, choices, moved).tolist() == [4 * 8 * 8 * 8 * 2, 0]
    assert sum(item.cycles for item in found) == evaluation.cycles
    assert sum(item.dram_bytes for item in found) == evaluation.counts.dram_bytes
    assert [(item.reads_from, item.writes_to) for item in found] == [("DRAM", "LLB"), ("DRAM", "DRAM")]
