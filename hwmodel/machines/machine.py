"""The machine: an accelerator's description, read from a YAML file and checked.

No figure of a machine is in code, so that describing another one takes a file and nothing else;
docs/machines.md describes every key.
"""

from __future__ import annotations

import math
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from configs.reading import read_yaml
from hwmodel.errors import MachineError
from hwmodel.machines.level_table import LevelTable, level_table
from hwmodel.machines.machine_levels import Levels
from hwmodel.machines.machine_parts import (
    MOST,
    Cycles,
    Dma,
    Energy,
    Links,
    Matrix,
    Memories,
    Part,
    SystemDma,
    Vector,
)
from hwmodel.machines.machine_table import (
    STREAMS_INPUTS,
    STREAMS_OUTPUTS,
    STREAMS_PIXELS,
    UNROLLED,
    MachineTable,
)

__all__ = ["Machine", "MachineError", "MachineTable", "load_machine", "machine_names"]

MOST_CORES = 1024

_ELEMENT_BYTES = {"fp16": 2, "fp32": 4, "int8": 1}

_STREAMED = {
    "output_stationary": STREAMS_INPUTS,
    "weight_stationary": STREAMS_PIXELS,
    "input_stationary": STREAMS_OUTPUTS,
}

# What `varied` can change: a name, the keys of the figures, and the least that each may become.
_VARIABLE: dict[str, tuple[tuple[tuple[str, ...], ...], int]] = {
    "cores": ((("cores",),), 1),
    "lanes": ((("vector", "lanes"),), 1),
    "l1": ((("memories", "l1", "bytes"),), 1),
    "weights": ((("memories", "weights", "bytes"),), 1),
    "accumulator": ((("memories", "accumulator", "bytes"),), 1),
    "llb": ((("memories", "llb", "bytes"),), 1),
    "dram_bandwidth": (
        (("links", "dram", "read_bytes_per_cycle"), ("links", "dram", "write_bytes_per_cycle")),
        1,
    ),
    "llb_bandwidth": (
        (("links", "llb", "read_bytes_per_cycle"), ("links", "llb", "write_bytes_per_cycle")),
        1,
    ),
    "exchange_bandwidth": ((("links", "exchange", "bytes_per_cycle"),), 1),
    "dma_bandwidth": ((("dma", "bytes_per_cycle"),), 1),
    "launch": ((("launch_cycles",),), 0),
}


class Machine(Part):
    """One accelerator. Sizes are bytes of one core (or, for the LLB, of one cluster), rates bytes per cycle.

    Clusters are independent and alike, so everything but `clusters` describes one of them.
    """

    name: Annotated[str, Field(min_length=1)]
    description: str
    assumed: Annotated[tuple[str, ...], Field(strict=False)]
    clock_ghz: Annotated[float, Field(ge=1e-6, le=1000)]
    element: Literal["fp16", "fp32", "int8"]
    clusters: Annotated[int, Field(ge=1, le=MOST_CORES)]
    cores: Annotated[int, Field(ge=1, le=MOST_CORES)]
    matrix: Matrix
    vector: Vector
    dma: Dma
    system_dma: SystemDma | None
    memories: Memories
    links: Links
    launch_cycles: Cycles
    barrier_cycles: Cycles
    concurrent_kernels: bool
    energy: Energy
    levels: Levels | None = None

    @model_validator(mode="after")
    def _inner_memories_fit_into_outer_ones(self) -> Machine:
        """A memory nearer to the engine is no larger than the one outside it."""
        for level in () if self.levels is None else self.levels.buffers:
            outer = "weights" if level.of_weights else "l1"
            most = getattr(self.memories, outer).bytes
            if level.operands != ("outputs",) and level.bytes > most:
                raise ValueError(
                    f"levels.buffers: {level.name} has {level.bytes} bytes, expected at most memories.{outer}.bytes "
                    f"= {most}"
                )
        return self

    @model_validator(mode="after")
    def _inner_memories_are_counted_for_unrolled_loops(self) -> Machine:
        """How often a systolic array or im2col reads its operands is not what `hwmodel.timing.levels` counts."""
        if self.levels is not None and (
            self.matrix.systolic is not None or self.matrix.convolution == "im2col"
        ):
            key = "convolution: im2col" if self.matrix.systolic is None else "systolic"
            raise ValueError(
                f"levels is given, expected none beside matrix.{key}, where they are not supported yet"
            )
        return self

    @model_validator(mode="after")
    def _what_serves_the_llb_is_there_with_it(self) -> Machine:
        """Its link and energies come with an LLB and go with it; the system DMA writes to nothing else."""
        given = {
            "links.llb": self.links.llb is not None,
            "energy.llb_read_pj_per_byte": self.energy.llb_read_pj_per_byte is not None,
            "energy.llb_write_pj_per_byte": self.energy.llb_write_pj_per_byte is not None,
        }
        if self.memories.llb is not None:
            for key in (key for key, there in given.items() if not there):
                raise ValueError(f"{key} is missing, expected one beside memories.llb")
        else:
            given["system_dma"] = self.system_dma is not None
            for key in (key for key, there in given.items() if there):
                raise ValueError(f"{key} is given, expected none where memories.llb is null")
        return self

    @property
    def element_bytes(self) -> int:
        """Bytes of one activation or weight."""
        return _ELEMENT_BYTES[self.element]

    @property
    def peak_macs_per_cycle(self) -> int:
        """Multiply-accumulates of one core's matrix engine in a cycle."""
        return self.matrix.macs or self.matrix.spatial.macs

    @property
    def l1_bytes(self) -> int:
        """Bytes of a core's l1 addresses: the buffers that inputs and outputs share, then `memories.l1`."""
        return self.memories.l1.bytes + (0 if self.levels is None else self.levels.shared_bytes)

    @property
    def weights_bytes(self) -> int:
        """Bytes of a core's addresses of weights: the buffers of weights, then `memories.weights`."""
        return self.memories.weights.bytes + (0 if self.levels is None else self.levels.weight_bytes)

    @property
    def level_table(self) -> LevelTable | None:
        """The inner memories for compiled code; None on a machine without `levels`."""
        prices = self.energy
        if self.levels is None:
            return None
        return level_table(
            self.levels,
            (prices.l1_read_pj_per_byte, prices.l1_write_pj_per_byte),
            (prices.weights_read_pj_per_byte, prices.weights_write_pj_per_byte),
        )

    def table(self) -> MachineTable:
        """The same figures for compiled code."""
        shared = () if self.levels is None else self.levels.shared
        unrolling, links, system = self.matrix.spatial, self.links, self.system_dma
        llb, llb_link, dram = self.memories.llb, self.links.llb, self.memories.dram
        read, write = (links.dram.share * rate for rate in links.dram.rates)
        period = math.lcm(read.denominator, write.denominator)
        return MachineTable(
            cores=self.cores,
            element_bytes=self.element_bytes,
            f_pixels=unrolling.out_pixels,
            f_rows=unrolling.out_rows,
            f_columns=unrolling.out_columns,
            f_out_channels=unrolling.out_channels,
            f_in_channels=unrolling.in_channels,
            **self._folds(),
            matrix_issue=self.matrix.issue_cycles,
            lanes=self.vector.lanes,
            dma_bytes=self.dma.bytes_per_cycle,
            dma_startup=self.dma.startup_cycles,
            sdma_bytes=system.bytes_per_cycle if system else 0,
            sdma_startup=system.startup_cycles if system else 0,
            l1_bytes=self.l1_bytes,
            l1_first_bytes=shared[0].bytes if shared else 0,
            l1_inner_bytes=sum(level.bytes for level in shared),
            weights_bytes=self.weights_bytes,
            accumulator_bytes=self.memories.accumulator.bytes,
            llb_bytes=llb.bytes if llb else 0,
            dram_read=int(read * period),
            dram_write=int(write * period),
            dram_period=period,
            dram_shared=int(links.dram.shared),
            dram_burst=dram.burst_bytes if dram else 1,
            dram_latency=dram.latency_cycles if dram else 0,
            llb_read=llb_link.read_bytes_per_cycle if llb_link else 0,
            llb_write=llb_link.write_bytes_per_cycle if llb_link else 0,
            llb_shared=int(llb_link.shared) if llb_link else 0,
            exchange=links.exchange.bytes_per_cycle,
            launch=self.launch_cycles,
        )

    def _folds(self) -> dict[str, int]:
        """What a table says of the matrix engine's folds."""
        matrix, array = self.matrix, self.matrix.systolic
        im2col = int(matrix.convolution == "im2col")
        drain = matrix.drain_cycles
        if array is None:
            return {
                "im2col": im2col,
                "streamed": UNROLLED,
                "fold_fill": 0,
                "fold_least": 0,
                "matrix_drain": drain,
            }
        overlap = array.overlap_folds
        return {
            "im2col": im2col,
            "streamed": _STREAMED[array.dataflow],
            "fold_fill": 0 if overlap else array.fill_cycles,
            "fold_least": array.rows if overlap else 0,
            "matrix_drain": drain + max(0, array.fill_cycles - 1) if overlap else drain,
        }

    def varied(self, **factors: float) -> Machine:
        """This machine with some figures multiplied, rounded down; the name tells which.

        Names of factors: cores, lanes, l1, weights, accumulator, llb, dram_bandwidth, llb_bandwidth,
        exchange_bandwidth, dma_bandwidth, launch. Raises MachineError on another name, a factor of what the machine
        lacks or that is not a positive number, or a machine that is impossible (such as an LLB smaller than L1).
        """
        data = self.model_dump()
        for name, factor in factors.items():
            if name not in _VARIABLE:
                raise MachineError(
                    f"{self.name}: cannot vary {name!r}, expected one of {', '.join(_VARIABLE)}"
                )
            if not (math.isfinite(factor) and 0 < factor <= MOST):
                raise MachineError(f"{self.name}: factor of {name} is {factor}, expected a positive number")
            keys, least = _VARIABLE[name]
            for path in keys:
                part = data
                for key in path[:-1]:
                    part = part[key]
                if part is None:
                    raise MachineError(
                        f"{self.name}: cannot vary {name!r}, since {'.'.join(path[:-1])} is null"
                    )
                part[path[-1]] = max(least, math.floor(part[path[-1]] * factor))
        data["name"] = "-".join([self.name, *(f"{name}x{factor:g}" for name, factor in factors.items())])
        return _validated(data, data["name"])


def machine_names() -> list[str]:
    """Names of the machines that ship with the project, sorted."""
    entries = files("configs.machines").iterdir()
    return sorted(entry.name.removesuffix(".yaml") for entry in entries if entry.name.endswith(".yaml"))


def load_machine(name_or_path: str | Path) -> Machine:
    """The machine with this name, or, if it is a Path, ends in .yaml or .yml or has a slash, in this file.

    Raises MachineError with one line that names the file, the key, its value and what was expected.
    """
    text = str(name_or_path)
    if isinstance(name_or_path, Path) or text.endswith((".yaml", ".yml")) or "/" in text or "\\" in text:
        return _read(Path(name_or_path), text)
    names = machine_names()
    if text not in names:
        raise MachineError(
            f"no machine is called {text!r}, expected {', '.join(names)} or a path to a .yaml file"
        )
    return _read(files("configs.machines").joinpath(f"{text}.yaml"), f"{text}.yaml")


def _read(file: Any, shown: str) -> Machine:
    try:
        data = read_yaml(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise MachineError(f"{shown}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise MachineError(f"{shown}: is not UTF-8 text (byte {error.start})") from error
    except yaml.YAMLError as error:
        raise MachineError(f"{shown}: is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(data, dict):
        raise MachineError(f"{shown}: holds {_shown(data)}, expected a mapping of keys to values")
    return _validated(data, shown)


def _validated(data: dict[str, Any], shown: str) -> Machine:
    try:
        return Machine.model_validate(data)
    except ValidationError as error:
        # A key that is not known is often the one that is missing, misspelt.
        problems = sorted(
            error.errors(include_url=False), key=lambda found: found["type"] != "extra_forbidden"
        )
        more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
        raise MachineError(f"{shown}: {_problem(dict(problems[0]))}{more}") from error


def _shown(value: object) -> str:
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:57]}..."


_EXPECTED = {
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "string_type": "text",
    "model_type": "a mapping of keys to values",
    "model_attributes_type": "a mapping of keys to values",
    "tuple_type": "a list",
    "finite_number": "a finite number",
    "string_too_short": "some text",
}

_LIMITS = {
    "greater_than_equal": ("at least", "ge"),
    "greater_than": ("more than", "gt"),
    "less_than_equal": ("at most", "le"),
    "multiple_of": ("a multiple of", "multiple_of"),
}


def _problem(problem: dict[str, Any]) -> str:
    """One line about an error of pydantic: key, value, what was expected."""
    key = ".".join(str(part) for part in problem["loc"])
    kind, limits = problem["type"], problem.get("ctx", {})
    if kind == "value_error":
        return f"{key}.{limits['error']}" if key else str(limits["error"])
    if kind == "missing":
        return f"{key} is missing"
    if kind == "extra_forbidden":
        return f"{key} is {_shown(problem['input'])}, but no such key is known"
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        value = limits[limit]
        expected = f"{words} {value:g}" if isinstance(value, float) else f"{words} {value}"
    elif kind == "literal_error":
        expected = str(limits["expected"])
        if key == "dma.queues":
            expected += ", since more queues are not supported yet"
    else:
        expected = _EXPECTED.get(kind, str(problem["msg"]))
    return f"{key} is {_shown(problem['input'])}, expected {expected}"
