"""The table of strategies: rates of the whole chip, comparison with layer by layer, notes."""

from dataclasses import replace

import pytest

from hwmodel.machines.machine import load_machine
from hwmodel.timing.counts import Counts
from report.results import Result
from report.strategies import footnotes, strategy_table
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation
from scheduling.rules import Rules

STCP920 = load_machine("stcp920")


def result(strategy: str, batch: int = 16, cycles: int = 2_000_000, bound: float = 1_500_000.0) -> Result:
    """16 images in 2 ms on each of 4 clusters unless said otherwise."""
    counts = Counts(
        dram_read_bytes=40_000_000,
        dram_write_bytes=2_000_000,
        llb_read_bytes=1_000_000,
        exchange_bytes=500_000,
    )
    return Result(
        strategy=strategy,
        batch=batch,
        choices=(Choice(0, 4),),
        rules=Rules(),
        evaluation=Evaluation(cycles, 12.5e9, counts, 57),
        cost=float(cycles),
        bound=bound,
        macs=cycles * STCP920.peak_macs_per_cycle * STCP920.cores // 4,
        seconds=0.5,
        evaluations=300,
    )


def test_a_row_gives_the_rates_of_the_whole_chip() -> None:
    baseline = result("layerwise", cycles=8_000_000)
    table = strategy_table([result("dp"), replace(baseline, batch=2)], baseline, STCP920, "dp")
    rows = [line.split() for line in table.splitlines()[3:]]
    assert [" ".join(row) for row in rows] == [
        "dp * 2,000,000 2.000 32,000 42.0 1.0 0.5 12.5 57 25.0 4.00 75.0 0.50 300",
        "layerwise 8,000,000 8.000 1,000 42.0 1.0 0.5 12.5 57 25.0 0.12 18.8 0.50 300",
    ]
    assert " ".join(table.splitlines()[1].split()) == (
        "strategy cycles ms whole chip MB MB MB mJ kernels % used layerwise bound seconds simulated"
    )


def test_figures_follow_from_cycles() -> None:
    found = result("dp")
    assert found.milliseconds(STCP920) == pytest.approx(2.0)
    assert found.images_per_second(STCP920) == pytest.approx(16 * 4 / 2e-3)
    assert found.matrix_utilisation(STCP920) == pytest.approx(0.25)
    assert found.percent_of_bound == pytest.approx(75.0)
    assert found.times_faster(result("slow", batch=2, cycles=1_000_000)) == pytest.approx(4.0)


def test_notes_say_what_is_assumed_and_which_row_has_another_batch() -> None:
    rows = [result("dp"), result("layerwise_b2", batch=2)]
    assert footnotes(rows, STCP920, 16) == [
        "Cycles, bytes and energy are those of one cluster of stcp920 for its 16 images.",
        "layerwise_b2 runs 2 images; its rates are comparable.",
        "Times layerwise compares images per second. MB are 10^6 bytes.",
        "Energies are assumed, not measured: see the machine file of stcp920.",
    ]
    measured = STCP920.model_copy(update={"assumed": ()})
    assert len(footnotes(rows, measured, 16)) == 3
