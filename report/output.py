"""The output directory: complete or not there at all, and never in place of somebody's files.

Everything is written to a temporary directory beside the wanted one, which takes its name when all went well.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwmodel.programs.kernels import foreign_files

TOOL = "oncore"
SCHEDULE = "schedule.json"
KERNELS = "kernels"
TRACE = "trace.json"
SUMMARY = "summary.json"
NAMES = frozenset({SCHEDULE, KERNELS, TRACE, SUMMARY})
"""What an output directory holds."""


class OutputError(ValueError):
    """An output directory that cannot be used; the message names it and says why."""


def check_output(path: Path, force: bool) -> None:
    """Raise OutputError unless results may be written to `path`.

    They may where it does not exist, is empty or, with `force`, holds an earlier result and nothing else.
    """
    target = path.resolve()
    if not target.exists():
        blocking = next(parent for parent in target.parents if parent.exists())
        if not blocking.is_dir():
            raise OutputError(f"{path}: cannot be made, since {blocking} is not a directory")
        _check_writable(path, blocking)
        return
    if not target.is_dir():
        raise OutputError(f"{path}: is not a directory")
    if target == Path.cwd().resolve():
        raise OutputError(f"{path}: is the current directory, which cannot be replaced; name another one")
    _check_writable(path, target.parent)
    if not any(target.iterdir()):
        return
    if not _is_result(target):
        raise OutputError(f"{path}: holds files that are not a result of {TOOL}; name another directory")
    if not force:
        raise OutputError(f"{path}: holds an earlier result; --force replaces it")


@contextmanager
def output_directory(path: Path, force: bool) -> Iterator[Path]:
    """A new directory to write to, which becomes `path` when the block ends, and vanishes when it raises.

    Raises OutputError as `check_output` does, and where the file system refuses.
    """
    check_output(path, force)
    target = path.resolve()
    made = [parent for parent in target.parents if not parent.exists()]
    partial = target.with_name(f".{target.name}.{secrets.token_hex(4)}.partial")
    try:
        try:
            partial.mkdir(parents=True)
        except OSError as error:
            raise OutputError(f"{path}: cannot be made ({error.strerror})") from error
        yield partial
        check_output(path, force)
        _replace(partial, target)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        for parent in made:
            _remove_empty(parent)
        raise


def _check_writable(path: Path, directory: Path) -> None:
    if not os.access(directory, os.W_OK | os.X_OK):
        raise OutputError(f"{path}: cannot be made, since {directory} is not writable")


def _replace(partial: Path, target: Path) -> None:
    """Give `partial` the name `target`; what was there is kept until that has worked."""
    if not target.exists():
        partial.rename(target)
        return
    old = partial.with_suffix(".old")
    target.rename(old)
    try:
        partial.rename(target)
    except OSError:
        old.rename(target)
        raise
    shutil.rmtree(old)


def _remove_empty(directory: Path) -> None:
    if directory.is_dir() and not any(directory.iterdir()):
        directory.rmdir()


def _is_result(directory: Path) -> bool:
    """Whether a directory holds what this tool writes, and nothing else, also among the kernels."""
    if {entry.name for entry in directory.iterdir()} - NAMES:
        return False
    kernels = directory / KERNELS
    if kernels.exists() and (not kernels.is_dir() or foreign_files(kernels)):
        return False
    try:
        summary = json.loads((directory / SUMMARY).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return isinstance(summary, dict) and summary.get("tool") == TOOL
