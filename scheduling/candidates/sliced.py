"""Figures of choices whatever they cut: those that cut channels are lowered in frames of their own, slice by slice.

Compiled code sees one frame at a time (`scheduling.templates.frames`), so what it says of a slice over channels is
added up here, over the slices that look alike.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np

from hwmodel.machines.machine_table import MachineTable
from scheduling.candidates.estimate import ESTIMATE_FIELDS, Estimate, estimate
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.frames import Frame
from scheduling.lowering.tables import Ints
from scheduling.lowering.tiling import LEGAL
from scheduling.timeline.isolated import isolated

SPLIT_CHANNELS = Choice._fields.index("split_channels")


def estimate_of(evaluator: Evaluator, choice: Choice) -> Estimate:
    """The estimate of a choice, with the footprint of the slice that has the largest; where one is not legal, that
    one's. Raises IllegalSchedule where channels cannot be cut so."""
    if choice.split_channels == 1:
        return estimate(evaluator.table, evaluator.machine_table, choice)
    total, peak = np.zeros(ESTIMATE_FIELDS, np.int64), 0
    for frame, times in slices_of(evaluator, choice):
        figures = estimate(frame.table, evaluator.machine_table, frame.choice)
        if figures.status != LEGAL:
            return figures
        total += times * np.array(figures, np.int64)
        peak = max(peak, figures.l1_bytes)
    return Estimate(*total.tolist())._replace(status=LEGAL, l1_bytes=peak)


def isolated_of(evaluator: Evaluator, machine: MachineTable, choices: Ints) -> Ints:
    """(A, 2): `isolated` cycles and DRAM cycles of each choice on `machine`."""
    sliced = choices[:, SPLIT_CHANNELS] > 1
    if not sliced.any():
        return np.asarray(isolated(evaluator.table, machine, choices))
    result = np.empty((len(choices), 2), np.int64)
    result[~sliced] = isolated(evaluator.table, machine, np.ascontiguousarray(choices[~sliced]))
    for row in np.flatnonzero(sliced).tolist():
        choice = Choice(*choices[row, :CHOICE_FIELDS].tolist())
        result[row] = sum(
            times * isolated(frame.table, machine, np.array([frame.choice], np.int64))[0]
            for frame, times in slices_of(evaluator, choice)
        )
    return result


def slices_of(evaluator: Evaluator, choice: Choice) -> Iterator[tuple[Frame, int]]:
    """The frames of the slices of a choice over channels, and how many slices look like each. Raises IllegalSchedule
    where channels cannot be cut so."""
    frames = evaluator.templates.frames
    for part, times in Counter(frames.alike_channels(choice)).items():
        yield frames.of(choice, part), times
