"""The decorator that compiles a function with numba and keeps the machine code for the next process.

numba writes the code beside the source, or else under the user's cache directory, and it is strict about
both: where neither can be written it refuses to decorate the function, and where a directory stops being
writable later (or the disk is full) the first call fails. A cache that cannot be used is no reason not to
run, so here the function is compiled anew in each process instead, and one warning says so.

numba also looks only at the file that holds the function. Constants and compiled functions that the file
imports are part of the code too, so here the cache is also out of date when any file of this project that
it imports, directly or not, has changed.
"""

import functools
import hashlib
import pickle
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from numba.core.caching import FunctionCache
from numba.core.dispatcher import Dispatcher

F = TypeVar("F", bound=Callable[..., Any])

# The packages that hold compiled functions, or constants that these use. A file's own package is one too.
_PACKAGES = frozenset({"graph", "hwmodel", "scheduling", "env"})

_IMPORT = re.compile(
    r"^[ \t]*(?:from[ \t]+([\w.]+)[ \t]+import[ \t]+(\([^)]*\)|[^\n]*)|import[ \t]+([^\n]*))", re.MULTILINE
)

# What numba's reading of an index or a data file raises when the file cannot be used.
_UNUSABLE = (OSError, EOFError, pickle.UnpicklingError)

# What it raises when the index names a module or a type of the project that was moved or renamed since.
_OUT_OF_DATE = (ImportError, AttributeError)

_warned = False


def compiled(function: F) -> F:
    """Compile a function with numba at its first call; it runs without holding the interpreter lock.

    The code is cached on disk between processes where that is possible.
    """
    return _cached(function, numba.njit(nogil=True)(function))


def compiled_leaf(function: F) -> F:
    """Compile a function that makes no arrays, as `compiled` does.

    Arrays that it is given outlive the call, so no references are counted in it: on each array of each call
    that took a quarter of lowering's time.
    """
    njit: Any = numba.njit  # its stub does not know the option
    return _cached(function, njit(nogil=True, _nrt=False)(function))


def compiled_inner(function: F) -> F:
    """Compile a function that makes no arrays into the compiled functions that call it, and only for them.

    It may take large named tuples of arrays: they are not handed over one by one, and no code is made that unpacks them
    from Python, from where it must not be called.
    """
    njit: Any = numba.njit
    options = {"_nrt": False, "forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return _cached(function, njit(nogil=True, **options)(function))


def _cached(function: F, dispatcher: Any) -> F:
    if isinstance(dispatcher, Dispatcher):  # with NUMBA_DISABLE_JIT=1 it is the function itself
        try:
            cast(Any, dispatcher)._cache = _Cache(function)
        except RuntimeError as error:
            if "no locator available" not in str(error):
                raise
            _warn(str(error))
    return cast(F, dispatcher)


class _Cache(FunctionCache):
    """numba's cache of one function, which gives up with a warning where numba's own would raise."""

    def __init__(self, function: Callable[..., Any]) -> None:
        super().__init__(function)
        stamp = _imports_stamp(Path(function.__code__.co_filename), function.__module__)
        self._cache_file._source_stamp = (self._cache_file._source_stamp, stamp)

    def load_overload(self, sig: object, target_context: object) -> Any:
        """Return the cached code for a signature, or None."""
        try:
            return super().load_overload(sig, target_context)
        except _OUT_OF_DATE:
            self._remove_index()
            return None
        except _UNUSABLE as error:
            self._give_up(error)
            return None

    def save_overload(self, sig: object, data: object) -> None:
        """Write the code for a signature."""
        try:
            super().save_overload(sig, data)
        except _UNUSABLE as error:
            self._give_up(error)

    def _remove_index(self) -> None:
        """Make room for a new index; numba's own would fail on the old one again when the new code is saved."""
        try:
            Path(self._cache_file._index_path).unlink(missing_ok=True)
        except OSError as error:
            self._give_up(error)

    def _give_up(self, error: Exception) -> None:
        self.disable()
        _warn(f"{type(error).__name__} in {self.cache_path}: {error}")


def _warn(reason: str) -> None:
    global _warned
    if not _warned:
        _warned = True
        warnings.warn(
            "compiled code cannot be kept on disk, so every process compiles it again, which takes a while "
            f"at its first use; NUMBA_CACHE_DIR can name a writable directory for it ({reason})",
            RuntimeWarning,
            stacklevel=4,
        )


def _imports_stamp(path: Path, module: str) -> str:
    """Hash the text of every file of this project that a module imports, directly or not."""
    parts = (*module.split("."), *(["__init__"] if path.stem == "__init__" else []))
    if path.with_suffix("").parts[-len(parts) :] != parts:
        return ""  # run from elsewhere, such as a notebook: numba's own stamp has to do
    root = path.parents[len(parts) - 1]
    packages = _PACKAGES | {parts[0]}
    found: set[Path] = set()
    queue = [path]
    while queue:
        new = _imported_files(queue.pop(), root, packages) - found
        found |= new
        queue += new
    digest = hashlib.sha256()
    for file in sorted(found):
        digest.update(f"{file.relative_to(root)}\0".encode() + file.read_bytes() + b"\0")
    return digest.hexdigest()


@functools.cache
def _imported_files(path: Path, root: Path, packages: frozenset[str]) -> frozenset[Path]:
    names: set[str] = set()
    for package, members, modules in _IMPORT.findall(path.read_text(encoding="utf-8")):
        if package:
            names.add(package)
            names.update(f"{package}.{name}" for name in re.findall(r"\w+", members))
        names.update(re.findall(r"[\w.]+", modules))
    bases = [root.joinpath(*parts) for parts in (name.split(".") for name in names) if parts[0] in packages]
    return frozenset(
        file for base in bases for file in (base.with_suffix(".py"), base / "__init__.py") if file.is_file()
    )
