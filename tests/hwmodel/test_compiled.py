"""The compiling decorator, where its cache can be written and where it cannot."""

import importlib.util
import os
import subprocess
import sys
import textwrap
import warnings
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest
from numba.core.caching import CacheImpl, IndexDataCacheFile, InTreeCacheLocator

from hwmodel import compiled as compiled_module
from hwmodel.compiled import compiled

SOURCE = """
from hwmodel.compiled import compiled

@compiled
def double(x):
    return 2 * x

@compiled
def triple(x):
    return 3 * x
"""


@pytest.fixture(autouse=True)
def _never_warned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled_module, "_warned", False)


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module file whose code can be cached in the __pycache__ beside it and nowhere else."""
    monkeypatch.setattr(CacheImpl, "_locator_classes", [InTreeCacheLocator])
    path = tmp_path / "functions.py"
    path.write_text(SOURCE)
    yield path
    sys.modules.pop("functions", None)


def load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # numba pickles functions by module name
    spec.loader.exec_module(module)
    return module


def refuse(*_: object, **__: object) -> None:
    raise PermissionError(13, "Permission denied")


def test_keeps_the_code_for_the_next_process(source: Path) -> None:
    first = load(source)
    assert first.double(4) == 8
    assert list((source.parent / "__pycache__").glob("functions.double-*.nbi"))
    again = load(source)
    assert again.double(5) == 10
    assert sum(again.double.stats.cache_hits.values()) == 1


def test_runs_without_the_interpreter_lock_and_keeps_its_name(source: Path) -> None:
    double = load(source).double
    assert double.targetoptions["nogil"] is True
    assert double.targetoptions["nopython"] is True
    assert double.__name__ == "double"


def test_compiles_uncached_with_one_warning_where_no_directory_can_be_written(
    source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(InTreeCacheLocator, "ensure_cache_path", refuse)
    with pytest.warns(RuntimeWarning, match="NUMBA_CACHE_DIR.*no locator available") as caught:
        module = load(source)
    assert len(caught) == 1
    assert module.double(4) == 8
    assert module.triple(4) == 12
    assert not list(source.parent.rglob("*.nb?"))


@pytest.mark.parametrize(
    "owner, name", [(InTreeCacheLocator, "ensure_cache_path"), (IndexDataCacheFile, "save")]
)
def test_a_directory_that_stops_being_writable_costs_one_warning(
    source: Path, monkeypatch: pytest.MonkeyPatch, owner: type, name: str
) -> None:
    module = load(source)
    monkeypatch.setattr(owner, name, refuse)
    with pytest.warns(RuntimeWarning, match="PermissionError") as caught:
        assert module.double(4) == 8
        assert module.double(2.5) == 5.0
        assert module.triple(4) == 12
    assert len(caught) == 1


def test_a_broken_index_costs_one_warning(source: Path) -> None:
    load(source).double(4)
    (index,) = (source.parent / "__pycache__").glob("functions.double-*.nbi")
    index.write_bytes(index.read_bytes()[:3])
    module = load(source)
    with pytest.warns(RuntimeWarning):
        assert module.double(4) == 8


def test_other_errors_are_not_hidden(source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("something else")

    monkeypatch.setattr(compiled_module._Cache, "__init__", fail)
    with pytest.raises(RuntimeError, match="something else"):
        load(source)


def test_a_place_where_no_folder_can_be_made(source: Path) -> None:
    (source.parent / "__pycache__").write_text("a file, which stops even the superuser")
    with pytest.warns(RuntimeWarning, match="no locator available"):
        assert load(source).double(4) == 8


def test_a_changed_import_makes_cached_code_out_of_date(tmp_path: Path) -> None:
    """Constants are part of the machine code, so a new value in another file must be seen."""
    package = tmp_path / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "user.py").write_text(
        textwrap.dedent("""
            from hwmodel.compiled import compiled
            from parts.middle import (
                FACTOR,
            )

            @compiled
            def scale(x):
                return FACTOR * x
        """)
    )
    (package / "middle.py").write_text("from parts import constants\nFACTOR = constants.FACTOR\n")
    root = Path(compiled_module.__file__).parents[1]
    command = "from parts.user import scale; print(scale(1), sum(scale.stats.cache_hits.values()))"
    environment = {
        **os.environ,
        "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    environment.pop("NUMBA_CACHE_DIR", None)

    def run(factor: int) -> str:
        (package / "constants.py").write_text(f"FACTOR = {factor}\n")
        done = subprocess.run(
            [sys.executable, "-c", command], env=environment, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    assert run(3) == "3 0"
    assert run(3) == "3 1"
    assert run(5) == "5 0"


def test_code_kept_for_a_type_that_has_moved_is_out_of_date(tmp_path: Path) -> None:
    """An update of the project moves modules, while the code that the earlier one kept stays on disk."""
    package = tmp_path / "parts"
    package.mkdir()
    (package / "__init__.py").write_text("")
    pair = "from typing import NamedTuple\nclass Pair(NamedTuple):\n    x: int\n    y: int\n"
    user = textwrap.dedent("""
        from hwmodel.compiled import compiled
        from parts.MODULE import Pair

        @compiled
        def add(pair):
            return pair.x + pair.y
    """)
    root = Path(compiled_module.__file__).parents[1]
    environment = {**os.environ, "PYTHONPATH": f"{tmp_path}{os.pathsep}{root}"}
    environment.pop("NUMBA_CACHE_DIR", None)

    def run(module: str) -> str:
        (package / f"{module}.py").write_text(pair)
        (package / "user.py").write_text(user.replace("MODULE", module))
        command = (
            f"from parts.{module} import Pair; from parts.user import add; "
            "print(add(Pair(1, 2)), sum(add.stats.cache_hits.values()))"
        )
        done = subprocess.run(
            [sys.executable, "-W", "error", "-c", command],
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    assert run("before") == "3 0"
    assert run("before") == "3 1"
    (package / "before.py").unlink()
    assert run("after") == "3 0"
    assert run("after") == "3 1"


def test_a_function_without_a_file_is_still_compiled() -> None:
    namespace: dict[str, object] = {"__name__": "nowhere"}
    exec("def half(x):\n    return x / 2\n", namespace)
    with pytest.warns(RuntimeWarning, match="no locator available"):
        half = compiled(namespace["half"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert half(3) == 1.5
