"""Whether the axes and ways of a choice can be, whatever fits, and words for what cannot be lowered."""

from __future__ import annotations

from hwmodel.machines.machine import Machine
from scheduling.choice import CACHE, CACHE_LLB, Choice
from scheduling.errors import IllegalSchedule
from scheduling.lowering.planning import check_axes, check_streams_columns
from scheduling.lowering.reasons import explain
from scheduling.lowering.tiling import LEGAL
from scheduling.templates.frames import Frames, subgraph_name


class Checks:
    """Checks choices of a network on `machine`, each once."""

    def __init__(self, frames: Frames, machine: Machine) -> None:
        self._frames = frames
        self._machine = machine
        self._passed: set[Choice] = set()

    def clear(self) -> None:
        """Forget what was checked."""
        self._passed.clear()

    def check(self, choice: Choice) -> None:
        """Raise IllegalSchedule where a choice's axes and ways cannot be, whatever fits."""
        if choice in self._passed:
            return
        name = subgraph_name(self._frames.network, choice)
        if choice.halo == CACHE_LLB and self._machine.memories.llb is None:
            raise IllegalSchedule(
                f"{name}: overlaps cannot be cached in the llb, which {self._machine.name} has not"
            )
        frames = self._frames.all_of(choice)
        if choice.halo > CACHE and len(frames) > 1:
            raise IllegalSchedule(
                f"{name}: overlaps of slices over channels that are not as wide as one another, or copy from other "
                "places, cannot be cached outside L1, since each has the place of the one before"
            )
        for frame in frames:
            if frame.turned:
                self.expect_legal(choice, check_streams_columns(self._frames.table, choice))
            self.expect_legal(choice, check_axes(frame.table, frame.choice))
        self._passed.add(choice)

    def expect_legal(self, choice: Choice, found: tuple[int, int, int]) -> None:
        """Raise IllegalSchedule with the reason where what compiled code found, (status, layer, short bytes), is not
        LEGAL."""
        status, layer, short = found
        if status != LEGAL:
            raise IllegalSchedule(
                explain(self._frames.network, self._machine, choice, int(status), int(layer), int(short))
            )
