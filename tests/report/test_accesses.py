"""What memories move in a schedule: by hand from counts, and all of a schedule's energy on machines of every kind."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.counts import Counts, InnerCounts
from hwmodel.timing.energy import energy_pj
from report.accesses import access_summary, access_table, accesses
from scheduling.evaluator import Evaluation
from scheduling.strategies import solve
from tests.hwmodel.machine_variants import machine_called
from tests.report.models import small_model

COUNTS = Counts(*range(1_000_000, 14_000_000, 1_000_000))


def test_every_count_is_in_the_table() -> None:
    """On `tiny` DRAM costs 100 pJ a byte, the LLB 10, the exchange 2 and all else 1."""
    machine = load_machine("tiny")
    table = access_table(accesses(Evaluation(1, energy_pj(COUNTS, machine), COUNTS, 1), machine))
    assert [line.split() for line in table.splitlines()[3:]] == [
        ["dram", "1.000", "2.000", "0.30000", "65.8"],
        ["llb", "3.000", "4.000", "0.07000", "15.4"],
        ["exchange", "5.000", "0.01000", "2.2"],
        ["l1", "8.000", "9.000", "0.01700", "3.7"],
        ["weights", "10.000", "11.000", "0.02100", "4.6"],
        ["accumulator", "12.000", "13.000", "0.02500", "5.5"],
        ["macs", "6.000", "0.00600", "1.3"],
        ["vector", "operations", "7.000", "0.00700", "1.5"],
        ["all", "0.45600", "100.0"],
    ]


def test_inner_memories_stand_between_those_of_the_core_and_its_engines() -> None:
    """An access to a word of 64 bytes of the activation buffer costs 26.56 pJ, and one to part of it its share."""
    machine = load_machine("meta_prototype_df")
    inner = InnerCounts((1, 2, 64, 640), (5, 6, 0, 128))
    found = {each.name: each for each in accesses(Evaluation(1, 0.0, COUNTS, 1, inner), machine)}
    assert list(found) == [
        *("dram", "exchange", "l1", "weights", "accumulator"),
        *("activation_buffer", "weight_buffer", "sum_registers", "weight_registers"),
        *("macs", "vector_operations"),
    ]
    assert (found["activation_buffer"].read_bytes, found["activation_buffer"].write_bytes) == (640, 128)
    assert found["activation_buffer"].energy_pj == pytest.approx(10 * 26.56 + 2 * 30.8)
    assert found["weight_buffer"].energy_pj == pytest.approx(17.2)
    assert found["sum_registers"].energy_pj == pytest.approx(2 * 0.01 + 6 * 0.01)


@pytest.mark.parametrize("name", ["tiny", "stcp920", "meta_prototype_df", "edge_tcm", "tiny-without-llb"])
def test_energies_are_those_of_the_schedule(tmp_path: Path, name: str) -> None:
    network = load_model(str(small_model(tmp_path)), 2, weights=False).network
    machine = machine_called(name)
    evaluation = solve("layerwise", make_problem(network, machine)).evaluation
    found = json.loads(json.dumps(access_summary(accesses(evaluation, machine))))
    assert sum(each["energy_pj"] for each in found.values()) == pytest.approx(evaluation.energy_pj)
    moved = found["dram"]["read_bytes"] + found["dram"]["write_bytes"]
    assert moved == evaluation.counts.dram_bytes > 0
    assert ("llb" in found) == (machine.memories.llb is not None)
    assert found["macs"]["operations"] == evaluation.counts.macs > 0
