"""The table of coverage."""

from __future__ import annotations

from benchmarks._cells import DONE, LATE, Cell
from benchmarks.coverage import markdown


def cell(strategy: str, network: str, status: str = DONE) -> Cell:
    line = {"machine": "tiny", "model": "unet", "budget": 8, "network": network, "strategy": strategy}
    return line | {"status": status} | ({"decoded": True} if status == DONE else {"limit_s": 30.0})


def test_a_strategy_is_counted_once_and_is_narrow_where_it_was_done_with_a_narrow_version_alone() -> None:
    narrow = "unet:width=4"
    cells = [
        cell("dp", "unet", LATE),
        cell("dp", narrow),
        cell("beam", "unet", LATE),
        cell("beam", narrow),
        cell("beam", "unet"),  # with more time, later
        cell("greedy", "unet", "does not fit"),
    ]
    table = markdown(cells)
    assert "| unet | 2/3, 1 narrow |" in table
    assert "3 schedules are legal; 3 of them were emitted" in table
    assert "- tiny, unet, greedy: does not fit" in table and "out of time" not in table
