"""The kernel folder: what is written is read back, and what is damaged is refused by name."""

from __future__ import annotations

import dataclasses
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwmodel.errors import KernelError
from hwmodel.functional.simulator import FunctionalSimulator
from hwmodel.machines.machine import Machine
from hwmodel.programs.host import HostLayout
from hwmodel.programs.isa import Op, Program, Ref, SystemCopy, Trace
from hwmodel.programs.kernels import load_kernels, save_kernels
from tests.hwmodel import made_programs as programs
from tests.hwmodel.made_programs import OUT, Array, box, instruction, steps, view

SHAPE = (1, 4, 4, 3)


def example(element: str = "fp16") -> tuple[Program, Machine, dict[str, Array]]:
    m = programs.machine(element)
    size = m.element_bytes
    rng = np.random.default_rng(0)
    w = rng.standard_normal((5, 3, 1, 1)).astype(np.float16).astype(np.float32)
    out = (1, 4, 4, 5)
    conv = {
        **{"in_rows": 4, "in_columns": 4, "in_channels": 3, "kernel_h": 1, "kernel_w": 1},
        **{"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": 0, "pad_left": 0},
        **{"weight_addr": 0, "acc_addr": 0, "accumulate": 0},
    }
    body = [
        instruction(Op.CONV, [0], box(out, "out_channels"), view("in", 0, SHAPE[1:], size), conv),
        instruction(
            Op.VECTOR,
            [0],
            {"kind": 0, "acc_addr": 0},
            box(out),
            view("out", OUT * size, out[1:], size),
            steps(programs.relu()),
        ),
    ]
    program = programs.single(m, SHAPE, out, body, {"w": w})
    step = dataclasses.replace(
        program.steps[0], events={"e": (Ref(0, 1),)}, copies=(SystemCopy(3, 0, 8, 16, (Ref(0, 0),)),)
    )
    trace = Trace("out", 0, "dram", program.buffers[1].address, (0, 1), (0, 4), 4, 5)
    return dataclasses.replace(program, steps=(step,), traces=(trace,)), m, {"w": w}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_kernels(tmp_path / "kernels", *example(), "hash")
    return tmp_path / "kernels"


@pytest.mark.parametrize("element", ["fp16", "fp32", "int8"])
def test_what_is_saved_is_loaded(tmp_path: Path, element: str) -> None:
    program, machine, weights = example(element)
    save_kernels(tmp_path / "kernels", program, machine, weights, "hash")
    found, found_machine, found_weights, manifest = load_kernels(tmp_path / "kernels")
    assert (found, found_machine, manifest.model_hash) == (program, machine, "hash")
    assert found_weights.keys() == weights.keys()
    assert all(np.array_equal(found_weights[name], weights[name]) for name in weights)
    assert {path.name for path in tmp_path.iterdir()} == {"kernels"}


def test_the_loaded_program_computes_the_same(folder: Path) -> None:
    x = np.random.default_rng(1).standard_normal((1, 3, 4, 4)).astype(np.float32)
    outputs = []
    for program, machine, weights in (example(), load_kernels(folder)[:3]):
        simulator = FunctionalSimulator(program, machine, "native", weights)
        simulator.write_input("x", x)
        simulator.run()
        outputs.append(simulator.read_output("out"))
    assert np.isfinite(outputs[0]).all()
    assert outputs[0].tobytes() == outputs[1].tobytes()


def test_saving_again_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    program, machine, weights = example()
    (kernel,) = program.kernels.values()
    shuffled = dataclasses.replace(
        kernel,
        instructions=tuple(
            dataclasses.replace(i, fields=dict(sorted(i.fields.items(), reverse=True)))
            for i in kernel.instructions
        ),
    )
    again = dataclasses.replace(program, kernels={"k": shuffled})
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save_kernels(folder, again, machine, weights, "hash")  # replaces what is there
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert set(before) == {"manifest.json", "weights.safetensors", "k.asm", "k.bin"}


def test_weights_that_float16_does_not_hold_are_kept_exactly(tmp_path: Path) -> None:
    program, machine, weights = example("fp16")
    weights = {"w": weights["w"] + np.float32(1e-6)}
    save_kernels(tmp_path / "k", program, machine, weights, "")
    assert np.array_equal(load_kernels(tmp_path / "k")[2]["w"], weights["w"])


def test_a_folder_with_other_files_is_not_replaced(folder: Path) -> None:
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(KernelError, match=r"holds notes\.txt"):
        save_kernels(folder, *example(), "hash")
    assert (folder / "k.bin").exists()


@pytest.mark.parametrize("manifest", [None, "{}", "[]", '{"format": "other", "files": {"firmware.bin": ""}}'])
def test_a_directory_of_somebody_elses_files_is_not_replaced(tmp_path: Path, manifest: str | None) -> None:
    """Whatever their suffix: only what the manifest of a kernel folder lists may go."""
    (tmp_path / "firmware.bin").write_text("mine")
    if manifest is not None:
        (tmp_path / "manifest.json").write_text(manifest)
    with pytest.raises(KernelError, match=r"holds firmware\.bin, which is no file of a kernel folder"):
        save_kernels(tmp_path, *example(), "hash")
    assert (tmp_path / "firmware.bin").read_text() == "mine"


def test_the_name_of_a_kernel_cannot_leave_the_folder(tmp_path: Path) -> None:
    program, machine, weights = example()
    (kernel,) = program.kernels.values()
    evil = dataclasses.replace(program, kernels={"../k": dataclasses.replace(kernel, name="../k")})
    with pytest.raises(KernelError, match="a name is letters"):
        save_kernels(tmp_path / "kernels", evil, machine, weights, "")


def edit(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def test_files_that_do_not_fit_are_refused(folder: Path, tmp_path: Path) -> None:
    def refused(file: str, match: str, change: Callable[[Path], object]) -> None:
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(folder, copy)
        change(copy / file)
        with pytest.raises(KernelError, match=match) as caught:
            load_kernels(copy)
        assert str(copy / file) in str(caught.value)

    manifest = "manifest.json"
    refused(manifest, "format_version", lambda p: edit(p, lambda d: d.update(format_version=1)))
    refused(
        manifest, "run 0 of the order", lambda p: edit(p, lambda d: d.update(order=[{"step": 0, "count": 0}]))
    )
    refused(
        manifest, "the order has 1 of", lambda p: edit(p, lambda d: d.update(order=[{"step": 0, "count": 1}]))
    )
    refused(manifest, "other", lambda p: edit(p, lambda d: d.update(other=1)))
    refused(manifest, "cores", lambda p: edit(p, lambda d: d["machine"].update(cores=0)))
    refused(manifest, "extra", lambda p: edit(p, lambda d: d["buffers"][0].update(extra=0)))
    refused(manifest, "kernel 'j'", lambda p: edit(p, lambda d: d["steps"][0].update(kernel="j")))
    refused(manifest, "cannot be the name", lambda p: edit(p, lambda d: d.update(symbols={"../k": []})))
    refused(manifest, "recursion", lambda p: p.write_text("[" * 100_000))
    refused(manifest, "cannot be read", lambda p: p.unlink())
    refused("k.asm", "SHA-256", lambda p: p.write_text(p.read_text().replace("rows=4", "rows=3")))
    refused("k.bin", "cannot be read", lambda p: p.unlink())
    refused("weights.safetensors", "SHA-256", lambda p: p.write_bytes(p.read_bytes()[:-1]))


@pytest.mark.parametrize(
    ("name", "layout", "message"),
    [
        ("x", HostLayout((48,), (48,), (1,), buffer="y"), "interface.x: there is no input or output 'y'"),
        ("w", HostLayout((15,), (15,), (1,)), "there is no input or output 'w'"),
        ("x", HostLayout((48,), (48,), ()), "a stride for each size"),
        ("x", HostLayout((0,), (0,), (1,)), "expected positive extents"),
        ("x", HostLayout((48,), (6, 7), (7, 1)), "sizes (6, 7) count 42 elements, expected 48"),
        ("x", HostLayout((49,), (49,), (1,)), "reaches elements 0 to 48, expected 0 to 47"),
        ("x", HostLayout((48,), (48,), (-1,)), "reaches elements -47 to 0, expected 0 to 47"),
        ("x", HostLayout((25,), (25,), (1,), indices=True), "reaches elements 0 to 24, expected 0 to 23"),
        ("x", HostLayout((1 << 70,), (1 << 70,), (1,)), "expected 0 to 47"),
    ],
)
def test_arrays_of_the_host_fit_their_buffers(
    folder: Path, tmp_path: Path, name: str, layout: HostLayout, message: str
) -> None:
    """The digits of an array count its elements, each at one of its buffer; `x` has 48 an image."""
    with pytest.raises(KernelError, match=re.escape(message)):
        save_kernels(tmp_path / "other", *example(), "hash", {name: layout})
    edit(folder / "manifest.json", lambda d: d.update(interface={name: dataclasses.asdict(layout)}))
    with pytest.raises(KernelError, match=re.escape(message)):
        load_kernels(folder)


def test_any_change_of_a_byte_is_an_error_of_its_own_kind(folder: Path) -> None:
    rng = np.random.default_rng(0)
    before = load_kernels(folder)[0]
    for path in sorted(folder.iterdir()):
        data = path.read_bytes()
        for _ in range(150):
            changed = bytearray(data)
            if rng.random() < 0.3:
                del changed[rng.integers(len(changed)) :]
            else:
                changed[rng.integers(len(changed))] ^= 1 << rng.integers(8)
            path.write_bytes(changed)
            try:
                found = load_kernels(folder)[0]
            except KernelError as error:
                assert str(folder) in str(error)
            else:
                assert path.name == "manifest.json"
                assert found.kernels == before.kernels
        path.write_bytes(data)
