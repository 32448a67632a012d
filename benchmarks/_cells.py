"""Cells of a file of findings: each found in a process of its own, which is stopped when its time is over."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol, TypeVar

from graph.errors import ModelError
from hwmodel.errors import MachineError
from scheduling.errors import ScheduleError

DONE, LATE = "done", "out of time"

Cell = dict[str, Any]
"""What was found out, as one line of a file; `status` is DONE, LATE, or says what went wrong."""


class _Key(Protocol):
    def _asdict(self) -> Cell: ...


KeyT = TypeVar("KeyT", bound=_Key)
"""What a cell is about: a named tuple."""


def limited(find: Callable[[], Cell], seconds: float) -> Cell:
    """What `find` gives in a forked process, with its status; ModelError and ScheduleError become the status.

    torch must not be loaded before the process was forked.
    """
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_find_and_send, args=(find, sender))
    process.start()
    sender.close()
    try:
        found: Cell = receiver.recv() if receiver.poll(seconds) else {"status": LATE, "limit_s": seconds}
    except EOFError:
        process.join()
        found = {"status": f"stopped with exit status {process.exitcode}"}
    process.kill()
    process.join()
    return found


def _find_and_send(find: Callable[[], Cell], sender: Connection) -> None:
    try:
        sender.send({"status": DONE} | find())
    except (ModelError, ScheduleError) as error:
        sender.send({"status": str(error)})


def append_cells(
    path: Path, missing: Iterable[KeyT], find: Callable[[KeyT], Cell], say: Callable[[KeyT, Cell], str]
) -> None:
    """Append what `find` gives for each key, with the key, as a line of the file; what `say` makes of it goes to
    standard error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for key in missing:
            cell = key._asdict() | find(key)
            file.write(json.dumps(cell) + "\n")
            file.flush()
            print(say(key, cell), file=sys.stderr, flush=True)


def exit_status(program: str, work: Callable[[], None]) -> int:
    """Do the work: 0 done, 2 bad input, with one line."""
    try:
        work()
    except (OSError, ValueError, MachineError, ModelError) as error:
        print(f"{program}: {error}", file=sys.stderr)
        return 2
    return 0


def read_lines(path: Path, key_of: Callable[[Cell], object]) -> list[Cell]:
    """The cells of a file; ValueError names the line that is none, or that lacks what `key_of` takes. A last line
    without its end, which a stopped run leaves behind, is cut off.
    """
    text = path.read_text(encoding="utf-8")
    if text and not text.endswith("\n"):
        text = text[: text.rfind("\n") + 1]
        path.write_text(text, encoding="utf-8")
    cells = []
    for number, line in enumerate(text.splitlines(), 1):
        try:
            cell = json.loads(line)
            key_of(cell)
        except (json.JSONDecodeError, KeyError, TypeError) as error:
            raise ValueError(f"{path}, line {number}: is no cell ({error})") from None
        cells.append(cell)
    return cells
