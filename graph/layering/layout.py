"""Digits: how the positions of an ONNX tensor map to the elements of the stored tensor behind it.

The elements of one stored image, (H, W, C) in order, are numbered. An ONNX dimension is a sequence of digits,
the slowest first, each of which adds position x stride to the element's number. Reshape cuts digits, Transpose
permutes dimensions, a slice shortens a digit, a broadcast is a stride of 0: none of them moves data.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple


class Digit(NamedTuple):
    """`size` positions `stride` elements apart; with `batch`, the images that the file is written for."""

    size: int
    stride: int
    batch: bool = False


Digits = tuple[Digit, ...]


def extent(digits: Iterable[Digit]) -> int:
    """Positions that digits count, the batch included."""
    return math.prod(digit.size for digit in digits)


def merged(digits: Iterable[Digit]) -> Digits:
    """The same sequence with as few digits as possible."""
    found: list[Digit] = []
    for digit in digits:
        last = found[-1] if found else None
        if digit.size == 1:
            continue
        if last and not last.batch and not digit.batch and last.stride == digit.size * digit.stride:
            found[-1] = Digit(last.size * digit.size, digit.stride)
        else:
            found.append(digit)
    return tuple(found)


def without_batch(digits: Iterable[Digit]) -> Digits:
    """The digits inside one image."""
    return tuple(digit for digit in digits if not digit.batch)


def ordinal(sizes: Sequence[int], step: int = 1) -> Digits:
    """Digits of `sizes` that count consecutive elements, `step` apart."""
    strides = [step * math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
    return tuple(Digit(size, stride) for size, stride in zip(sizes, strides, strict=True))


def is_block(digits: Iterable[Digit], size: int, stride: int = 1) -> bool:
    """Whether digits count exactly `size` elements `stride` apart."""
    return merged(digits) == merged([Digit(size, stride)])


def regrouped(digits: Iterable[Digit], sizes: Iterable[int]) -> tuple[Digits, ...] | None:
    """The sequence cut into dimensions of `sizes`, or None where a digit would have to be cut unevenly."""
    waiting = list(reversed(merged(digits)))
    dims: list[Digits] = []
    for size in sizes:
        taken: list[Digit] = []
        left = size
        while left > 1:
            digit = waiting.pop()
            if left % digit.size == 0:
                taken.append(digit)
                left //= digit.size
            elif digit.size % left == 0 and not digit.batch:
                inner = digit.size // left
                taken.append(Digit(left, digit.stride * inner))
                waiting.append(Digit(inner, digit.stride))
                left = 1
            else:
                return None
        dims.append(tuple(taken))
    return tuple(dims)


def common_cut(first: Iterable[Digit], second: Iterable[Digit]) -> tuple[Digits, Digits] | None:
    """Two sequences of one extent cut into digits of equal sizes, or None where that cannot be."""
    a, b = ([digit for digit in digits if digit.size > 1][::-1] for digits in (list(first), list(second)))
    cut: tuple[list[Digit], list[Digit]] = ([], [])
    while a and b:
        size = min(a[-1].size, b[-1].size)
        for waiting, done in ((a, cut[0]), (b, cut[1])):
            digit = waiting.pop()
            inner, rest = divmod(digit.size, size)
            if rest or (digit.batch and inner > 1):
                return None
            done.append(digit if inner == 1 else Digit(size, digit.stride * inner))
            if inner > 1:
                waiting.append(Digit(inner, digit.stride))
    return tuple(cut[0]), tuple(cut[1])


def cut_at(digits: Iterable[Digit], bounds: Iterable[int]) -> Digits | None:
    """Digits cut so that none steps across a multiple of a bound (ascending), or None where that cannot be."""
    found = list(digits)
    for bound in bounds:
        pieces: list[Digit] = []
        for digit in found:
            if digit.batch or not 0 < digit.stride < bound < digit.size * digit.stride:
                pieces.append(digit)
                continue
            inner, rest = divmod(bound, digit.stride)
            if rest or digit.size % inner:
                return None
            pieces += [Digit(digit.size // inner, bound), Digit(inner, digit.stride)]
        found = pieces
    return tuple(found)


def sliced(digits: Digits, start: int, step: int, size: int) -> tuple[Digits, int] | None:
    """Positions start, start + step, ... (`size` of them) of a dimension: its digits and the elements before
    them; None where the result is no sequence of digits.
    """
    single = merged(digits)
    if (start, step, size) == (0, 1, extent(single)):
        return single, 0
    if any(digit.batch for digit in single):
        return None
    if len(single) <= 1:
        stride = single[0].stride if single else 0
        return merged([Digit(size, stride * step)]), start * stride
    # Several digits: whole runs of the faster ones, or positions within one run.
    inner = extent(single[1:])
    if step == 1 and start % inner == 0 and size % inner == 0:
        head = single[0]
        return merged([Digit(size // inner, head.stride), *single[1:]]), start // inner * head.stride
    low, high = sorted((start, start + (size - 1) * step))
    if low // inner == high // inner:
        found = sliced(single[1:], start % inner, step, size)
        return found and (found[0], found[1] + start // inner * single[0].stride)
    if step > 0 and inner % step == 0 and start % inner < step and size % (inner // step) == 0:
        runs = size // (inner // step)
        found = sliced(single[1:], start % inner, step, inner // step)
        head = Digit(runs, single[0].stride)
        return found and (
            merged([head, *found[0]]),
            found[1] + start // inner * single[0].stride,
        )
    return None


def progression(indices: Sequence[int]) -> tuple[Digits, int] | None:
    """Digits and offset that give a list of integers, such as 0 0 1 1 2 2, or None where there are none."""
    found: list[Digit] = []
    rest = list(indices)
    offset = rest[0] if rest else 0
    while len(rest) > 1:
        stride, run = rest[1] - rest[0], 2
        while run < len(rest) and rest[run] - rest[run - 1] == stride:
            run += 1
        if len(rest) % run:
            return None
        heads = rest[::run]
        if any(rest[i] != heads[i // run] + i % run * stride for i in range(len(rest))):
            return None
        found.append(Digit(run, stride))
        rest = heads
    return merged(reversed(found)), offset
