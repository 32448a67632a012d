"""Parts of SVG figures, written by hand: no plotting library is needed."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f3c8d", "#444444")
"""Colours that colour-blind readers can tell apart."""

GRID = "#dddddd"

Point = tuple[float, float]


def document(width: int, height: int, parts: Iterable[str]) -> str:
    """An SVG file of these parts on white."""
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
    )
    return "\n".join([head, *parts, "</svg>", ""])


def line(points: Sequence[Point], colour: str, width: int) -> str:
    """A line through these points."""
    return f'<polyline points="{_joined(points)}" fill="none" stroke="{colour}" stroke-width="{width}"/>'


def area(points: Sequence[Point], colour: str) -> str:
    """A pale area within these points."""
    return f'<polygon points="{_joined(points)}" fill="{colour}" fill-opacity="0.15"/>'


def text(x: float, y: float, words: str, anchor: str = "start") -> str:
    """Words that start, end or have their middle at x."""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(words)}</text>'


def _joined(points: Sequence[Point]) -> str:
    return " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
