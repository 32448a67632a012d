"""The timeline: valid JSON, slices that never overlap on a thread, the same bytes every time."""

import json
from collections import defaultdict
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from hwmodel.machines.machine import load_machine
from hwmodel.programs.isa import Buffer, Kernel, Launch, Op, Program, Ref, Symbol
from hwmodel.timing.flatten import time_program
from report import trace
from report.trace import Labels, write_trace
from tests.hwmodel.made_programs import box, instruction, view, window

TINY = load_machine("tiny")
SHAPE = (1, 4, 4, 4)
LABELS = Labels(steps=["first", "second", "third"], instructions={"copy": ["", "x", "y"]})


def program() -> Program:
    """Three launches of a kernel that copies 256 bytes through L1; each load waits for the launch before."""
    size = TINY.element_bytes
    body = (
        instruction(Op.LAUNCH, (0, 1)),
        instruction(
            Op.LOAD,
            (0, 1),
            box(SHAPE),
            view("dst", 0, SHAPE[1:], size),
            window("src", 0, 0, SHAPE[1:], size),
            events=("before",),
        ),
        instruction(
            Op.STORE,
            (0,),
            box(SHAPE),
            view("src", 0, SHAPE[1:], size),
            window("dst", 1, 0, SHAPE[1:], size),
            waits=(1,),
        ),
    )
    kernel = Kernel("copy", (Symbol("x", "dram"), Symbol("y", "dram")), body)
    launches = tuple(
        Launch("copy", {"x": 0, "y": 256}, {"before": (Ref(step - 1, 2),) if step else ()})
        for step in range(3)
    )
    buffers = (Buffer("x", "input", 0, SHAPE), Buffer("y", "output", 256, SHAPE))
    return Program(TINY.name, {"copy": kernel}, launches, buffers)


def written(folder: Path) -> dict[str, Any]:
    path = folder / "trace.json"
    found = program()
    write_trace(path, found, TINY, time_program(found, TINY), LABELS, [100, 200, 300])
    content = json.loads(path.read_text())
    assert isinstance(content, dict)
    return content


def slices(content: dict[str, Any]) -> dict[tuple[int, int], list[tuple[int, int, str]]]:
    """(start, stop, name) in nanoseconds of every thread's slices, in order."""
    found = defaultdict(list)
    for event in content["traceEvents"]:
        if event["ph"] == "X":
            start, length = round(event["ts"] * 1000), round(event["dur"] * 1000)
            found[event["pid"], event["tid"]].append((start, start + length, event["name"]))
    return {place: sorted(items) for place, items in found.items()}


def names(content: dict[str, Any], kind: str) -> dict[tuple[int, int], str]:
    return {
        (event["pid"], event["tid"]): event["args"]["name"]
        for event in content["traceEvents"]
        if event["ph"] == "M" and event["name"] == kind
    }


def test_slices_do_not_overlap_on_a_thread(tmp_path: Path) -> None:
    found = slices(written(tmp_path))
    assert found
    for items in found.values():
        for (_, stop, _), (start, _, _) in pairwise(items):
            assert start >= stop


def test_every_engine_in_use_is_a_thread_of_its_core(tmp_path: Path) -> None:
    content = written(tmp_path)
    processes, threads = names(content, "process_name"), names(content, "thread_name")
    shown = {f"{processes[pid, 0]}: {threads[pid, tid]}" for pid, tid in slices(content)}
    assert shown == {
        "schedule: kernels",
        "core 0: matrix",
        "core 0: vector",
        "core 0: dma",
        "core 1: matrix",
        "core 1: vector",
        "core 1: dma",
        "shared links: dram read",
        "shared links: dram write",
    }


def test_slices_are_named_after_the_instruction_and_its_tensor(tmp_path: Path) -> None:
    found = slices(written(tmp_path))
    assert {name for items in found.values() for _, _, name in items} == {
        "first",
        "second",
        "third",
        "LAUNCH",
        "LOAD x",
        "STORE y",
    }
    # 10 cycles of launch; 256 bytes at 4 bytes a cycle each way, the load under the launch.
    assert found[trace._FIRST_CORE, 2][:2] == [(0, 64, "LOAD x"), (64, 128, "STORE y")]


def test_waits_between_steps_are_arrows(tmp_path: Path) -> None:
    arrows = [event for event in written(tmp_path)["traceEvents"] if event["ph"] in "sf"]
    assert [(event["ph"], event["id"]) for event in arrows] == [("s", 1), ("f", 1), ("s", 2), ("f", 2)]
    assert arrows[0]["ts"] < arrows[1]["ts"]


def test_the_llb_is_a_counter(tmp_path: Path) -> None:
    counters = [event for event in written(tmp_path)["traceEvents"] if event["ph"] == "C"]
    assert [event["args"]["bytes"] for event in counters] == [100, 200, 300]


def test_the_same_program_gives_the_same_bytes(tmp_path: Path) -> None:
    for folder in (tmp_path / "a", tmp_path / "b"):
        folder.mkdir()
        written(folder)
    assert (tmp_path / "a/trace.json").read_bytes() == (tmp_path / "b/trace.json").read_bytes()


def test_cores_are_left_out_where_there_are_too_many_slices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trace, "MOST_SLICES", 20)
    content = written(tmp_path)
    assert content["otherData"]["cores"] == 2
    assert content["otherData"]["cores_shown"] == 1
    assert "core 0" in names(content, "process_name").values()
    assert "core 1" not in names(content, "process_name").values()
