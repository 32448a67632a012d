"""The output directory: complete or not there at all, and never in place of somebody's files."""

import json
from pathlib import Path

import pytest

from report.output import OutputError, check_output, output_directory


def write_result(directory: Path, mark: str = "first") -> None:
    (directory / "kernels").mkdir()
    manifest = {"format": "oncore-kernels", "files": {"k.asm": ""}, "mark": mark}
    (directory / "kernels" / "manifest.json").write_text(json.dumps(manifest))
    (directory / "kernels" / "k.asm").write_text(mark)
    (directory / "summary.json").write_text(json.dumps({"tool": "oncore", "mark": mark}))


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def test_a_new_directory_appears_when_the_block_ends(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    with output_directory(out, force=False) as partial:
        write_result(partial)
        assert not out.exists()
        assert partial.parent == out.parent
    assert names(out) == {"kernels", "summary.json"}
    assert names(out.parent) == {"out"}


def test_an_empty_directory_is_taken(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    with output_directory(out, force=False) as partial:
        write_result(partial)
    assert names(tmp_path) == {"out"}
    assert names(out) == {"kernels", "summary.json"}


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_nothing_is_left_when_the_block_raises(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error), output_directory(tmp_path / "deep" / "out", force=False) as partial:
        write_result(partial)
        raise error
    assert names(tmp_path) == set()


def test_an_earlier_result_stays_when_the_block_raises(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_result(out)
    with pytest.raises(RuntimeError), output_directory(out, force=True) as partial:
        write_result(partial, "second")
        raise RuntimeError
    assert json.loads((out / "summary.json").read_text())["mark"] == "first"
    assert names(tmp_path) == {"out"}


def test_force_replaces_an_earlier_result(tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    write_result(out)
    (out / "trace.json").write_text("{}")
    with output_directory(out, force=True) as partial:
        write_result(partial, "second")
    assert (out / "kernels" / "k.asm").read_text() == "second"
    assert names(out) == {"kernels", "summary.json"}
    assert names(tmp_path) == {"out"}


def test_an_earlier_result_is_refused_without_force(tmp_path: Path) -> None:
    write_result(tmp_path)
    with pytest.raises(OutputError, match="holds an earlier result; --force replaces it"):
        check_output(tmp_path, force=False)


@pytest.mark.parametrize(
    "files",
    [
        {"notes.txt": "mine"},
        {"summary.json": "{}"},
        {"summary.json": "not JSON"},
        {"schedule.json": "{}"},
        {"summary.json": '{"tool": "oncore"}', "notes.txt": "mine"},
    ],
)
def test_what_is_no_result_is_refused_even_with_force(tmp_path: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(OutputError, match="holds files that are not a result of oncore"):
        check_output(tmp_path, force=True)
    assert names(tmp_path) == set(files)


@pytest.mark.parametrize("name", ["y.npz", "mine.bin"])
def test_a_result_with_a_file_of_the_users_among_the_kernels_is_refused_even_with_force(
    tmp_path: Path, name: str
) -> None:
    write_result(tmp_path)
    (tmp_path / "kernels" / name).write_text("mine")
    with pytest.raises(OutputError, match="holds files that are not a result of oncore"):
        check_output(tmp_path, force=True)
    assert (tmp_path / "kernels" / name).read_text() == "mine"


def test_a_file_and_the_current_directory_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "file"
    file.write_text("mine")
    with pytest.raises(OutputError, match="is not a directory"):
        check_output(file, force=True)
    with pytest.raises(OutputError, match=r"since .*file is not a directory"):
        check_output(file / "below", force=True)
    inside = tmp_path / "inside"
    inside.mkdir()
    monkeypatch.chdir(inside)
    with pytest.raises(OutputError, match="is the current directory"):
        check_output(Path(), force=False)
