"""Command line of the hardware model: run exported kernels on one's own data, and describe a machine.

python -m hwmodel run KERNELS --input x.npz --output y.npz [--arithmetic native|fp32]
python -m hwmodel describe MACHINE [--svg FILE]
"""

from __future__ import annotations

import argparse
import os
import sys
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwmodel.errors import KernelError, MachineError
from hwmodel.functional.simulator import Arithmetic, FunctionalSimulator
from hwmodel.machines.describe import describe
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.machines.roofline import roofline
from hwmodel.programs.kernels import load_kernels

# What reading an .npz file that is none, or is damaged, raises.
_UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    KeyError,
    MemoryError,
    NotImplementedError,
    zipfile.BadZipFile,
    zlib.error,
)


class DataError(ValueError):
    """The user's data is wrong; the message names the file and the array."""


def run(kernels: Path, source: Path, target: Path, arithmetic: Arithmetic) -> None:
    """Run a kernel folder on the arrays of an .npz file and write its outputs to another.

    Arrays have the shapes of the model, the images first, by the name of the input or output. Raises KernelError or
    DataError where the folder or the data is wrong.
    """
    program, machine, weights, manifest = load_kernels(kernels)
    buffers = {buffer.name: buffer for buffer in program.buffers if buffer.role == "input"}
    inputs = read_arrays(source)
    if buffers.keys() - inputs.keys():
        found = ", ".join(sorted(inputs)) or "no arrays"
        raise DataError(f"{source}: holds {found}; the kernels take {', '.join(sorted(buffers))}")
    for name in sorted(inputs.keys() - buffers.keys()):
        print(f"{source}: array {name!r} is not used, since the kernels do not read it", file=sys.stderr)
        del inputs[name]
    simulator = FunctionalSimulator(program, machine, arithmetic, weights)
    for name, array in inputs.items():
        layout = manifest.interface.get(name)
        simulator.write_input(name, array if layout is None else layout.to_stored(name, array, buffers[name]))
    simulator.run()
    outputs = [buffer.name for buffer in program.buffers if buffer.role == "output"]
    results = {name: simulator.read_output(name) for name in outputs}
    arrays = {
        name: layout.from_stored(results[layout.buffer or name])
        for name, layout in manifest.interface.items()
        if (layout.buffer or name) in results
    }
    made = {**results, **arrays}
    for name, array in made.items():
        wrong = array.size - int(np.isfinite(array).sum())
        if wrong:
            print(
                f"{target}: {wrong} of {array.size} values of {name!r} are not finite: an input is not, or values are "
                f"beyond those of {machine.element} (--arithmetic fp32 has more range)",
                file=sys.stderr,
            )
    write_arrays(target, made)


def read_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """The arrays of an .npz file, float32 or integers as they are.

    Raises DataError where it is none, or one is not of numbers.
    """
    arrays: dict[str, NDArray[Any]] = {}
    try:
        with path.open("rb") as file:
            loaded = np.load(file, allow_pickle=False)
            if not isinstance(loaded, np.lib.npyio.NpzFile):
                raise DataError(f"{path}: is not an .npz file")
            for name in loaded.files:
                array: NDArray[Any] = loaded[name]
                if array.dtype.kind not in "fiub":
                    raise DataError(f"{path}: array {name!r} has type {array.dtype}, expected numbers")
                with np.errstate(over="ignore"):
                    arrays[name] = array if array.dtype.kind in "iu" else array.astype(np.float32)
    except DataError:
        raise
    except _UNREADABLE as error:
        reason = getattr(error, "strerror", None) or "is not an .npz file, or damaged"
        raise DataError(f"{path}: cannot be read ({reason})") from error
    return arrays


def write_arrays(path: Path, arrays: Mapping[str, NDArray[np.float32]]) -> None:
    """Write an .npz file: under another name first, so that none is there before it is complete.

    The same arrays give the same bytes. Raises DataError where it cannot be written.
    """
    if path.is_dir():
        raise DataError(f"{path}: is a directory, expected the name of an .npz file")
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        try:
            with zipfile.ZipFile(temporary, "w") as archive:
                for name in sorted(arrays):
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, arrays[name], allow_pickle=False)
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror})") from error


def draw(machine: Machine, target: Path) -> None:
    """Write the machine's roofline as an SVG file; raises DataError where it cannot be written."""
    try:
        target.write_text(roofline(machine), encoding="utf-8")
    except OSError as error:
        raise DataError(f"{target}: cannot be written ({error.strerror})") from error


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status: 2 with one line on standard error where it fails."""
    parser = argparse.ArgumentParser(prog="python -m hwmodel", description="Run kernels, describe machines.")
    commands = parser.add_subparsers(dest="command", required=True)
    running = commands.add_parser("run", help="run exported kernels on arrays")
    running.add_argument("kernels", type=Path, help="kernel folder")
    running.add_argument("--input", type=Path, required=True, help=".npz file with an array for each input")
    running.add_argument("--output", type=Path, required=True, help=".npz file to write the outputs to")
    running.add_argument(
        "--arithmetic",
        choices=["native", "fp32"],
        default="native",
        help="store numbers in the machine's element type, or as float32",
    )
    describing = commands.add_parser("describe", help="print a machine's figures")
    describing.add_argument("machine", help="name of a machine, or a .yaml file")
    describing.add_argument("--svg", type=Path, metavar="FILE", help="write a picture of its roofline")
    options = parser.parse_args(arguments)
    try:
        if options.command == "run":
            run(options.kernels, options.input, options.output, options.arithmetic)
        else:
            machine = load_machine(options.machine)
            if options.svg is not None:
                draw(machine, options.svg)
            print(describe(machine), flush=True)
    except (KernelError, MachineError, DataError) as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        return 2
    except OSError as error:  # what is printed cannot be written: a full disk, or a reader that has gone
        print(f"error: output: {error.strerror}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
