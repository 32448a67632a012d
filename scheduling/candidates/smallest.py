"""The smallest way to run a layer, for layers that fit in none of the ways that are surveyed (candidates.space).

It decides whether a machine can run a network at all: a layer alone, of one image, through shared memory, in the fewest
slices and the fewest pieces with which it fits. Slices come last, since they read what neighbours share again: first
over columns, and where none of these fits, over channels too, of layers that hand these on.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import product

from scheduling.candidates.estimate import Estimate
from scheduling.candidates.sliced import estimate_of, slices_of
from scheduling.choice import CHANNELS, ROWS, Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Evaluator
from scheduling.lowering.planning import plan_instance
from scheduling.lowering.reasons import explain
from scheduling.lowering.tiling import LEGAL, SHORT_ACCUMULATOR, SHORT_L1, SHORT_WEIGHTS

SHORT = (SHORT_L1, SHORT_WEIGHTS, SHORT_ACCUMULATOR)
"""What says that a memory is too small."""


def smallest(evaluator: Evaluator, layer: int) -> tuple[Choice, Estimate]:
    """One layer of one image in the fewest slices over channels, then over columns, with which anything fits, on the
    ways to spread it that are estimated fastest, each in the fewest pieces that fit. Raises IllegalSchedule where
    nothing does, with what the narrowest slices are short of.
    """
    network, cores = evaluator.network, evaluator.machine.cores
    powers = [2**k for k in range(cores.bit_length())]
    ways = [pair for pair in product(powers, powers) if math.prod(pair) <= cores]
    tried: list[Choice] = []
    for channels in _halvings(_channel_units(evaluator, layer)):
        for columns in _halvings(network.tensors[network.layers[layer].output].columns):
            alone = Choice(layer, layer + 1, network.batch, split_columns=columns, split_channels=channels)
            here = [_fewest_pieces(evaluator, alone, *pair) for pair in ways]
            legal = [(found.cycles, choice, found) for choice, found in here if found.status == LEGAL]
            if legal:
                return min(legal)[1:]
            tried = [choice for choice, _ in here] + tried
    raise IllegalSchedule(_shortage(evaluator, tried))


def _channel_units(evaluator: Evaluator, layer: int) -> int:
    """Into how many slices over channels a layer can be cut."""
    try:
        return evaluator.templates.frames.channel_units(Choice(layer, layer + 1)).units
    except IllegalSchedule:
        return 1


def _fewest_pieces(
    evaluator: Evaluator, alone: Choice, ways_rows: int, ways_channels: int
) -> tuple[Choice, Estimate]:
    """One layer in the slices of `alone` and in the fewest pieces that fit, or in the most that there are."""
    network = evaluator.network
    tried: list[tuple[Choice, Estimate]] = []
    for pieces in _halvings(network.tensors[network.layers[alone.first].output].rows):
        tried = []
        for axis in (ROWS, CHANNELS):
            choice = alone._replace(
                ways_rows=ways_rows, ways_channels=ways_channels, pieces=pieces, axis=axis
            )
            found = estimate_of(evaluator, choice)
            if found.status == LEGAL:
                return choice, found
            tried.append((choice, found))
    return tried[0]


def _shortage(evaluator: Evaluator, choices: Sequence[Choice]) -> str:
    """Why none of these choices for a layer fits: of the narrowest slices for which a memory is too small the ones that
    are short by the fewest bytes."""
    reasons = []
    for place, choice in enumerate(choices):
        found = _first_shortage(evaluator, choice)
        if found is not None:
            status, layer, short = found
            words = explain(evaluator.network, evaluator.machine, choice, status, layer, short)
            reasons.append((status not in SHORT, -choice.slices, short, place, words))
    return min(reasons)[-1]


def _first_shortage(evaluator: Evaluator, choice: Choice) -> tuple[int, int, int] | None:
    """What the first instance of a choice that does not fit is short of: (status, layer, bytes)."""
    for frame, _ in slices_of(evaluator, choice):
        for part in range(choice.split_columns):
            planned = plan_instance(frame.table, evaluator.machine_table, frame.choice, 0, part)
            status, layer, short = (int(figure) for figure in planned[:3])
            if status != LEGAL:
                return status, layer, short
    return None


def _halvings(size: int) -> Iterator[int]:
    """Into how many parts a size is cut: 1, 2, 4 and so on, and at last as many as it is long."""
    parts = 1
    while parts < size:
        yield parts
        parts *= 2
    yield max(1, size)
