"""FSRCNN on meta_prototype_df beside the published figures of DeFiNES (HPCA 2023), schedule by schedule."""

import pytest

from benchmarks.fsrcnn import BEST, MACHINE, MODEL, PUBLISHED, SCHEDULES, interleaved
from env.problems import make_problem
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.objective import Objective
from scheduling.rules import Rules
from scheduling.strategies import solve


@pytest.fixture(scope="module")
def found() -> dict[str, Evaluation]:
    evaluator = Evaluator(load_model(MODEL, 1).network, load_machine(MACHINE))
    return {name: evaluator.evaluate(choose(evaluator), Rules()) for name, choose in SCHEDULES.items()}


@pytest.mark.parametrize("name", list(PUBLISHED))
def test_figures_agree_with_published_ones(found: dict[str, Evaluation], name: str) -> None:
    """Multiply-accumulates exactly; DRAM bytes within 5 %, of single layers within 10 %; energy within 15 %."""
    here, published = found[name], PUBLISHED[name]
    assert round(here.counts.macs / 1e9, 3) == published.gmac
    single = name == "layer by layer"
    assert here.counts.dram_bytes / 1e6 == pytest.approx(published.dram_mb, rel=0.1 if single else 0.05)
    assert here.energy_pj / 1e9 == pytest.approx(published.energy_mj, rel=0.15)
    assert here.inner.port_stall_cycles == 0


def test_energy_is_in_the_published_order(found: dict[str, Evaluation]) -> None:
    here = sorted(found, key=lambda name: found[name].energy_pj)
    assert here == sorted(PUBLISHED, key=lambda name: PUBLISHED[name].energy_mj)
    ratio = found[here[-1]].energy_pj / found[here[0]].energy_pj
    published = PUBLISHED[here[-1]].energy_mj / PUBLISHED[here[0]].energy_mj
    assert ratio == pytest.approx(published, rel=0.2)


def test_fully_cached_tiles_move_only_what_they_must(found: dict[str, Evaluation]) -> None:
    """Input, output and weights (with one bias for each channel), each byte once."""
    compulsory = 974 * 554 + 960 * 540 * 16 + 15992 + 188
    assert found["cached, tile 60x72"].counts.dram_bytes == compulsory
    assert found["cached, tile 4x72"].counts.dram_bytes == compulsory


@pytest.mark.slow
def test_depth_first_finds_no_worse_than_the_best_published_tiles(found: dict[str, Evaluation]) -> None:
    """For energy and for cycles, the same simulator costing both; and fewer cycles than were published."""
    assert min(PUBLISHED, key=lambda name: PUBLISHED[name].energy_mj) == BEST
    assert min(PUBLISHED, key=lambda name: PUBLISHED[name].mcycles) == BEST
    network, machine = load_model(MODEL, 1).network, load_machine(MACHINE)
    same = found[BEST], interleaved(Evaluator(network, machine))
    energy, latency = (
        solve("depth_first", make_problem(network, machine, objective=objective)).evaluation
        for objective in (Objective.ENERGY, Objective.LATENCY)
    )
    assert energy.energy_pj <= min(each.energy_pj for each in same)
    assert latency.cycles <= min(each.cycles for each in same)
    assert max(energy.cycles, latency.cycles) / 1e6 <= PUBLISHED[BEST].mcycles
