"""Faulty command lines: one line on standard error, status 2."""

import re

import pytest

from scripts.options import parse


@pytest.mark.parametrize(
    "line, message",
    [
        ("", "MODEL is missing: a name from --list or the path of an ONNX file"),
        ("resnet50 --batch 0", "argument --batch: '0' is not a whole number of at least 1"),
        ("resnet50 --batch 1.5", "argument --batch: '1.5' is not a whole number of at least 1"),
        ("resnet50 --budget none", "argument --budget: 'none' is not a whole number of at least 1"),
        ("resnet50 --seed -1", "argument --seed: '-1' is not a whole number of at least 0"),
        ("resnet50 --objective speed", "argument --objective: invalid choice: 'speed'"),
        ("resnet50 --strategies dp,,greedy", "'dp,,greedy' is not a list of names separated by commas"),
        ("resnet50 --force", "--force has no meaning without --out"),
        ("resnet50 --replay x.json --head-groups auto", "expected the --head-groups that it was made with"),
        ("resnet50 --head-groups many", "'many' is not auto and not a whole number of at least 1"),
        ("resnet50 --replay x.json --strategies dp", "so --strategies has no meaning beside it"),
        ("resnet50 --replay x.json --policy p", "so --policy has no meaning beside it"),
        (
            "resnet50 --strategies dp --policy p",
            "--policy has no meaning without learned among the strategies",
        ),
        ("resnet50 --bat 3", "unrecognized arguments: --bat 3"),
        ("resnet50 squeezenet", "unrecognized arguments: squeezenet"),
    ],
)
def test_a_faulty_command_line_is_one_line_and_status_2(
    line: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        parse(line.split())
    assert stop.value.code == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(rf"oncore: error: .*{re.escape(message)}.*\n", printed.err)


def test_options_are_read() -> None:
    line = "net.onnx --batch 4 --strategies dp,greedy,dp --objective edp --no-verify --out d"
    found = parse(line.split())
    assert found is not None
    assert (found.model, found.batch, found.strategies) == ("net.onnx", 4, ("dp", "greedy"))
    assert (found.objective, found.verify, str(found.out)) == ("edp", False, "d")
    assert (found.machine, found.budget, found.seed) == (None, 300, 0)


def test_a_list_needs_no_model() -> None:
    assert parse(["--list"]) is None
