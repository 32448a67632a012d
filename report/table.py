"""Plain-text tables: columns aligned by spaces, which read the same in a terminal, a log and a README."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

_GAP = "  "


@dataclass(frozen=True, slots=True)
class Column:
    """A column's header (lines separated by a newline, the last ones level with each other) and alignment."""

    header: str
    left: bool = False

    def aligned(self, text: str, width: int) -> str:
        """`text` padded to `width`."""
        return text.ljust(width) if self.left else text.rjust(width)


def render(columns: Sequence[Column], rows: Iterable[Sequence[str]]) -> str:
    """The table as lines without trailing spaces, a rule under the header; ends with a newline."""
    body = [list(row) for row in rows]
    for row in body:
        if len(row) != len(columns):
            raise ValueError(f"a row of {len(row)} cells in a table of {len(columns)} columns: {row}")
    heads = [column.header.split("\n") for column in columns]
    height = max(len(head) for head in heads)
    heads = [[""] * (height - len(head)) + head for head in heads]
    widths = [max(len(text) for text in [*head, *(row[i] for row in body)]) for i, head in enumerate(heads)]
    lines = [[head[line] for head in heads] for line in range(height)]
    lines += [["-" * width for width in widths], *body]
    return "".join(
        _GAP.join(
            column.aligned(text, width) for column, text, width in zip(columns, line, widths, strict=True)
        ).rstrip()
        + "\n"
        for line in lines
    )


def number(value: float, digits: int = 0) -> str:
    """A number with thousands separators and `digits` decimals."""
    return f"{value:,.{digits}f}"


def counted(count: int, noun: str) -> str:
    """A number of things, such as `1 image` or `16 images`."""
    return f"{number(count)} {noun}{'' if count == 1 else 's'}"


def decimals_for(smallest: float, digits: int = 3) -> int:
    """Decimals with which a column's smallest number has `digits` significant digits, at most 6."""
    decimals = 0
    while 0 < smallest * 10**decimals < 10 ** (digits - 1) and decimals < 6:
        decimals += 1
    return decimals
