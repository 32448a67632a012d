"""Tensors that move between the LLB and DRAM: timed, counted, free of races, and right in any order."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from graph.importer import Model, load_model
from hwmodel.machines.machine import load_machine
from hwmodel.programs.isa import Program, Ref
from hwmodel.programs.kernels import load_kernels, save_kernels
from scheduling.choice import Choice
from scheduling.emission.program import program_weights
from scheduling.errors import IllegalSchedule, ScheduleError
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.schedule import make_schedule
from scheduling.schedule_file import TensorMove, load_schedule
from scheduling.stored.replay import replay
from scheduling.strategies.layerwise import RULES as LAYER_RULES
from scheduling.timeline.arrangement import SCOPE_DEFAULT, SCOPE_SHORTENED
from scheduling.timeline.consumer_scopes import COPIED_BACK, FROM_DRAM, KEPT, TensorRead
from tests.graph.onnx_helpers import GraphBuilder
from tests.hwmodel.machine_variants import with_llb_bytes
from tests.hwmodel.race_checker import find_races
from tests.scheduling.emission.test_packed_programs import concurrent
from tests.scheduling.random_cases import (
    checked_program,
    legal,
    random_choices,
    random_model,
    random_rules,
    random_tiles,
)
from tests.scheduling.random_graphs import random_graph_model
from tests.scheduling.random_packings import random_packing
from tests.scheduling.whole_checks import check_all_the_way_down


def random_reads(
    evaluator: Evaluator, choices: tuple[Choice, ...], rng: np.random.Generator
) -> tuple[TensorRead, ...]:
    """About half of all reads across borders of sub-graphs, from DRAM or after a copy back."""
    network = evaluator.network
    home = [s for s, choice in enumerate(choices) for _ in range(choice.first, choice.stop)]
    found = []
    for layer, reader in enumerate(network.layers):
        for tensor in sorted(set(reader.inputs)):
            made_by = tensor - network.source_count
            outside = made_by < 0 or home[made_by] != home[layer]
            if tensor not in network.constants and outside and rng.integers(2):
                found.append(TensorRead(tensor, layer, int(rng.choice([FROM_DRAM, COPIED_BACK]))))
    return tuple(found)


@pytest.mark.parametrize(
    ("packed", "batch", "seed"),
    [
        *((False, batch, seed) for batch in (1, 3, 4) for seed in range(4)),
        *((True, 3, seed) for seed in range(4)),
    ],
)
def test_random_moves_hold_all_the_way_down(tmp_path: Path, packed: bool, batch: int, seed: int) -> None:
    rng = np.random.default_rng([seed, batch])
    machine = concurrent("stcp920") if packed else load_machine("stcp920")
    path = random_model(tmp_path, rng)
    if seed % 2 == 0:
        machine = with_llb_bytes(machine, int(rng.choice([1024, 2048, 4096])))
        path = random_graph_model(tmp_path, rng, 12)
    model = load_model(str(path), batch)
    evaluator = Evaluator(model.network, machine)
    draw = random_tiles if seed % 4 == 3 else random_choices
    for _ in range(200):
        choices, rules = draw(evaluator, rng), random_rules(rng)
        if choices is None or not legal(evaluator, choices, rules):
            continue
        if packed:
            rules = replace(rules, packing=random_packing(evaluator, choices, rng))
        reads = random_reads(evaluator, choices, rng) if seed % 4 != 2 else ()
        rules = replace(rules, reads=reads, scopes=int(rng.choice([rules.scopes, SCOPE_SHORTENED])))
        if legal(evaluator, choices, rules) and len(evaluator.arrange(choices, rules).moves.when):
            break
    else:
        pytest.skip("luck found nothing that moves")
    assert check_all_the_way_down(model, evaluator, choices, rules, rng, tmp_path).moves


def waiting(folder: Path, batch: int = 1) -> Model:
    """A tensor of 1,024 bytes (fp16), t0, that is read at once and again at the end, while two of 2,048 are live."""
    graph = GraphBuilder()
    image = graph.input("image", 1, 8, 8, 8)

    def conv(source: str, inputs: int, outputs: int) -> str:
        return graph.node("Conv", source, graph.random(outputs, inputs, 1, 1))

    t0 = conv(image, 8, 8)
    late = conv(conv(conv(t0, 8, 16), 16, 16), 16, 8)
    pooled = graph.node("MaxPool", t0, kernel_shape=[1, 1])
    return load_model(graph.save(folder, graph.node("Concat", late, pooled, axis=1)), batch)


LAYERS = 6
BY_LAYER = tuple(Choice(layer, layer + 1) for layer in range(LAYERS))
POOL, T0 = 4, 1


def spilling(evaluator: Evaluator) -> tuple[Rules, Program]:
    """Layer by layer, with t0 brought back for the pooling, and all else in the LLB."""
    network = evaluator.network
    assert [layer.output for layer in network.layers] == list(range(1, LAYERS + 1))
    reads = [
        TensorRead(tensor, layer, COPIED_BACK if (tensor, layer) == (T0, POOL) else KEPT)
        for layer in range(1, LAYERS)
        for tensor in network.layers[layer].inputs
    ]
    rules = replace(LAYER_RULES, scopes=SCOPE_DEFAULT, reads=tuple(reads))
    return rules, checked_program(evaluator, BY_LAYER, rules)[1]


def test_a_spill_and_a_refill_by_hand(tmp_path: Path) -> None:
    """Wave 1 reads t0 for the first time and wave 4 again: it leaves before wave 2, the first that it could, and comes
    back before wave 4. That is 1,024 bytes more each way over either link than when it stays."""
    model = waiting(tmp_path)
    small = Evaluator(model.network, with_llb_bytes(load_machine("stcp920"), 4096))
    rules, program = spilling(small)
    moves = small.arrange(BY_LAYER, rules).moves
    assert moves.when.tolist() == [2, 4]
    assert moves.tensor.tolist() == [T0, T0]
    assert (moves.address >= 0).tolist() == [False, True]
    large = Evaluator(model.network, load_machine("stcp920"))
    stays = large.evaluate(BY_LAYER, replace(LAYER_RULES, scopes=SCOPE_DEFAULT)).counts
    counts = small.evaluate(BY_LAYER, rules).counts
    for more, usual in zip(counts[:4], stays[:4], strict=True):
        assert more == usual + 1024
    copies = [(step, copy) for step, launch in enumerate(program.steps) for copy in launch.copies]
    assert [(step, copy.size_bytes, copy.to_dram) for step, copy in copies] == [
        (2, 1024, True),
        (4, 1024, False),
    ]
    # What wave 2 makes needs the place of t0, so it waits for the copy.
    assert program.steps[2].waits
    assert {trace.memory for trace in program.traces if trace.tensor == "t0"} == {"llb", "dram"}


def test_what_waits_for_moves_is_needed(tmp_path: Path) -> None:
    """Without the waits of a copy, of the kernel that overwrites what has left, or of the one that reads what has come
    back, something races."""
    machine = with_llb_bytes(load_machine("stcp920"), 4096)
    _, program = spilling(Evaluator(waiting(tmp_path).network, machine))
    refill = Ref(4, len(program.kernels[program.steps[4].kernel].instructions))

    def without(step: int, **changed: object) -> Program:
        steps = [*program.steps]
        steps[step] = replace(steps[step], **changed)  # type: ignore[arg-type]
        return replace(program, steps=tuple(steps))

    assert find_races(program, machine) == []
    for step in (2, 4):
        bare = tuple(replace(copy, waits=()) for copy in program.steps[step].copies)
        assert find_races(without(step, copies=bare), machine)
    assert find_races(without(2, waits=()), machine)
    events = {
        name: tuple(ref for ref in refs if ref != refill) for name, refs in program.steps[4].events.items()
    }
    assert events != program.steps[4].events
    assert find_races(without(4, events=events), machine)


def test_every_smaller_memory_moves_more(tmp_path: Path) -> None:
    """Shortened stays: with less and less room in the LLB, the bytes to and from DRAM never fall, and they are never
    more than where a tensor has one memory for life."""
    network = waiting(tmp_path).network
    before = 0
    for llb_bytes in (8192, 5120, 4096, 3072, 2048, 1024):
        evaluator = Evaluator(network, with_llb_bytes(load_machine("stcp920"), llb_bytes))
        moved = []
        for scopes in (SCOPE_DEFAULT, SCOPE_SHORTENED):
            counts = evaluator.evaluate(BY_LAYER, replace(LAYER_RULES, scopes=scopes)).counts
            moved.append(counts.dram_read_bytes + counts.dram_write_bytes)
        assert before <= moved[1] <= moved[0]
        before = moved[1]


Edit = Callable[[list[dict[str, Any]]], object]

REFUSED: list[tuple[Edit, str]] = [
    (lambda m: m[0].update(tensor="nowhere"), "moves.0: network test has no tensor 'nowhere'"),
    (lambda m: m[0].update(to="l1"), "moves.0: to 'l1' is not supported, expected llb or dram"),
    (lambda m: m[0].update(address=0), "moves.0: address is 0, expected none in dram"),
    (lambda m: m[1].pop("address"), "moves.1: address is None, expected one in the llb"),
    (lambda m: m[0].update(slice=1), "slice 1 of the batch of tensor t0, of which there are 1"),
    (lambda m: m[1].update(wave=7), "moves at wave 7, expected 0 to 6"),
    (lambda m: m[0].update(wave=0), "moves at wave 0, and is made in wave 0"),
    (lambda m: m[0].update(wave=5), "the moves do not ascend by wave"),
    (lambda m: m[1].update(wave=2), "moves twice at wave 2"),
    (lambda m: m.insert(1, {**m[0], "wave": 3}), "moves to DRAM, where it is"),
    (lambda m: m.pop(0), "moves to the LLB, where it is"),
    (lambda m: m[1].update(wave=5), "moves to the LLB at wave 5, where nothing reads it"),
    (lambda m: m[1].update(address=4000), "is short by 928 bytes"),
    (lambda m: m[0].update(wave=3), "share bytes of the LLB in step 2"),
    (lambda m: m[0].update(speed=1), "moves.0.speed: Extra inputs are not permitted"),
]


@pytest.mark.parametrize(("edit", "message"), REFUSED)
def test_moves_that_cannot_be_are_refused_with_a_reason(tmp_path: Path, edit: Edit, message: str) -> None:
    """Faulty moves in a schedule file give an error that says what is wrong."""
    model = waiting(tmp_path)
    evaluator = Evaluator(model.network, with_llb_bytes(load_machine("stcp920"), 4096))
    made = make_schedule(evaluator, BY_LAYER, spilling(evaluator)[0], model.network.model_hash, "test")
    data = json.loads(made.model_dump_json(exclude_none=True))
    edit(data["moves"])
    path = tmp_path / "faulty.json"
    path.write_text(json.dumps(data))
    with pytest.raises(ScheduleError) as caught:
        replay(evaluator, load_schedule(path))
    assert message in str(caught.value)


def test_machines_without_a_system_dma_move_nothing(tmp_path: Path) -> None:
    """`tiny` has none: rules and files that ask for moves are refused."""
    model = waiting(tmp_path)
    tiny = Evaluator(model.network, load_machine("tiny"))
    reads = (TensorRead(T0, POOL, COPIED_BACK),)
    with pytest.raises(IllegalSchedule, match=r"the machine \(tiny\) has no system DMA"):
        tiny.evaluate(BY_LAYER, Rules(reads=reads))
    with pytest.raises(IllegalSchedule, match=r"the machine \(tiny\) has no system DMA"):
        tiny.evaluate(BY_LAYER, Rules(scopes=SCOPE_SHORTENED))
    choices = tuple(choice._replace(split_rows=4) for choice in BY_LAYER)
    schedule = make_schedule(tiny, choices, Rules(), model.network.model_hash, "test")
    move = TensorMove(tensor="t0", slice=0, wave=2, to="dram")
    with pytest.raises(IllegalSchedule, match=r"the machine \(tiny\) has no system DMA"):
        replay(tiny, schedule.model_copy(update={"moves": (move,)}))


def test_an_instance_reads_its_slices_from_one_memory(tmp_path: Path) -> None:
    """A consumer of the whole batch cannot read one half of a tensor in the LLB and the other in DRAM."""
    model = waiting(tmp_path, 2)
    evaluator = Evaluator(model.network, load_machine("stcp920"))
    choices = (BY_LAYER[0]._replace(split_batch=2), *BY_LAYER[1:])
    rules = replace(LAYER_RULES, scopes=SCOPE_DEFAULT)
    schedule = make_schedule(evaluator, choices, rules, model.network.model_hash, "test")
    halves = tuple(TensorMove(tensor="t0", slice=part, wave=3, to="dram") for part in range(2))
    replay(evaluator, schedule.model_copy(update={"moves": halves}))
    with pytest.raises(
        IllegalSchedule, match="reads slice 0 of the batch of tensor 1 from DRAM and slice 1 from the LLB"
    ):
        replay(evaluator, schedule.model_copy(update={"moves": halves[:1]}))


def test_a_kernel_folder_keeps_moves(tmp_path: Path) -> None:
    """Saved and loaded again it is the same program, spill and refill with it."""
    machine = load_machine("stcp920")
    model = waiting(tmp_path)
    _, program = spilling(Evaluator(model.network, machine))
    save_kernels(tmp_path / "kernels", program, machine, program_weights(model.network), "hash")
    loaded = load_kernels(tmp_path / "kernels")[0]
    assert loaded == program
    assert [copy.to_dram for launch in loaded.steps for copy in launch.copies] == [True, False]
