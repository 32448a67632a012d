"""Cells of a file of findings: each found in a process of its own, which is stopped when its time is over."""

from __future__ import annotations

import json
import multiprocessing
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
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
    process, receiver = _started(_find_and_send, find)
    found, _ = _received(process, receiver, seconds)
    _stop(process)
    return found


def limited_together(
    make: Callable[[], Callable[[KeyT], Cell]], keys: Sequence[KeyT], seconds: float
) -> Iterator[tuple[KeyT, Cell]]:
    """What the function that `make` gives finds for each key, one after the other in a forked process, so that they
    share what `make` made; with their status as `limited` gives it.

    `seconds` are the limit of `make`, and of each key. After a key that was late, or that stopped the process, those
    behind it go on in a new one. Where `make` fails or is late, its status is that of all keys.
    """
    left = list(keys)
    while left:
        process, receiver = _started(_find_each, make, tuple(left))
        made, alive = _received(process, receiver, seconds)
        if made["status"] != DONE:
            yield from ((key, made) for key in left)
            left, alive = [], False
        while left and alive:
            found, alive = _received(process, receiver, seconds)
            yield left.pop(0), found
        _stop(process)


def _started(work: Callable[..., None], *arguments: object) -> tuple[BaseProcess, Connection]:
    """A forked process that does `work`, whose last argument is where it sends, and where to receive."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=work, args=(*arguments, sender))
    process.start()
    sender.close()
    return process, receiver


def _received(process: BaseProcess, receiver: Connection, seconds: float) -> tuple[Cell, bool]:
    """The next cell that a process sends, and whether to wait for more of it."""
    try:
        if receiver.poll(seconds):
            return receiver.recv(), True
    except EOFError:
        process.join()
        return {"status": f"stopped with exit status {process.exitcode}"}, False
    return {"status": LATE, "limit_s": seconds}, False


def _stop(process: BaseProcess) -> None:
    process.kill()
    process.join()


def _find_and_send(find: Callable[[], Cell], sender: Connection) -> None:
    try:
        sender.send({"status": DONE} | find())
    except (ModelError, ScheduleError) as error:
        sender.send({"status": str(error)})


def _find_each(
    make: Callable[[], Callable[[KeyT], Cell]], keys: tuple[KeyT, ...], sender: Connection
) -> None:
    try:
        find = make()
    except (ModelError, ScheduleError) as error:
        sender.send({"status": str(error)})
        return
    sender.send({"status": DONE})
    for key in keys:
        _find_and_send(partial(find, key), sender)


def append_cells(path: Path, found: Iterable[tuple[KeyT, Cell]], say: Callable[[KeyT, Cell], str]) -> None:
    """Append each cell, as it is found, with its key as a line of the file; what `say` makes of it goes to standard
    error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", encoding="utf-8") as file:
        for key, cell in found:
            file.write(json.dumps(key._asdict() | cell) + "\n")
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
