"""Curves with spread as an SVG file, written by hand: no plotting library is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from hwmodel.machines.svg import COLOURS, GRID, Point, area, document, line, text

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 34, 44
TICKS = 5


class Band(NamedTuple):
    """A named curve: least, median and greatest y at each x."""

    name: str
    x: Sequence[float]
    least: Sequence[float]
    median: Sequence[float]
    greatest: Sequence[float]


def svg(title: str, x_label: str, y_label: str, bands: Sequence[Band]) -> str:
    """A figure of the bands: both axes logarithmic, values that are not finite left out."""
    finite = [y for band in bands for y in (*band.least, *band.greatest) if math.isfinite(y)]
    low, top = min(finite), max(finite)
    last = max(2.0, *(x for band in bands for x in band.x))
    if top == low:
        top = 2 * low

    def place(x: float, y: float) -> Point:
        across, up = math.log(x) / math.log(last), math.log(y / low) / math.log(top / low)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        text(LEFT, 14, title),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"),
        text(8, TOP - 4, y_label),
    ]
    for k in range(TICKS):
        value = low * (top / low) ** (k / (TICKS - 1))
        start, (end, height) = place(1, value), place(last, value)
        parts.append(line((start, (end, height)), GRID, 1))
        parts.append(text(LEFT - 6, height + 4, f"{value:.3g}", "end"))
    for power in range(int(math.log10(last)) + 1):
        x, y = place(10**power, low)
        parts.append(text(x, y + 16, str(10**power), "middle"))
    for k, band in enumerate(bands):
        colour = COLOURS[k % len(COLOURS)]
        upper = _steps([place(x, y) for x, y in zip(band.x, band.greatest, strict=True) if math.isfinite(y)])
        lower = _steps([place(x, y) for x, y in zip(band.x, band.least, strict=True) if math.isfinite(y)])
        middle = _steps([place(x, y) for x, y in zip(band.x, band.median, strict=True) if math.isfinite(y)])
        parts.append(area([*upper, *reversed(lower)], colour))
        parts.append(line(middle, colour, 2))
        parts.append(text(WIDTH - RIGHT + 34, TOP + 18 * k + 12, band.name))
        key = (WIDTH - RIGHT + 10, TOP + 18 * k + 8), (WIDTH - RIGHT + 28, TOP + 18 * k + 8)
        parts.append(line(key, colour, 2))
    return document(WIDTH, HEIGHT, parts)


def _steps(points: Sequence[Point]) -> list[Point]:
    """A cost holds until the next one is known."""
    corners = [(after[0], before[1]) for before, after in pairwise(points)]
    return [p for pair in zip(points, [*corners, *points[-1:]], strict=True) for p in pair]
