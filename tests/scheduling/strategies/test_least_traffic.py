"""The plan of least traffic as a schedule: what the plan proves is what the schedule moves, byte for byte."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.verify import verify
from scheduling.choice import Choice
from scheduling.emission.program import program_weights
from scheduling.evaluator import Evaluator
from scheduling.exact.operator_graph import operator_graph
from scheduling.layer_order import in_order
from scheduling.strategies.layerwise import RULES
from scheduling.strategies.least_traffic import plan_reads, spilled_tensors, traffic_plan
from scheduling.timeline.arrangement import SCOPE_DEFAULT
from tests.hwmodel.machine_variants import with_llb_bytes
from tests.scheduling.random_cases import checked_program
from tests.scheduling.random_graphs import random_graph_model


@pytest.mark.parametrize("seed", range(16))
def test_layer_by_layer_moves_what_the_plan_proves(tmp_path: Path, seed: int) -> None:
    """With an LLB of the largest working set, all bytes to and from DRAM are the plan's traffic and each weight
    once; the program is free of races and gives onnxruntime's outputs. The rule that keeps a tensor in one memory for
    life moves at least as much."""
    rng = np.random.default_rng(seed)
    model = load_model(
        str(random_graph_model(tmp_path, rng, int(rng.integers(5, 12)))), int(rng.integers(1, 3))
    )
    shipped = load_machine("stcp920")
    item = shipped.element_bytes
    machine = with_llb_bytes(shipped, max(operator_graph(model.network, item).working_set_bytes))
    found = traffic_plan(model.network, item, machine.memories.llb.bytes)
    assert found.proven
    network = in_order(model.network, [step.operator for step in found.plan])
    evaluator = Evaluator(network, machine)
    choices = tuple(Choice(layer, layer + 1) for layer in range(len(network.layers)))
    reads = plan_reads(model.network, found.plan)
    rules = replace(RULES, scopes=SCOPE_DEFAULT, reads=reads)
    evaluation, program = checked_program(evaluator, choices, rules)
    counts = evaluation.counts
    weights = int(evaluator.weight_bytes.sum())
    assert counts.dram_read_bytes + counts.dram_write_bytes == found.traffic_bytes + weights
    assert verify(model, program, machine, program_weights(network)).passed
    usual = replace(RULES, scopes=SCOPE_DEFAULT, spilled=spilled_tensors(model.network, found.plan))
    others = evaluator.evaluate(choices, usual).counts
    assert others.dram_read_bytes + others.dram_write_bytes >= found.traffic_bytes + weights
