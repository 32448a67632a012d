"""The command line: outputs of exported kernels, a machine's table, and one clear line for what is wrong."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hwmodel.__main__ import main
from hwmodel.programs.host import HostLayout
from hwmodel.programs.kernels import save_kernels
from tests.hwmodel import pipelines


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_kernels(tmp_path / "kernels", pipelines.pipeline(), pipelines.machine(), pipelines.weights(), "hash")
    np.savez(tmp_path / "x.npz", x=pipelines.inputs())
    return tmp_path


def call(folder: Path, source: str = "x.npz", target: str = "y.npz", *more: str) -> int:
    places = ["--input", str(folder / source), "--output", str(folder / target)]
    return main(["run", str(folder / "kernels"), *places, *more])


def test_kernels_run_on_arrays(folder: Path) -> None:
    command = [sys.executable, "-m", "hwmodel", "run", str(folder / "kernels")]
    command += ["--input", str(folder / "x.npz"), "--output", str(folder / "y.npz")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
    with np.load(folder / "y.npz") as outputs:
        assert outputs.files == ["out"]
        assert np.allclose(outputs["out"], pipelines.expected(), rtol=1e-5)
    first = (folder / "y.npz").read_bytes()
    assert call(folder, "x.npz", "y.npz", "--arithmetic", "fp32") == 0
    assert (folder / "y.npz").read_bytes() == first
    assert {path.name for path in folder.iterdir()} == {"kernels", "x.npz", "y.npz"}


def test_several_outputs_of_the_model_lie_in_one_buffer(folder: Path) -> None:
    place = HostLayout((4, 2, 1), (4, 2), (1, 4))
    flat = HostLayout((8,), (4, 2), (1, 4), buffer="out")
    save_kernels(
        folder / "kernels",
        pipelines.pipeline(),
        pipelines.machine(),
        pipelines.weights(),
        "hash",
        {"out": place, "flat": flat},
    )
    assert call(folder) == 0
    with np.load(folder / "y.npz") as outputs:
        assert sorted(outputs.files) == ["flat", "out"]
        assert np.allclose(outputs["out"], pipelines.expected(), rtol=1e-5)
        assert np.array_equal(outputs["flat"], outputs["out"].reshape(2, 8))


def test_data_that_does_not_fit_is_one_line(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(folder / "other.npz", z=pipelines.inputs())
    np.savez(folder / "shape.npz", x=pipelines.inputs()[:1])
    np.savez(folder / "text.npz", x=np.array(["a"]))
    np.savez(folder / "objects.npz", x=np.array([{}], dtype=object))
    np.save(folder / "array.npy", pipelines.inputs())
    (folder / "cut.npz").write_bytes((folder / "x.npz").read_bytes()[:-30])
    damaged = bytearray((folder / "x.npz").read_bytes())
    damaged[200] ^= 0xFF
    (folder / "damaged.npz").write_bytes(damaged)
    (folder / "empty.npz").write_bytes(b"")
    for source, message in (
        ("other.npz", "holds z; the kernels take x"),
        ("shape.npz", "input 'x' has shape (1, 4, 2, 3) instead of (2, 4, 2, 3)"),
        ("text.npz", "expected numbers"),
        ("objects.npz", "cannot be read"),
        ("array.npy", "is not an .npz file"),
        ("cut.npz", "cannot be read"),
        ("damaged.npz", "cannot be read"),
        ("empty.npz", "cannot be read"),
        ("missing.npz", "No such file"),
    ):
        assert call(folder, source) == 2
        captured = capsys.readouterr()
        assert captured.out == ""
        assert captured.err.startswith("error: ")
        assert captured.err.count("\n") == 1
        assert message in captured.err
    assert not (folder / "y.npz").exists()


def test_other_errors_are_one_line(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert call(folder, "x.npz", "no/such/y.npz") == 2
    assert "y.npz: cannot be written (No such file" in capsys.readouterr().err
    assert call(folder, "x.npz", ".") == 2
    assert f"{folder}: is a directory, expected the name of an .npz file" in capsys.readouterr().err
    monkeypatch.chdir(folder)
    assert main(["run", "kernels", "--input", "x.npz", "--output", "."]) == 2
    assert ".: is a directory" in capsys.readouterr().err
    (folder / "kernels" / "first.bin").unlink()
    assert call(folder) == 2
    assert "first.bin: cannot be read" in capsys.readouterr().err
    assert main(["describe", "tiny", "--svg", str(folder / "no" / "such.svg")]) == 2
    assert "such.svg: cannot be written (No such file" in capsys.readouterr().err
    assert main(["describe", "nothing"]) == 2
    assert capsys.readouterr().err.startswith("error: no machine is called 'nothing'")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no device that is always full")
def test_output_that_cannot_be_written_is_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "hwmodel", "describe", "tiny"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode != 0
    assert "error: output: No space left on device" in done.stderr
    assert "Traceback" not in done.stderr
