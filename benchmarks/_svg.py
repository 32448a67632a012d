"""Curves with spread as an SVG file, written by hand: no plotting library is needed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 60, 150, 34, 44
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#444444")
TICKS = 5

Point = tuple[float, float]


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
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>',
        _text(LEFT, 14, title),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, x_label, "middle"),
        _text(8, TOP - 4, y_label),
    ]
    for k in range(TICKS):
        value = low * (top / low) ** (k / (TICKS - 1))
        start, (end, height) = place(1, value), place(last, value)
        parts.append(_line((start, (end, height)), "#dddddd", 1))
        parts.append(_text(LEFT - 6, height + 4, f"{value:.3g}", "end"))
    for power in range(int(math.log10(last)) + 1):
        x, y = place(10**power, low)
        parts.append(_text(x, y + 16, str(10**power), "middle"))
    for k, band in enumerate(bands):
        colour = COLOURS[k % len(COLOURS)]
        upper = _steps([place(x, y) for x, y in zip(band.x, band.greatest, strict=True) if math.isfinite(y)])
        lower = _steps([place(x, y) for x, y in zip(band.x, band.least, strict=True) if math.isfinite(y)])
        middle = _steps([place(x, y) for x, y in zip(band.x, band.median, strict=True) if math.isfinite(y)])
        outline = _points([*upper, *reversed(lower)])
        parts.append(f'<polygon points="{outline}" fill="{colour}" fill-opacity="0.15"/>')
        parts.append(_line(middle, colour, 2))
        parts.append(_text(WIDTH - RIGHT + 34, TOP + 18 * k + 12, band.name))
        key = (WIDTH - RIGHT + 10, TOP + 18 * k + 8), (WIDTH - RIGHT + 28, TOP + 18 * k + 8)
        parts.append(_line(key, colour, 2))
    return "\n".join([*parts, "</svg>", ""])


def _steps(points: Sequence[Point]) -> list[Point]:
    """A cost holds until the next one is known."""
    corners = [(after[0], before[1]) for before, after in pairwise(points)]
    return [p for pair in zip(points, [*corners, *points[-1:]], strict=True) for p in pair]


def _points(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)


def _line(points: Sequence[Point], colour: str, width: int) -> str:
    return f'<polyline points="{_points(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'
