"""Overlaps cached in the LLB or in DRAM, and cores that share the streamed axis: counts by hand, and right results."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.model import Model
from hwmodel.machines.machine import load_machine
from hwmodel.timing.counts import Counts
from scheduling.choice import CACHE, CACHE_DRAM, CACHE_LLB, COLUMNS, RECOMPUTE, ROWS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.schedule import make_schedule
from scheduling.schedule_file import Schedule
from scheduling.stored.replay import replay
from tests.graph.onnx_helpers import GraphBuilder
from tests.scheduling.whole_checks import check_all_the_way_down

ROWS_OUT, COLUMNS_OUT, IMAGES = 12, 8, 2
CHANNELS = (2, 4, 4)
BYTES = 4
"""Of an element on `tiny`, which computes in fp32."""

TILES = Choice(0, 2, split_batch=2, split_rows=6, pieces=2, axis=COLUMNS, rule=60)
"""Slices of two rows of each image, streamed along the columns in two pieces."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Model:
    """Two convolutions of 3 x 3 without padding."""
    graph = GraphBuilder()
    value = graph.input("image", 1, CHANNELS[0], ROWS_OUT + 4, COLUMNS_OUT + 4)
    for inputs, outputs in pairwise(CHANNELS):
        value = graph.node("Conv", value, graph.random(outputs, inputs, 3, 3), graph.random(outputs))
    return load_model(str(graph.save(tmp_path_factory.mktemp("model"), value)), IMAGES)


def counts(model: Model, choice: Choice) -> Counts:
    return Evaluator(model.network, load_machine("tiny")).evaluate((choice,)).counts


def overlap_bytes() -> int:
    """Two rows of the input and of the map between, kept by all slices of an image but the last."""
    widths = COLUMNS_OUT + 4, COLUMNS_OUT + 2
    return IMAGES * 5 * 2 * sum(w * c for w, c in zip(widths, CHANNELS[:2], strict=True)) * BYTES


def test_overlaps_cross_the_link_of_their_memory_once_each_way(model: Model) -> None:
    in_l1, in_llb, in_dram = (
        counts(model, TILES._replace(halo=halo)) for halo in (CACHE, CACHE_LLB, CACHE_DRAM)
    )
    moved = overlap_bytes()
    assert in_l1.llb_bytes == 0
    assert (in_llb.llb_read_bytes, in_llb.llb_write_bytes) == (moved, moved)
    assert in_llb.dram_bytes == in_l1.dram_bytes
    assert in_dram.dram_read_bytes == in_l1.dram_read_bytes + moved
    assert in_dram.dram_write_bytes == in_l1.dram_write_bytes + moved
    assert in_dram.llb_bytes == 0
    for elsewhere in (in_llb, in_dram):
        assert elsewhere.macs == in_l1.macs
        # The vector engine copies inside L1, and reads and writes there what the DMA reads or writes.
        assert elsewhere.l1_read_bytes == in_l1.l1_read_bytes - moved
        assert elsewhere.l1_write_bytes == in_l1.l1_write_bytes - moved
        assert elsewhere.vector_operations == in_l1.vector_operations - 2 * moved // BYTES


def test_energy_is_that_of_the_memory_that_overlaps_are_cached_in(model: Model) -> None:
    machine = load_machine("tiny")
    evaluator = Evaluator(model.network, machine)
    in_llb, in_dram = (
        evaluator.evaluate((TILES._replace(halo=halo),)).energy_pj for halo in (CACHE_LLB, CACHE_DRAM)
    )
    energy = machine.energy
    assert energy.llb_read_pj_per_byte is not None and energy.llb_write_pj_per_byte is not None
    apart = energy.dram_read_pj_per_byte + energy.dram_write_pj_per_byte
    apart -= energy.llb_read_pj_per_byte + energy.llb_write_pj_per_byte
    assert in_dram - in_llb == pytest.approx(overlap_bytes() * apart)


def test_l1_is_spared_what_is_cached_elsewhere(model: Model) -> None:
    """L1 is short by as many bytes as one image's overlaps take, where there is just room for the rings."""
    rings = [
        template.lowered.plan
        for halo in (CACHE, CACHE_LLB)
        for template in _templates(model, TILES._replace(halo=halo))
    ]
    cached = overlap_bytes() // (IMAGES * 5)
    assert {plan.cache_bytes for plan in rings} == {cached, 0}
    assert max(p.peak_bytes for p in rings if p.cache_bytes) == max(
        cached + p.peak_bytes for p in rings if not p.cache_bytes
    )


@pytest.mark.parametrize("halo", [CACHE_LLB, CACHE_DRAM])
@pytest.mark.parametrize("ways", [(1, 1), (2, 1), (1, 2)])
@pytest.mark.parametrize("axis", [ROWS, COLUMNS])
def test_they_are_right_on_cores_that_share(
    model: Model, tmp_path: Path, halo: int, ways: tuple[int, int], axis: int
) -> None:
    choice = TILES._replace(halo=halo, ways_rows=ways[0], ways_channels=ways[1], axis=axis)
    if axis == ROWS:
        choice = choice._replace(split_rows=1, split_columns=4)
    evaluator = Evaluator(model.network, load_machine("tiny"))
    schedule = check_all_the_way_down(
        model, evaluator, (choice,), Rules(), np.random.default_rng(0), tmp_path
    )
    (subgraph,) = schedule.subgraphs
    assert subgraph.cache.memory == ("llb" if halo == CACHE_LLB else "dram")
    # Slices of the batch follow each other, so all have the lowest place.
    assert subgraph.cache.addresses == ((0, 0) if halo == CACHE_LLB else ())
    assert (subgraph.binding.rows, subgraph.binding.columns) == (
        (1, ways[0]) if axis == COLUMNS else (ways[0], 1)
    )


def test_cores_that_share_columns_compute_their_border_twice(model: Model) -> None:
    """Two cores have half of the output's columns each; the map between is 2 columns wider on each of them."""
    taps = 9
    inner = (ROWS_OUT + 2) * 2 * (COLUMNS_OUT // 2 + 2) * taps * CHANNELS[0] * CHANNELS[1]
    outer = ROWS_OUT * COLUMNS_OUT * taps * CHANNELS[1] * CHANNELS[2]
    for halo in (CACHE, CACHE_LLB):
        assert counts(model, TILES._replace(halo=halo, ways_rows=2)).macs == IMAGES * (inner + outer)


def test_a_memory_without_room_is_refused_with_a_reason(model: Model) -> None:
    tiny = load_machine("tiny")
    tiles = TILES._replace(halo=CACHE_LLB)
    levels = tiny.memories.model_copy(update={"llb": None})
    without = tiny.model_copy(update={"memories": levels})
    with pytest.raises(IllegalSchedule, match="cannot be cached in the llb, which tiny has not"):
        Evaluator(model.network, without).templates.check(tiles)
    small = tiny.memories.model_copy(update={"llb": tiny.memories.llb.model_copy(update={"bytes": 320})})
    evaluator = Evaluator(model.network, tiny.model_copy(update={"memories": small}))
    short = overlap_bytes() // (IMAGES * 5) - 320
    with pytest.raises(
        IllegalSchedule, match=rf"llb \(320 bytes\) is short by {short} bytes for the overlaps"
    ):
        evaluator.evaluate((tiles,))
    assert evaluator.evaluate((tiles._replace(halo=RECOMPUTE),)).cycles > 0


def test_a_cache_and_a_tensor_do_not_share_bytes_of_the_llb(model: Model) -> None:
    """The map between lies in the LLB until the second convolution, which caches overlaps there too, has read it."""
    evaluator = Evaluator(model.network, load_machine("tiny"))
    tiles = TILES._replace(first=1, halo=CACHE_LLB)
    choices = (tiles._replace(first=0, stop=1, halo=RECOMPUTE), tiles)
    schedule = make_schedule(evaluator, choices, Rules(), evaluator.network.model_hash, "test")
    (between, _), cached = schedule.tensors.values(), schedule.subgraphs[1].cache
    assert between.scope == "llb" and not set(between.addresses) & set(cached.addresses)
    shared = cached.model_copy(update={"addresses": between.addresses[:: tiles.slices]})
    second = schedule.subgraphs[1].model_copy(update={"cache": shared})
    wrong = schedule.model_copy(update={"subgraphs": (schedule.subgraphs[0], second)})
    with pytest.raises(
        IllegalSchedule, match=r"and the cache of slice 0 of the batch .* share bytes of the LLB"
    ):
        replay(evaluator, wrong)


def test_a_file_from_before_caches_had_a_memory_means_l1(model: Model) -> None:
    evaluator = Evaluator(model.network, load_machine("tiny"))
    tiles = TILES._replace(halo=CACHE)
    schedule = make_schedule(evaluator, (tiles,), Rules(), evaluator.network.model_hash, "test")
    data = schedule.model_dump(mode="json")
    del data["subgraphs"][0]["cache"], data["subgraphs"][0]["binding"]["columns"]
    loaded = Schedule.model_validate_json(json.dumps(data))
    assert loaded == schedule
    assert replay(evaluator, loaded) == evaluator.evaluate((tiles,))


def _templates(model: Model, choice: Choice) -> list:  # type: ignore[type-arg]
    evaluator = Evaluator(model.network, load_machine("tiny"))
    return evaluator.templates.of((choice,), evaluator.arrange((choice,), Rules()))
