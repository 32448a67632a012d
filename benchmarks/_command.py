"""What the benchmarks share as commands: a parser whose help says what is measured, and bad input in one line."""

from __future__ import annotations

import argparse
import ast
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

from agents.errors import PolicyError
from graph.errors import ModelError
from hwmodel.errors import MachineError
from scheduling.errors import ScheduleError

BAD_INPUT, INTERRUPTED = 2, 130


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line, and that takes no shortened options."""

    def error(self, message: str) -> NoReturn:
        self.exit(BAD_INPUT, f"{self.prog}: error: {message} (--help lists the options)\n")


def parser(file: str, doc: str | None) -> Parser:
    """The parser of a benchmark without options of its own yet; `file` and `doc` are its module's."""
    return Parser(
        prog=f"python -m benchmarks.{Path(file).stem}", description=first_line(doc or ""), allow_abbrev=False
    )


def first_line(doc: str) -> str:
    """What a benchmark's documentation says in one line, without the command that may stand behind it."""
    return doc.partition("\n")[0].partition(": `python")[0].rstrip(".")


def descriptions() -> dict[str, str]:
    """What each benchmark measures, by name in alphabetical order; none of them is imported."""
    files = sorted(Path(__file__).parent.glob("[!_]*.py"))
    return {
        file.stem: first_line(ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "")
        for file in files
    }


def run(main: Callable[[], int | None]) -> NoReturn:
    """Exit with what a benchmark returns; with status 2 and one line where a model, a machine, a schedule, a policy or
    a file cannot be used."""
    name = f"python -m benchmarks.{Path(sys.argv[0]).stem}"
    try:
        sys.exit(main())
    except (MachineError, ModelError, PolicyError, ScheduleError) as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or 'output'}: {error.strerror}"
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    print(f"{name}: error: {message}", file=sys.stderr)
    sys.exit(BAD_INPUT)
