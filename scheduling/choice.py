"""Choice: the decisions about one sub-graph, as plain integers that compiled code takes as they are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from hwmodel.compiled import compiled, compiled_leaf
from scheduling.errors import UnsupportedDecision

ROWS = 0
CHANNELS = 1
COLUMNS = 2
CHANNEL_RING = 3

RECOMPUTE = 0
CACHE = 1
CACHE_LLB = 2
CACHE_DRAM = 3

RULE_SCALE = 20
"""An instruction-order rule orders operations by layer + a x piece; it is stored as the integer a x 20."""


class Choice(NamedTuple):
    """How one run of layers [first, stop) becomes kernels.

    `split_*`: slices of the output per axis; one instance each. `ways_*`: how an instance is spread over cores;
    `ways_rows` along the axis that is streamed, so over the columns where `axis` is COLUMNS.
    `pieces` parts along `axis` (ROWS or COLUMNS: of every layer, streamed through rings; CHANNELS: output channels of
    every contraction; CHANNEL_RING: that too, and an output that only later sub-graphs read is stored part by part,
    scheduling.lowering.channel_rings). The other one of rows and columns is the *cross* axis: an instance has its part
    of it whole.
    `rule`: a x RULE_SCALE in the operation order key layer + a x piece. `overlap`: 1 lets weights be loaded as soon
    as their place is free, also under the previous kernel; 0 is one layer after the other.
    `halo`: what happens to what neighbouring slices of the cross axis both need. RECOMPUTE: each makes it; CACHE: the
    earlier slice leaves it in L1 for the next one, so nothing is made or loaded twice; CACHE_LLB, CACHE_DRAM: there.
    `keep_weights`: 1 where instances of one slice of the batch find the weights of the first of them in the buffer.
    With either, the instances of a slice of the batch follow one another.
    `split_channels`: each slice over the channels makes its part of those of all tensors (lowering.channel_slices).
    Instances are counted by slices of the batch, then of channels, rows and columns.
    `own_*`: up to MOST_OWN runs of layers, in their order, that are bound in a way of their own and not by `ways_*`,
    each packed into an integer (`packed_run`), over the first of the same cores; 0 where there are no more.
    """

    first: int
    stop: int
    split_batch: int = 1
    split_rows: int = 1
    ways_batch: int = 1
    ways_rows: int = 1
    ways_channels: int = 1
    pieces: int = 1
    axis: int = ROWS
    rule: int = RULE_SCALE
    overlap: int = 1
    split_columns: int = 1
    halo: int = RECOMPUTE
    keep_weights: int = 0
    split_channels: int = 1
    own_1: int = 0
    own_2: int = 0
    own_3: int = 0
    own_4: int = 0
    own_5: int = 0

    @property
    def tiles(self) -> int:
        """Instances of one slice of the channels in one of the batch."""
        return self.split_rows * self.split_columns

    @property
    def slices(self) -> int:
        """Instances of one slice of the batch."""
        return self.split_channels * self.tiles

    @property
    def instances(self) -> int:
        """Instances of the sub-graph, a kernel each."""
        return self.split_batch * self.slices

    @property
    def consecutive(self) -> bool:
        """Whether the instances of a slice of the batch must follow one another."""
        return self.tiles > 1 and (self.halo != RECOMPUTE or self.keep_weights == 1)

    @property
    def cores(self) -> int:
        """Cores that an instance is spread over."""
        return self.ways_batch * self.ways_rows * self.ways_channels

    @property
    def own_runs(self) -> tuple[OwnRun, ...]:
        """The runs of layers with a binding of their own."""
        return tuple(OwnRun(*run_layers(run), *run_ways(run)) for run in packed_runs(self) if run)

    @property
    def several_bindings(self) -> bool:
        """Whether some layers have a binding of their own."""
        return self.own_1 != 0

    def with_own_runs(self, runs: Sequence[OwnRun]) -> Choice:
        """The same with these runs of layers with a binding of their own. Raises UnsupportedDecision where there are
        more than MOST_OWN, or where a number is larger than a packed run holds."""
        if len(runs) > MOST_OWN:
            raise UnsupportedDecision(
                f"{len(runs)} runs of layers with a binding of their own, expected at most {MOST_OWN}"
            )
        packed = [packed_run(run) for run in runs]
        return self._replace(**dict(zip(OWN_FIELDS, [*packed, *[0] * (MOST_OWN - len(runs))], strict=True)))


CHOICE_FIELDS = len(Choice._fields)

OWN_FIELDS = ("own_1", "own_2", "own_3", "own_4", "own_5")
MOST_OWN = len(OWN_FIELDS)


@compiled
def choice_of(row: NDArray[np.int64]) -> Choice:
    """A Choice from its fields in an array, (CHOICE_FIELDS,) or longer."""
    return Choice(
        row[0], row[1], row[2], row[3], row[4], row[5], row[6], row[7], row[8], row[9], row[10], row[11],
        row[12], row[13], row[14], row[15], row[16], row[17], row[18], row[19],
    )  # fmt: skip


def in_whole_rows(choice: Choice) -> bool:
    """Whether the instances of a slice of the batch make runs of whole rows of what leaves the sub-graph."""
    across = choice.split_columns > 1 or choice.split_channels > 1
    return not across and choice.axis != COLUMNS and choice.halo == RECOMPUTE


class OwnRun(NamedTuple):
    """Layers [first, stop) of a sub-graph and the ways over batch, rows and channels by which they are bound."""

    first: int
    stop: int
    batch: int
    rows: int
    channels: int


_LAYER_BITS, _WAYS_BITS = 16, 10
_LAYERS, _WAYS = 1 << _LAYER_BITS, 1 << _WAYS_BITS


def packed_run(run: OwnRun) -> int:
    """A run as an integer, as a Choice has it. Raises UnsupportedDecision where it has too many layers or ways for
    that."""
    if not 0 <= run.first < run.stop < _LAYERS or not all(0 < ways < _WAYS for ways in run[2:]):
        raise UnsupportedDecision(
            f"{run}: expected layers in ascending order below {_LAYERS} and from 1 to {_WAYS - 1} ways over each axis"
        )
    packed = 0
    for value, bits in zip(run, (_LAYER_BITS, _LAYER_BITS, _WAYS_BITS, _WAYS_BITS, _WAYS_BITS), strict=True):
        packed = packed << bits | value
    return packed


@compiled_leaf
def packed_runs(choice: Choice) -> tuple[int, int, int, int, int]:
    """The packed runs of layers with a binding of their own; 0 where there are no more."""
    return choice.own_1, choice.own_2, choice.own_3, choice.own_4, choice.own_5


@compiled_leaf
def run_layers(run: int) -> tuple[int, int]:
    """First layer of a packed run, and the one behind its last; 0 and 0 of a run of 0."""
    layers = run >> 3 * _WAYS_BITS
    return layers >> _LAYER_BITS, layers % _LAYERS


@compiled_leaf
def run_ways(run: int) -> tuple[int, int, int]:
    """Ways of a packed run over the batch, the rows and the channels."""
    return (run >> 2 * _WAYS_BITS) % _WAYS, (run >> _WAYS_BITS) % _WAYS, run % _WAYS


@compiled_leaf
def layer_ways(choice: Choice, layer: int) -> tuple[int, int, int]:
    """Ways over the batch, the rows and the channels by which a layer is bound."""
    if choice.own_1:
        for run in packed_runs(choice):
            first, stop = run_layers(run)
            if first <= layer < stop:
                return run_ways(run)
    return choice.ways_batch, choice.ways_rows, choice.ways_channels


@compiled_leaf
def same_binding(choice: Choice, one: int, other: int) -> bool:
    """Whether two layers are bound alike."""
    return choice.own_1 == 0 or layer_ways(choice, one) == layer_ways(choice, other)


@compiled_leaf
def most_row_ways(choice: Choice) -> int:
    """Row ways of the binding that has most of them."""
    most = choice.ways_rows
    if choice.own_1:
        for run in packed_runs(choice):
            most = max(most, run_ways(run)[1])
    return most


@compiled_leaf
def row_pieces(choice: Choice) -> int:
    """Parts of the rows of an instance's tensors."""
    return 1 if choice.axis in (CHANNELS, CHANNEL_RING) else choice.pieces
