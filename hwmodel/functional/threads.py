"""Matrix products on one thread: idle threads of OpenBLAS spin, and cost more than they give on busy processors.

One thread also makes results the same whatever the number of processors. On two processors with other work, the
functional simulator took eight times as long with two threads as with one.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np

# The libraries that numpy's wheels bring, beside the package or in it, and the names their functions may have.
_PLACES = ("../numpy.libs", ".dylibs")
_NAMES = ("scipy_openblas_{}_num_threads64_", "scipy_openblas_{}_num_threads", "openblas_{}_num_threads")

_Functions = tuple[Callable[[], int], Callable[[int], None]]


@cache
def _functions() -> list[_Functions]:
    """The functions that get and set the number of threads, of every OpenBLAS that numpy brought."""
    found: list[_Functions] = []
    for place in _PLACES:
        for path in sorted((Path(np.__file__).parent / place).glob("*openblas*")):
            try:
                library = ctypes.CDLL(str(path))
            except OSError:
                continue
            for name in _NAMES:
                if hasattr(library, name.format("get")) and hasattr(library, name.format("set")):
                    found.append((library[name.format("get")], library[name.format("set")]))
                    break
    return found


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let matrix products run on one thread inside; without effect where numpy has another BLAS."""
    functions = _functions()
    before = [get() for get, _ in functions]
    try:
        for _, put in functions:
            put(1)
        yield
    finally:
        for (_, put), count in zip(functions, before, strict=True):
            put(count)
