"""Plain-text tables: alignment, headers of several lines, numbers."""

import pytest

from report.table import Column, counted, decimals_for, number, render


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
    "smallest, decimals", [(0, 0), (1234.5, 0), (100, 0), (12.34, 1), (1.2345, 2), (0.01234, 4), (1e-12, 6)]
)
def test_decimals_show_three_digits_of_the_smallest_number(smallest: float, decimals: int) -> None:
    assert decimals_for(smallest) == decimals


def test_thousands_are_separated() -> None:
    assert number(1234567.891, 1) == "1,234,567.9"


def test_things_are_counted_in_words() -> None:
    assert [counted(count, "image") for count in (0, 1, 2, 1600)] == [
        "0 images",
        "1 image",
        "2 images",
        "1,600 images",
    ]
