"""Lists the benchmarks; runs those that are named, or `all` in the order of their names.

Options behind a single name are that benchmark's: `python -m benchmarks exact --only orders`.
"""

from __future__ import annotations

import subprocess
import sys
from itertools import takewhile

from benchmarks._command import BAD_INPUT, descriptions

ALL = "all"
"""In place of names: every one."""


def main(arguments: list[str]) -> int:
    """Run each benchmark in a process of its own, so that none warms up another; return the worst status."""
    known = descriptions()
    wanted = list(takewhile(lambda text: not text.startswith("-"), arguments))
    options = arguments[len(wanted) :]
    if not wanted:
        if options and options != ["--help"] and options != ["-h"]:
            return _refused(f"{options[0]}: expected the name of a benchmark before its options")
        print(_listing(known), end="")
        return 0
    names = list(known) if wanted == [ALL] else wanted
    if unknown := [name for name in names if name not in known]:
        return _refused(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(known)}, or {ALL}")
    if options and len(names) > 1:
        return _refused(f"{options[0]}: options need a single benchmark, got {len(names)}")
    status = 0
    for name in names:
        if len(names) > 1:
            print(f"== {name}: {known[name]}", flush=True)
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *options])
        status = max(status, abs(done.returncode))
    return status


def _refused(message: str) -> int:
    print(f"python -m benchmarks: error: {message}", file=sys.stderr)
    return BAD_INPUT


def _listing(known: dict[str, str]) -> str:
    width = max(map(len, known))
    lines = [f"{name:<{width}}  {text}\n" for name, text in known.items()]
    return "".join(
        [
            "usage: python -m benchmarks NAME [options] | NAME NAME ... | all\n\n",
            *lines,
            "\npython -m benchmarks NAME --help lists the options of one. Many take minutes, some hours.\n",
        ]
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
