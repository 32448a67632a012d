"""The benchmarks as commands: what they are listed with, their help, and bad input; nothing is measured."""

import importlib
import sys

import pytest

from benchmarks import __main__ as runner
from benchmarks._command import descriptions, run
from graph.importer import load_model

NAMES = tuple(descriptions())


def test_every_benchmark_is_listed_with_what_it_measures(capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main([]) == runner.main(["--help"]) == 0
    listed = capsys.readouterr().out.splitlines()
    for name, text in descriptions().items():
        assert len(text) > 20 and "python -m" not in text
        assert sum(line.split()[:1] == [name] and line.endswith(text) for line in listed) == 2


@pytest.mark.parametrize("name", NAMES)
def test_help_and_unknown_options_run_nothing(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    module = importlib.import_module(f"benchmarks.{name}")
    for option, status in (("--help", 0), ("--colour=red", 2)):
        monkeypatch.setattr(sys, "argv", [f"{name}.py", option])
        with pytest.raises(SystemExit) as ended:
            module.main()
        assert ended.value.code == status
    said = capsys.readouterr()
    assert said.out.startswith(f"usage: python -m benchmarks.{name} ")
    assert descriptions()[name].split()[0] in said.out
    assert said.err == (
        f"python -m benchmarks.{name}: error: unrecognized arguments: --colour=red (--help lists the options)\n"
    )


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["nosuch"], "no such benchmark: nosuch; there are: annealing, "),
        (["timing", "exact", "--only", "orders"], "--only: options need a single benchmark, got 2"),
        (["--only", "orders"], "--only: expected the name of a benchmark before its options"),
    ],
)
def test_names_that_cannot_be_run(line: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert runner.main(line) == 2
    assert message in capsys.readouterr().err


def test_a_model_that_there_is_not(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["rammer.py"])

    def main() -> None:
        load_model("nosuch")

    with pytest.raises(SystemExit) as ended:
        run(main)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("python -m benchmarks.rammer: error: nosuch: does not exist")
    assert said.count("\n") == 1
