"""Schedule files: all decisions as data, versioned JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from scheduling.errors import ScheduleError
from scheduling.instruction_orders import InstructionOrder

VERSION = 2

_MOST = 1 << 40
"""No number of a schedule is larger, so that arrays hold it."""

_Count = Annotated[int, Field(ge=1, le=_MOST)]
_Natural = Annotated[int, Field(ge=0, le=_MOST)]


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Split(_Record):
    """Slices of a sub-graph's output per axis; one instance each."""

    batch: _Count
    rows: _Count
    columns: _Count = 1
    channels: _Count = 1


class Binding(_Record):
    """Ways over the cores of a cluster per axis; cores are numbered batch, then rows or columns, then output
    channels."""

    batch: _Count
    rows: _Count
    channels: _Count
    columns: _Count = 1


class Cache(_Record):
    """The memory in which neighbouring slices keep what they share: `l1`, `llb` or `dram`; in the LLB the byte address
    for each slice of the batch."""

    memory: str = "l1"
    addresses: tuple[_Natural, ...] = ()


class OwnBinding(_Record):
    """The binding of a run of a sub-graph's layers, first and last included, over the same cores or some of them."""

    first_layer: str
    last_layer: str
    binding: Binding


class Subgraph(_Record):
    """A run of layers, first and last included, that is compiled into one kernel shape.

    `halo` is recompute; cache_columns with pieces along columns, which keep what they share while neighbouring slices
    make it again; or cache: neighbouring slices keep what they share, too, where `cache` says. `order_a` is a x 20 of
    the operation order; `overlap` lets weight loads run ahead; `keep_weights` keeps them for all slices of an image.
    `binding` is that of all layers but those in one of the `own_bindings`, which are in the order of the layers.
    """

    first_layer: str
    last_layer: str
    split: Split
    halo: str = "recompute"
    binding: Binding
    pieces: _Count
    piece_axis: str
    order_a: _Natural
    overlap: bool
    keep_weights: bool = False
    cache: Cache = Cache()
    own_bindings: tuple[OwnBinding, ...] = ()


class TensorPlace(_Record):
    """The memory that a tensor which crosses an instance boundary is made in, and read in until it moves; `addresses`
    are its slices' in the LLB."""

    scope: str
    addresses: tuple[_Natural, ...] = ()


class WeightPlace(_Record):
    """Weights in the LLB: their address, and when they are copied from DRAM, in waves of all steps counted from 0, or
    the layer that they are `copied_for`, which shares them."""

    address: _Natural
    copied_in_waves: tuple[_Natural, ...] = ()
    copied_for: str = ""


class TensorMove(_Record):
    """A slice of the batch of a tensor goes to the `llb`, to an address, or to `dram`, before the instances of a wave,
    counted from 0 over all steps; these and later ones read it there."""

    tensor: str
    slice: _Natural
    wave: _Natural
    to: str
    address: _Natural | None = None


class StepInstance(_Record):
    """An instance in a step: of which sub-graph, which, the first of its cores, and its wave in the step."""

    subgraph: int
    instance: int
    first_core: int = 0
    wave: int = 0


class LaunchedStep(_Record):
    """What one launch starts; `sync` says how its instances wait for each other: `waits` or `barriers`."""

    instances: tuple[StepInstance, ...]
    sync: str = "waits"


class StoredRules(_Record):
    """The deterministic rules by which the places of a schedule follow from its decisions, and the order of its
    instances where it has no steps; `dram_tensors` are made in DRAM though the LLB may have room for them."""

    order: str = "depth first"
    scopes: str = "llb where it fits"
    weights: str = "resident"
    prefetch: _Natural = 1
    dram_tensors: tuple[str, ...] = ()


class Schedule(_Record):
    """A whole schedule; nothing else is needed to rebuild the kernels byte for byte.

    `layer_order` names all layers in the order in which sub-graphs are runs of them; empty for the file's. Instances
    that `instruction_orders` does not name run their instructions in the order of their sub-graph's `order_a`. With
    `rules` there are no tensors, weights and moves, which follow from these; so do steps that are left out.
    """

    version: int
    model: str
    model_hash: str
    machine: str
    batch: _Count
    strategy: str
    l1_rule: str
    order_rule: str
    subgraphs: tuple[Subgraph, ...]
    steps: tuple[LaunchedStep, ...] = ()
    merge: str = "earliest start"
    tensors: dict[str, TensorPlace] = {}
    weights: dict[str, WeightPlace] = {}
    layer_order: tuple[str, ...] = ()
    moves: tuple[TensorMove, ...] = ()
    instruction_orders: tuple[InstructionOrder, ...] = ()
    rules: StoredRules | None = None


def save_schedule(path: str | Path, schedule: Schedule) -> None:
    """Write a schedule as JSON, in a form that depends on nothing but its content."""
    Path(path).write_text(schedule.model_dump_json(indent=1) + "\n", encoding="utf-8")


def load_schedule(path: str | Path) -> Schedule:
    """Read a schedule file; ScheduleError names the file, the key and what was expected."""
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ScheduleError(f"{path}: cannot be read ({error.strerror})") from None
    except (
        ValueError,
        RecursionError,
    ) as error:  # also text that is no UTF-8, and numbers of too many digits
        raise ScheduleError(f"{path} is not a schedule file: {error}") from None
    version = data.get("version") if isinstance(data, dict) else None
    if version != VERSION:
        raise ScheduleError(f"{path}: version is {version!r:.80}, expected {VERSION}")
    _read_own_binding(data.get("subgraphs"))
    try:
        schedule = Schedule.model_validate_json(json.dumps(data))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        got = "" if first["type"] == "missing" else f" (got {first['input']!r:.80})"
        raise ScheduleError(f"{path}: {key}: {first['msg']}{got}") from None
    if schedule.rules is None:
        for key in ("steps", "merge", "tensors", "weights"):
            if key not in schedule.model_fields_set:
                raise ScheduleError(
                    f"{path}: {key}: is missing, expected it or the rules that it follows from"
                )
    else:
        _check_ruled(path, schedule, schedule.rules)
    return schedule


def _check_ruled(path: str | Path, schedule: Schedule, rules: StoredRules) -> None:
    """Raise ScheduleError where a schedule has both rules and what follows from them."""
    for key in ("tensors", "weights", "moves"):
        if getattr(schedule, key):
            raise ScheduleError(f"{path}: {key}: expected none beside rules, which it follows from")
    if schedule.steps and "order" in rules.model_fields_set:
        raise ScheduleError(f"{path}: rules.order: expected none beside steps, which are the order")
    if not schedule.steps and "merge" in schedule.model_fields_set:
        raise ScheduleError(f"{path}: merge: expected none without steps")


def _read_own_binding(subgraphs: object) -> None:
    """Let files be read from before a sub-graph could have several `own_bindings`: there it has one, or null, as
    `own_binding`."""
    for subgraph in subgraphs if isinstance(subgraphs, list) else []:
        if isinstance(subgraph, dict) and "own_binding" in subgraph and "own_bindings" not in subgraph:
            one = subgraph.pop("own_binding")
            subgraph["own_bindings"] = [] if one is None else [one]
