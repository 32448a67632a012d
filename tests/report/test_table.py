"""Plain-text tables: alignment, headers of several lines, numbers."""

import pytest

from report.table import Column, number, render, significant


def test_columns_are_as_wide_as_their_widest_cell() -> None:
    columns = [Column("strategy", left=True), Column("cycles"), Column("energy\nmJ")]
    rows = [["layerwise", "1,000", "2.5"], ["dp", "12", "0.125"]]
    assert render(columns, rows) == (
        "                   energy\n"
        "strategy   cycles      mJ\n"
        "---------  ------  ------\n"
        "layerwise   1,000     2.5\n"
        "dp             12   0.125\n"
    )


def test_a_table_without_rows_is_its_header() -> None:
    assert render([Column("a", left=True), Column("bc")], []) == "a  bc\n-  --\n"


def test_a_row_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a row of 1 cells in a table of 2 columns"):
        render([Column("a"), Column("b")], [["1"]])


@pytest.mark.parametrize(
    "value, text",
    [
        (0, "0"),
        (1234567, "1,234,567"),
        (12.34, "12.3"),
        (1.2345, "1.23"),
        (0.01234, "0.0123"),
        (999.6, "1,000"),
    ],
)
def test_significant_digits(value: float, text: str) -> None:
    assert significant(value) == text


def test_thousands_are_separated() -> None:
    assert number(1234567.891, 1) == "1,234,567.9"
