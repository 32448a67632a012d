"""The roofline of a machine as an SVG figure: MACs a second by MACs per byte, for every memory that kernels read."""

from __future__ import annotations

import math

from hwmodel.machines.describe import balance_points, peak_macs_per_second
from hwmodel.machines.machine import Machine
from hwmodel.machines.svg import COLOURS, GRID, Point, document, line, text

WIDTH, HEIGHT = 760, 420
LEFT, RIGHT, TOP, BOTTOM = 70, 30, 50, 48


def roofline(machine: Machine) -> str:
    """Both axes logarithmic, rates of the whole chip. A line rises to the peak with a memory's bandwidth; where they
    meet, its balance point is marked."""
    peak = peak_macs_per_second(machine)
    points = balance_points(machine)
    decades = [math.log10(point.macs_per_byte) for point in points]
    first, last = math.floor(min(decades)) - 1, math.ceil(max(decades)) + 1
    top = math.ceil(math.log10(peak) + 0.15)
    bottom = math.floor(math.log10(peak) - (max(decades) - first))  # the slowest line starts above it

    def place(x: float, y: float) -> Point:
        """A point by the logarithms of MACs per byte and of MACs a second."""
        across, up = (x - first) / (last - first), (y - bottom) / (top - bottom)
        return LEFT + across * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    parts = [
        text(LEFT, 16, f"{machine.name}: at most {peak / 1e12:.4g} TMAC/s"),
        text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, "MACs per byte", "middle"),
        text(8, TOP - 14, "MACs a second"),
    ]
    for x in range(first, last + 1):
        parts.append(line((place(x, bottom), place(x, top)), GRID, 1))
        at = place(x, bottom)
        parts.append(text(at[0], at[1] + 16, f"{10.0**x:g}", "middle"))
    for y in range(bottom, top + 1):
        parts.append(line((place(first, y), place(last, y)), GRID, 1))
        at = place(first, y)
        parts.append(text(at[0] - 6, at[1] + 4, f"{_with_prefix(10.0**y)}", "end"))
    height = math.log10(peak)
    parts.append(line((place(min(decades), height), place(last, height)), COLOURS[-1], 2))
    for k, (point, decade) in enumerate(zip(points, decades, strict=True)):
        colour = COLOURS[k % len(COLOURS)]
        parts.append(line((place(first, height - (decade - first)), place(decade, height)), colour, 2))
        ridge = place(decade, height)
        parts.append(line((ridge, (ridge[0], HEIGHT - BOTTOM)), GRID, 1))
        rate = point.bytes_per_cycle * machine.clock_ghz
        words = f"{point.link}: {rate:.4g} GB/s, {point.macs_per_byte:.4g} MACs a byte"
        key = HEIGHT - BOTTOM - 14 - 18 * (len(points) - 1 - k)
        parts.append(line(((WIDTH - RIGHT - 310, key - 4), (WIDTH - RIGHT - 286, key - 4)), colour, 2))
        parts.append(text(WIDTH - RIGHT - 280, key, words))
    return document(WIDTH, HEIGHT, parts)


def _with_prefix(rate: float) -> str:
    """A power of ten as `10 G`."""
    for prefix, size in (("P", 1e15), ("T", 1e12), ("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if rate >= size:
            return f"{rate / size:g} {prefix}"
    return f"{rate:g}"
