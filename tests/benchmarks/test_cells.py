"""Cells that are found together: one that is late or stops its process costs only itself."""

import os
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks._cells import DONE, LATE, Cell, limited_together
from scheduling.errors import IllegalSchedule


class Key(NamedTuple):
    name: str


def sharing() -> Callable[[Key], Cell]:
    """Counts what it was asked for since it was made."""
    asked: list[str] = []

    def find(key: Key) -> Cell:
        asked.append(key.name)
        if key.name == "late":
            time.sleep(600)
        if key.name == "stopped":
            os._exit(3)
        if key.name == "illegal":
            raise IllegalSchedule("l1 is short by 4 bytes")
        return {"asked": list(asked)}

    return find


def refused() -> Callable[[Key], Cell]:
    raise IllegalSchedule("nothing fits")


def test_cells_share_a_process_until_one_is_late_or_stops_it() -> None:
    keys = [Key(name) for name in ("one", "illegal", "two", "late", "three", "stopped", "four")]
    found = list(limited_together(sharing, keys, 3.0))
    assert [key for key, _ in found] == keys
    assert [cell for _, cell in found] == [
        {"status": DONE, "asked": ["one"]},
        {"status": "l1 is short by 4 bytes"},
        {"status": DONE, "asked": ["one", "illegal", "two"]},
        {"status": LATE, "limit_s": 3.0},
        {"status": DONE, "asked": ["three"]},
        {"status": "stopped with exit status 3"},
        {"status": DONE, "asked": ["four"]},
    ]


def test_what_cannot_be_made_is_the_status_of_all() -> None:
    keys = [Key("one"), Key("two")]
    assert list(limited_together(refused, keys, 60.0)) == [(key, {"status": "nothing fits"}) for key in keys]
