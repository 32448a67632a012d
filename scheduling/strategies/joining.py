"""Joining: sub-graphs taken front to back, each as long as a rule lets its layers be one kernel."""

from __future__ import annotations

from collections.abc import Callable

from scheduling.candidates.space import MOST_LAYERS
from scheduling.choice import Choice


def join(alone: tuple[Choice, ...], together: Callable[[int, int], Choice | None]) -> tuple[Choice, ...]:
    """Choices that cover all layers: `alone`, one for each layer, with neighbours joined.

    From each first layer on, the next layer is taken in as long as `together` has a choice for layers [first, stop).
    """
    joined: list[Choice] = []
    first = 0
    while first < len(alone):
        longest = alone[first]
        for stop in range(first + 2, min(len(alone), first + MOST_LAYERS) + 1):
            choice = together(first, stop)
            if choice is None:
                break
            longest = choice
        joined.append(longest._replace(overlap=0))
        first = longest.stop
    return tuple(joined)
