"""Energy is counts times the table."""

import pytest

from hwmodel.machines.machine import load_machine
from hwmodel.timing.counts import Counts, total
from hwmodel.timing.energy import energy_parts_pj, energy_pj


def test_every_count_has_its_price() -> None:
    tiny = load_machine("tiny")
    prices = {"dram_read_bytes": 100, "dram_write_bytes": 100, "llb_read_bytes": 10, "llb_write_bytes": 10}
    prices["exchange_bytes"] = 2
    for name in Counts._fields:
        assert energy_pj(Counts(**{name: 3}), tiny) == 3 * prices.get(name, 1)
    everything = Counts(*range(1, 14))
    parts = energy_parts_pj(everything, tiny)
    assert list(parts) == list(Counts._fields)
    assert sum(parts.values()) == energy_pj(everything, tiny)


def test_each_figure_of_the_table_is_read_by_one_count() -> None:
    machine = load_machine("tiny")
    names = list(type(machine.energy).model_fields)
    different = machine.energy.model_copy(update={name: float(1 << i) for i, name in enumerate(names)})
    varied = machine.model_copy(update={"energy": different})
    found = sorted(energy_pj(Counts(**{name: 1}), varied) for name in Counts._fields)
    assert found == [float(1 << i) for i in range(len(names))]


def test_energy_of_stcp920_by_hand() -> None:
    counts = Counts(dram_read_bytes=1000, macs=10**6, l1_read_bytes=2000)
    assert energy_pj(counts, load_machine("stcp920")) == pytest.approx(80_000 + 320_000 + 3_500)


def test_nothing_costs_nothing() -> None:
    assert energy_pj(Counts(), load_machine("stcp920")) == 0.0
    assert total([]) == Counts()


def test_totals() -> None:
    counts = total([Counts(1, 2, 3, 4, 5), Counts(10, 20, 30, 40, 50, 60)])
    assert counts == Counts(11, 22, 33, 44, 55, 60)
    assert (counts.dram_bytes, counts.llb_bytes, counts.off_core_bytes) == (33, 77, 110)
