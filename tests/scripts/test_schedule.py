"""The command from end to end on a small network, and bad input: one clear line, status 2, nothing written."""

import errno
import json
import re
from pathlib import Path

import numpy as np
import pytest
import yaml
from numpy.typing import NDArray

from hwmodel.__main__ import main as run_kernels
from hwmodel.machines.machine import load_machine
from hwmodel.programs import kernels
from report import verify_result
from scheduling.strategies import CONCURRENT, DEFAULT, DEFAULT_REFINED, strategy_names
from scripts import solving
from scripts.schedule import main
from tests.graph.onnx_helpers import GraphBuilder
from tests.graph.test_outputs import with_both
from tests.hwmodel.machine_variants import without_llb
from tests.report.models import small_model

FEW = ["--strategies", "layerwise,graphturbo,greedy"]


@pytest.fixture
def model(tmp_path: Path) -> Path:
    folder = tmp_path / "model"
    folder.mkdir()
    return small_model(folder)


def contents(directory: Path) -> dict[str, bytes]:
    return {
        path.relative_to(directory).as_posix(): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_a_run_prints_tables_and_writes_files(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(model), "--machine", "tiny", "--batch", "4", *FEW, "--out", str(out)]) == 0
    printed = capsys.readouterr()
    rows = [line.split()[0] for line in printed.out.splitlines() if line]
    for name in ("layerwise_b2", "layerwise", "graphturbo", "greedy"):
        assert name in rows
    assert "Largest difference to onnxruntime:" in printed.out
    assert "greedy ..." in printed.err
    assert {path.name for path in out.iterdir()} == {"schedule.json", "kernels", "trace.json", "summary.json"}
    assert {path.name for path in tmp_path.iterdir()} == {"model", "out"}
    summary = json.loads((out / "summary.json").read_text())
    assert summary["batch"] == 4
    assert summary["objective"] == "latency"
    assert set(summary["strategies"]) == {"layerwise_b2", "layerwise", "graphturbo", "greedy"}
    assert summary["strategies"]["layerwise_b2"]["batch"] == 2
    costs = {name: row["cycles"] for name, row in summary["strategies"].items() if row["batch"] == 4}
    assert costs[summary["chosen"]] == min(costs.values())
    assert summary["bound_cycles"] <= min(costs.values())
    assert summary["max_relative_error"] < 1e-4
    assert json.loads((out / "trace.json").read_text())["otherData"]["cycles"] == min(costs.values())


def test_a_machine_without_llb(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every default strategy gives a schedule through DRAM, and the best one's kernels give the right outputs."""
    path = tmp_path / "machine.yaml"
    path.write_text(yaml.safe_dump(without_llb(load_machine("tiny")).model_dump(mode="json")))
    out = tmp_path / "out"
    assert main([str(model), "--machine", str(path), "--batch", "4", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["strategies"]) > {"learned", DEFAULT_REFINED, *DEFAULT} - set(CONCURRENT)
    assert all(row["llb_bytes"] == 0 < row["dram_bytes"] for row in summary["strategies"].values())
    printed = capsys.readouterr()
    assert "everything through DRAM" in printed.out
    assert "cannot run rammer_base, rammer_barriers, rammer: left out" in printed.err
    assert '"LLB bytes in use"' not in (out / "trace.json").read_text()


def test_nothing_is_refined_unasked_where_kernels_run_side_by_side(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """It takes too long there; one line says so, and how to ask for it."""
    monkeypatch.setattr(solving, "DEFAULT", ("layerwise",))
    out = tmp_path / "out"
    assert main([str(model), "--machine", "rammer_v100", "--no-verify", "--out", str(out)]) == 0
    summary = json.loads((out / "summary.json").read_text())
    assert set(summary["strategies"]) == {"layerwise_b2", "layerwise", "learned"}
    said = capsys.readouterr().err
    assert "dp+all takes up to minutes on rammer_v100, where kernels run side by side: left out" in said


def test_learned_is_compared_with_strategies_that_are_not_refined(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    line = [str(model), "--machine", "tiny", "--no-verify", "--strategies"]
    assert main([*line, "layerwise,learned,graphturbo+prefetch"]) == 0
    assert "in latency than layerwise, the best of the others" in capsys.readouterr().out
    assert main([*line, "learned,graphturbo+prefetch"]) == 0
    assert "graphturbo+prefetch" in capsys.readouterr().out.rpartition("learned ")[2]


@pytest.mark.parametrize("machine", ["edge_tcm", "systolic_128", "ascend_multi"])
def test_machines_of_other_kinds(
    model: Path, machine: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """int8 without an LLB, a systolic array, many cores with im2col: kernels whose outputs are right."""
    out = tmp_path / "out"
    line = [str(model), "--machine", machine, "--batch", "2", "--strategies", "layerwise,graphturbo"]
    assert main([*line, "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    native = load_machine(machine).element == "fp16"
    assert ("in fp16 arithmetic" in printed) == native
    assert "in fp32 arithmetic" in printed
    summary = json.loads((out / "summary.json").read_text())
    assert summary["bound_cycles"] <= min(row["cycles"] for row in summary["strategies"].values())


def test_learned_is_compared_with_strategies_and_not_with_itself_in_another_order(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Better orders of instructions for the learned schedule are a row of the table, and no other strategy."""
    line = [
        str(model),
        "--machine",
        "tiny",
        "--batch",
        "4",
        "--no-verify",
        "--strategies",
        "layerwise,learned",
    ]
    assert main([*line, "--order-instructions", "search", "--budget", "40"]) == 0
    said = capsys.readouterr().out
    assert "* chosen: learned_ordered, learned (" in said
    assert re.search(r"^learned_ordered \*", said, re.MULTILINE)
    assert "better in latency than layerwise, the best of the others" in said


def test_without_out_nothing_is_written(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    assert main([str(model), "--machine", "tiny", *FEW]) == 0
    assert contents(work) == {}


def test_a_replayed_schedule_gives_the_same_kernels(model: Path, tmp_path: Path) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    line = [str(model), "--machine", "tiny", "--batch", "3"]
    assert main([*line, *FEW, "--no-verify", "--out", str(first)]) == 0
    replay = ["--replay", str(first / "schedule.json")]
    assert main([str(model), *replay, "--no-verify", "--out", str(second)]) == 0
    assert contents(first / "kernels") == contents(second / "kernels")
    assert contents(first)["schedule.json"] == contents(second)["schedule.json"]
    found = [json.loads((path / "summary.json").read_text()) for path in (first, second)]
    assert found[0]["chosen"] == found[1]["chosen"]
    assert found[0]["max_relative_error"] is None
    assert (
        found[0]["strategies"][found[0]["chosen"]]["cycles"]
        == (found[1]["strategies"][found[1]["chosen"]]["cycles"])
    )


def test_a_schedule_edited_by_hand(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """With rules in place of what follows from the decisions a split may change; the result is stored whole."""
    first, second = tmp_path / "first", tmp_path / "second"
    line = [str(model), "--machine", "tiny", "--batch", "4", "--strategies", "layerwise"]
    assert main([*line, "--no-verify", "--out", str(first)]) == 0
    edited = json.loads((first / "schedule.json").read_text())
    for key in ("steps", "merge", "tensors", "weights", "moves"):
        del edited[key]
    split = edited["subgraphs"][0]["split"]
    split["batch"] = 2 if split["batch"] == 1 else 1
    path = tmp_path / "edited.json"
    path.write_text(json.dumps(edited | {"rules": {"scopes": "dram"}, "strategy": "by_hand"}))
    assert main([str(model), "--replay", str(path), "--out", str(second)]) == 0
    said = capsys.readouterr().out
    assert "Sub-graphs of by_hand: places by the file's rules" in said
    assert "Largest difference to onnxruntime" in said
    whole = json.loads((second / "schedule.json").read_text())
    assert whole["rules"] is None and whole["subgraphs"] == edited["subgraphs"]
    named = [each for step in whole["steps"] for each in step["instances"] if each["subgraph"] == 0]
    assert len(named) == split["batch"]


def test_the_best_groups_of_heads(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Two groups cost less than one here; the summary says what was taken, and a replay needs that."""
    line = ["vit_b16:layers=1,width=512,heads=2,hidden=512", "--batch", "4", "--no-verify"]
    out = tmp_path / "heads"
    assert main([*line, "--head-groups", "auto", "--strategies", "graphturbo", "--out", str(out)]) == 0
    found = re.search(
        r"^Groups of heads: 2, by latency of those tried: 1 ([\d,]+) \(\w+\), 2 ([\d,]+) \(\w+\); "
        r"[\d.]+ s, which are in no strategy's seconds$",
        capsys.readouterr().out,
        re.MULTILINE,
    )
    assert found is not None
    one, two = (int(text.replace(",", "")) for text in found.groups())
    summary = json.loads((out / "summary.json").read_text())
    assert two < one
    assert summary["head_groups"] == 2
    assert summary["strategies"]["graphturbo"]["cycles"] == two
    replay = ["--replay", str(out / "schedule.json")]
    assert main([*line, *replay, "--head-groups", "2"]) == 0
    refused([*line, *replay], r"model is '.* in 2 groups of heads', expected", tmp_path, capsys)


def outputs_of(
    kernels: Path, tmp_path: Path, **inputs: NDArray[np.float32]
) -> dict[str, NDArray[np.float32]]:
    """What exported kernels make of a user's file of inputs."""
    np.savez(tmp_path / "x.npz", **inputs)
    files = ["--input", str(tmp_path / "x.npz"), "--output", str(tmp_path / "y.npz")]
    assert run_kernels(["run", str(kernels), *files]) == 0
    with np.load(tmp_path / "y.npz") as found:
        return dict(found)


def test_exported_kernels_run_on_the_users_own_data(model: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert main([str(model), "--machine", "tiny", *FEW, "--no-verify", "--out", str(out)]) == 0
    image = np.random.default_rng(0).standard_normal((1, 3, 8, 8)).astype(np.float32)
    (scores,) = outputs_of(out / "kernels", tmp_path, image=image).values()
    assert scores.sum() == pytest.approx(1.0, abs=1e-5)


def test_outputs_that_are_not_finite_are_said(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert main([str(model), "--machine", "tiny", *FEW, "--no-verify", "--out", str(out)]) == 0
    image = np.zeros((1, 3, 8, 8), np.float32)
    outputs_of(out / "kernels", tmp_path, image=image)
    assert "not finite" not in capsys.readouterr().err
    image[0, 1, 2, 3] = np.nan
    outputs_of(out / "kernels", tmp_path, image=image)
    assert re.search(
        r"y.npz: \d+ of \d+ values of '.*' are not finite: an input is not", capsys.readouterr().err
    )


def test_outputs_that_no_layer_makes(tmp_path: Path) -> None:
    model = with_both(tmp_path)
    out = tmp_path / "out"
    assert main([model, "--machine", "tiny", "--batch", "2", *FEW, "--out", str(out)]) == 0
    x = np.random.default_rng(0).normal(size=(2, 4, 6, 6)).astype(np.float32)
    found = outputs_of(out / "kernels", tmp_path, x=x)
    assert set(found) == {"x//output", "t0", "t1"}
    assert np.array_equal(found["x//output"], x)
    assert np.array_equal(found["t1"], np.maximum(x, 0))


def test_a_failed_verification_is_status_1_and_writes_nothing(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(verify_result.Check, "passed", property(lambda self: False))
    out = tmp_path / "out"
    assert main([str(model), "--machine", "tiny", *FEW, "--out", str(out)]) == 1
    assert "verification failed: the outputs differ from onnxruntime's" in capsys.readouterr().err
    assert {path.name for path in tmp_path.iterdir()} == {"model"}


def test_a_full_disk_is_no_failed_verification(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def write(directory: Path, files: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(kernels, "_write", write)
    line = [str(model), "--machine", "tiny", "--strategies", "layerwise"]
    refused(line, r"kernels: cannot be written \(No space left on device\)", tmp_path, capsys)


def test_the_list_names_models_machines_and_strategies(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list"]) == 0
    printed = capsys.readouterr().out
    for name in ("resnet50", "stcp920", "tiny", "graphturbo_bfs_plain", "learned", "edp"):
        assert re.search(rf"^{name}\b", printed, re.MULTILINE)
    for name in (*strategy_names(), "learned"):
        (row,) = re.findall(
            rf"^{name} +(by default|if named|by default where .* side) {{2,}}(.+)$", printed, re.MULTILINE
        )
        assert row[0].startswith("by default") == (name in (*DEFAULT, "learned"))
        assert len(row[1]) > 20


def refused(line: list[str], message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The command ends with status 2 and one line that matches, and leaves no output directory."""
    capsys.readouterr()
    assert main([*line, "--out", str(tmp_path / "out")]) == 2
    printed = capsys.readouterr()
    last = printed.err.splitlines()[-1]
    assert re.match("oncore: error: ", last), printed.err
    assert re.search(message, last), printed.err
    assert "Traceback" not in printed.err
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_prove_says_how_far_the_order_is_from_the_least_memory_and_traffic(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = small_model(tmp_path)
    assert main([str(model), "--machine", "tiny", *FEW, "--no-verify", "--prove"]) == 0
    said = capsys.readouterr().out
    found = re.search(
        r"Peak of live tensors, layer by layer: ([\d,]+) bytes .* ([\d,]+) in the best order", said
    )
    assert found is not None and "which is proven" in said
    mine, least = (int(group.replace(",", "")) for group in found.groups())
    assert mine >= least > 0
    found = re.search(
        r"layer by layer with .*: ([\d,]+) bytes in the schedule's order, ([\d,]+) in the best", said
    )
    assert found is not None
    mine, least = (int(group.replace(",", "")) for group in found.groups())
    assert mine >= least >= 0


@pytest.mark.parametrize(
    "line, message",
    [
        ("nosuch", "nosuch: does not exist; expected an ONNX file or one of the names alexnet, "),
        ("squeezenet --machine nosuch", "no machine is called 'nosuch', expected .*tiny"),
        ("squeezenet --machine no/such.yaml", r"no/such.yaml: cannot be read \(No such file or directory\)"),
        (
            "squeezenet --strategies rammer",
            "rammer packs kernels side by side, and stcp920 runs one kernel at a time",
        ),
        ("squeezenet --strategies magic", "no strategy is called 'magic', expected one of .*dp.*learned"),
        (
            "squeezenet --strategies dp+magic",
            "dp.magic: no refinement is called 'magic', expected configurations, ",
        ),
        (
            "squeezenet --machine meta_prototype --strategies dp+bindings",
            r"dp.bindings: bindings needs several cores, which meta_prototype has not",
        ),
        ("squeezenet --replay nosuch.json", r"nosuch\.json: cannot be read \(No such file or directory\)"),
        ("bert_base:layers=0", "layers"),
    ],
)
def test_bad_names(line: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(line.split(), message, tmp_path, capsys)


def test_a_file_that_is_not_onnx(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "text.onnx"
    path.write_text("not an ONNX file")
    refused([str(path)], "text.onnx: not an ONNX file", tmp_path, capsys)


def test_a_file_that_is_no_policy(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "policy.safetensors"
    path.write_text("not a policy")
    line = [str(model), "--machine", "tiny", "--strategies", "learned", "--policy", str(path)]
    refused(line, r"policy\.safetensors: ", tmp_path, capsys)


def test_a_dynamic_shape(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    graph = GraphBuilder()
    graph.node("Relu", graph.input("image", "N", 3, "height", 8))
    path = graph.save(tmp_path, "t0")
    refused([path], r"input 'image': dimension 2 is dynamic \('height'\).*--batch", tmp_path, capsys)


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("clusters: 1\n", "clusters: 1\ncolour: red\n", "colour is 'red', but no such key is known"),
        ("l1: {bytes: 4096}", "l1: {bytes: -1}", "memories.l1.bytes is -1, expected at least 1"),
    ],
)
def test_a_wrong_machine_file(
    old: str, new: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "configs/machines/tiny.yaml").read_text()
    assert old in text
    path = tmp_path / "machine.yaml"
    path.write_text(text.replace(old, new))
    refused(["squeezenet", "--machine", str(path)], message, tmp_path, capsys)


def test_a_model_that_cannot_fit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    refused(["vgg19", "--machine", "tiny", *FEW], r"short by \d+ bytes at layer", tmp_path, capsys)


def test_a_schedule_of_another_model(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "first"
    assert main([str(model), "--machine", "tiny", *FEW, "--no-verify", "--out", str(out)]) == 0
    replay = ["--replay", str(out / "schedule.json")]
    refused(
        ["squeezenet", *replay], r"schedule\.json: model is 'test', expected 'squeezenet'", tmp_path, capsys
    )
    refused(
        [str(model), *replay, "--batch", "2"], r"schedule\.json: batch is 1, expected 2", tmp_path, capsys
    )
    other = [*replay, "--machine", "stcp920"]
    refused([str(model), *other], "machine is 'tiny', expected 'stcp920'", tmp_path, capsys)


def test_an_output_directory_with_other_files(model: Path, tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    assert main([str(model), "--machine", "tiny", "--out", str(tmp_path), "--force"]) == 2
    assert {path.name for path in tmp_path.iterdir()} == {"model", "notes.txt"}
