"""Which slices of a choice look alike to lowering, so that their instances share a template."""

from __future__ import annotations

import numpy as np

from scheduling.choice import Choice
from scheduling.lowering.shapes import alike_columns, alike_rows
from scheduling.lowering.tables import Ints
from scheduling.templates.checks import Checks
from scheduling.templates.frames import Frames, Parts


class AlikeSlices:
    """Slices of choices that look alike, found once for each choice."""

    def __init__(self, frames: Frames, checks: Checks) -> None:
        self._frames = frames
        self._checks = checks
        self._known: dict[Choice, tuple[list[int], list[int], list[int]]] = {}
        self._instances: dict[tuple[Choice, bool], Ints] = {}

    def clear(self) -> None:
        """Forget what was found."""
        self._known.clear()
        self._instances.clear()

    def of(self, choice: Choice) -> tuple[list[int], list[int], list[int]]:
        """For the row, column and channel slices of a choice in its frame, the first ones that look like them. Raises
        IllegalSchedule where the choice cannot be."""
        known = self._known.get(choice)
        if known is None:
            self._checks.check(choice)
            frame, channels = self._frames.of(choice), self._frames.alike_channels(choice)
            if choice.several_bindings:  # a tensor may lie in several ways, which need not move alike
                rows = list(range(frame.choice.split_rows))
                columns = list(range(frame.choice.split_columns))
            else:
                rows = alike_rows(frame.table, frame.choice).tolist()
                columns = alike_columns(frame.table, frame.choice).tolist()
            known = self._known[choice] = rows, columns, channels
        return known

    def parts(self, choice: Choice, part: int, which_rows: bool) -> Parts:
        """The first slice that looks like the one that an instance makes, counted within a slice of the batch;
        `which_rows` where it matters which rows these are."""
        row, column, channel = self._frames.parts(choice, part)
        rows, columns, channels = self.of(choice)
        return Parts(row if which_rows else rows[row], columns[column], channels[channel])

    def instances(self, choice: Choice, which_rows: bool) -> Ints:
        """(slices,) for each instance of a slice of the batch the first one that shares its template."""
        known = self._instances.get((choice, which_rows))
        if known is None:
            kinds = [
                (self.parts(choice, part, which_rows), finds_weights(choice, part))
                for part in range(choice.slices)
            ]
            first: dict[tuple[Parts, bool], int] = {}
            for part, kind in enumerate(kinds):
                first.setdefault(kind, part)
            known = self._instances[choice, which_rows] = np.array([first[kind] for kind in kinds], np.int64)
        return known


def finds_weights(choice: Choice, part: int) -> bool:
    """Whether an instance, counted within a slice of the batch, finds all weights in the buffer."""
    return choice.keep_weights == 1 and part % choice.tiles > 0
