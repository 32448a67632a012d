"""The kernel folder: a program, its machine and its weights as files that nothing else is needed to run.

docs/kernels.md describes it. Writing is deterministic; reading checks everything and unpickles nothing.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, ValidationError

from hwmodel.errors import KernelError
from hwmodel.machines.machine import Machine
from hwmodel.programs.assembly import assemble, disassemble
from hwmodel.programs.binary import decode, encode
from hwmodel.programs.host import HostLayout
from hwmodel.programs.isa import STORED_ROLES, Buffer, Kernel, Launch, Program, Run, Symbol, Trace
from hwmodel.programs.order import positions

FORMAT = "oncore-kernels"

MANIFEST, WEIGHTS = "manifest.json", "weights.safetensors"

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,99}")

Weights = dict[str, NDArray[np.float32]]


class Manifest(BaseModel):
    """What manifest.json holds: all of a kernel folder but the instructions and the weights.

    `symbols` is the symbol table of every kernel, `files` the SHA-256 of every other file. `interface` says how the
    model's own arrays map to inputs and outputs; one that is not there is (images, channels, rows, columns).
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    format: Literal["oncore-kernels"] = "oncore-kernels"
    format_version: Literal[2] = 2
    model_hash: str
    machine: Machine
    symbols: dict[str, tuple[Symbol, ...]]
    buffers: tuple[Buffer, ...]
    steps: tuple[Launch, ...]
    traces: tuple[Trace, ...]
    order: tuple[Run, ...] = ()
    interface: dict[str, HostLayout] = {}
    files: dict[str, str]


def save_kernels(
    directory: str | Path,
    program: Program,
    machine: Machine,
    weights: Mapping[str, NDArray[np.float32]],
    model_hash: str,
    interface: Mapping[str, HostLayout] | None = None,
) -> None:
    """Write a program, its machine and the values of its weights and parameters as a folder.

    A kernel folder that is already there is replaced when the new one is complete. Saving the same again gives
    the same bytes. Raises KernelError where a kernel could not be read back, a name is not fit for a file, a
    weight is missing or misshapen, an array of `interface` does not fit its buffer, or the directory cannot be written
    or holds a file that no manifest of a kernel folder lists there.
    """
    directory = Path(directory).resolve()
    if program.machine != machine.name:
        raise KernelError(f"the program is for machine {program.machine!r}, not for {machine.name!r}")
    files = {WEIGHTS: _pack_weights(program, machine, weights)}
    for name, kernel in program.kernels.items():
        if name != kernel.name or not _NAME.fullmatch(name):
            raise KernelError(f"kernel {name!r}: a name is letters, digits and _.-, and the kernel's own")
        files[f"{name}.asm"] = disassemble(kernel).encode()
        files[f"{name}.bin"] = encode(kernel)
    if len({file.lower() for file in files}) != len(files):
        raise KernelError("the names of two kernels differ in case only")
    manifest = Manifest(
        model_hash=model_hash,
        machine=machine,
        symbols={name: kernel.symbols for name, kernel in program.kernels.items()},
        buffers=program.buffers,
        steps=program.steps,
        traces=program.traces,
        order=program.order,
        interface=dict(interface or {}),
        files={name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
    )
    _check_manifest(manifest, program)
    text = json.dumps(manifest.model_dump(mode="json"), indent=1, sort_keys=True, allow_nan=False)
    files[MANIFEST] = f"{text}\n".encode()
    try:
        _write(directory, files)
    except OSError as error:
        raise KernelError(f"{directory}: cannot be written ({error.strerror})") from error


def load_kernels(directory: str | Path) -> tuple[Program, Machine, Weights, Manifest]:
    """The program, machine, weights (float32, by buffer) and manifest of a kernel folder.

    Raises KernelError, naming the file, where one is missing, truncated, changed or of another version, where
    text and binary of a kernel differ, or where the files do not fit each other.
    """
    directory = Path(directory)
    manifest = _read_manifest(directory)
    kernels = {}
    for name, symbols in manifest.symbols.items():
        if not _NAME.fullmatch(name):
            raise KernelError(f"{directory / MANIFEST}: symbols: {name!r} cannot be the name of a kernel")
        kernels[name] = _read_kernel(directory, manifest, name, symbols)
    program = Program(
        manifest.machine.name, kernels, manifest.steps, manifest.buffers, manifest.traces, manifest.order
    )
    try:
        _check_manifest(manifest, program)
    except KernelError as error:
        raise KernelError(f"{directory / MANIFEST}: {error}") from error
    data = _read(directory, manifest, WEIGHTS)
    try:
        weights = _unpack_weights(data, manifest.buffers)
    except KernelError as error:
        raise KernelError(f"{directory / WEIGHTS}: {error}") from error
    return program, manifest.machine, weights, manifest


def _check_manifest(manifest: Manifest, program: Program) -> None:
    """Raise KernelError where buffers, steps, order or interface do not fit the program or each other."""
    kernels = program.kernels
    names = [buffer.name for buffer in manifest.buffers]
    if len(set(names)) != len(names):
        raise KernelError("two buffers have the same name")
    for index, step in enumerate(manifest.steps):
        if step.kernel not in kernels:
            raise KernelError(f"steps.{index}: there is no kernel {step.kernel!r}")
        missing = {symbol.name for symbol in kernels[step.kernel].symbols} - step.bindings.keys()
        if missing:
            raise KernelError(f"steps.{index}: symbol {min(missing)!r} of {step.kernel} is not bound")
    positions(program)
    buffers = {buffer.name: buffer for buffer in manifest.buffers if buffer.role in ("input", "output")}
    for name, layout in manifest.interface.items():
        holder = layout.buffer or name
        if holder not in buffers:
            raise KernelError(f"interface.{name}: there is no input or output {holder!r}")
        layout.check(name, buffers[holder])


def _pack_weights(program: Program, machine: Machine, weights: Mapping[str, NDArray[np.float32]]) -> bytes:
    tensors: dict[str, NDArray[np.float32] | NDArray[np.float16]] = {}
    for buffer in program.buffers:
        if buffer.role not in STORED_ROLES:
            continue
        if buffer.name not in weights:
            raise KernelError(f"the values of {buffer.role} {buffer.name!r} are missing")
        values = np.ascontiguousarray(weights[buffer.name], np.float32)
        if values.shape != buffer.shape:
            raise KernelError(f"{buffer.role} {buffer.name!r} has shape {values.shape}, not {buffer.shape}")
        tensors[buffer.name] = values
        if machine.element == "fp16":
            with np.errstate(over="ignore"):
                halves = values.astype(np.float16)
            if np.array_equal(halves.astype(np.float32).view(np.uint32), values.view(np.uint32)):
                tensors[buffer.name] = halves
    return bytes(safetensors.numpy.save(dict(sorted(tensors.items()))))


def _unpack_weights(data: bytes, buffers: tuple[Buffer, ...]) -> Weights:
    dtypes: dict[str, np.dtype[Any]] = {"F16": np.dtype("<f2"), "F32": np.dtype("<f4")}
    try:
        entries: list[tuple[str, dict[str, Any]]] = safetensors.deserialize(data)  # type: ignore[no-untyped-call]
    except safetensors.SafetensorError as error:
        raise KernelError(f"is damaged ({error})") from error
    found = {}
    for name, entry in entries:
        if entry["dtype"] not in dtypes:
            raise KernelError(f"tensor {name!r} has type {entry['dtype']}, expected F16 or F32")
        values: NDArray[Any] = np.frombuffer(entry["data"], dtype=dtypes[entry["dtype"]])
        found[name] = values.reshape(entry["shape"]).astype(np.float32)
    shapes = {buffer.name: buffer.shape for buffer in buffers if buffer.role in STORED_ROLES}
    for name in sorted(shapes.keys() | found.keys()):
        if name not in shapes or name not in found or found[name].shape != shapes[name]:
            shape = found[name].shape if name in found else None
            raise KernelError(f"tensor {name!r} has shape {shape}, and its buffer {shapes.get(name)}")
    return found


def _read_manifest(directory: Path) -> Manifest:
    path = directory / MANIFEST
    data = _read_bytes(path)
    try:
        manifest = Manifest.model_validate_json(data)
    except ValidationError as error:
        problem = error.errors(include_url=False, include_input=False, include_context=False)[0]
        place = ".".join(str(part) for part in problem["loc"]) or "the file"
        raise KernelError(f"{path}: {place}: {problem['msg']}") from error
    return manifest


def _read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise KernelError(f"{path}: cannot be read ({error.strerror})") from error


def _read(directory: Path, manifest: Manifest, name: str) -> bytes:
    data = _read_bytes(directory / name)
    if hashlib.sha256(data).hexdigest() != manifest.files.get(name):
        raise KernelError(f"{directory / name}: is not the file that {MANIFEST} lists (SHA-256 differs)")
    return data


def foreign_files(directory: Path) -> set[str]:
    """Names of what is in a directory and no file of a kernel folder: all but the manifest of one and what that lists.

    Raises OSError where the directory cannot be read.
    """
    return {path.name for path in directory.iterdir()} - _own_files(directory)


def _own_files(directory: Path) -> set[str]:
    try:
        manifest = json.loads(_read_bytes(directory / MANIFEST))
        return {MANIFEST, *manifest["files"]} if manifest["format"] == FORMAT else set()
    except (KernelError, ValueError, RecursionError, KeyError, TypeError):
        return set()


def _read_kernel(directory: Path, manifest: Manifest, name: str, symbols: tuple[Symbol, ...]) -> Kernel:
    binary = _read(directory, manifest, f"{name}.bin")
    text = _read(directory, manifest, f"{name}.asm")
    try:
        kernel = decode(binary)
    except KernelError as error:
        raise KernelError(f"{directory / name}.bin: {error}") from error
    try:
        described = assemble(text.decode())
    except UnicodeDecodeError as error:
        raise KernelError(f"{directory / name}.asm: is not UTF-8 text") from error
    except KernelError as error:
        raise KernelError(f"{directory / name}.asm: {error}") from error
    if described != kernel:
        raise KernelError(f"{directory / name}.asm: describes another kernel than {name}.bin")
    if kernel.name != name or kernel.symbols != symbols:
        raise KernelError(f"{directory / name}.bin: its name or symbols are not those in {MANIFEST}")
    return kernel


def _write(directory: Path, files: Mapping[str, bytes]) -> None:
    if directory.exists():
        others = foreign_files(directory)
        if others:
            raise KernelError(f"{directory}: holds {min(others)}, which is no file of a kernel folder")
    fresh = directory.with_name(f".{directory.name}.new-{os.getpid()}")
    stale = directory.with_name(f".{directory.name}.old-{os.getpid()}")
    fresh.mkdir(parents=True)
    try:
        for name, data in files.items():
            (fresh / name).write_bytes(data)
        if directory.exists():
            directory.rename(stale)
        fresh.rename(directory)
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
        if not directory.exists() and stale.exists():
            stale.rename(directory)
        shutil.rmtree(stale, ignore_errors=True)
