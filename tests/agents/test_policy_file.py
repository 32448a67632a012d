"""Policy files: round trip, and refusals of everything else."""

import json
import pickle
import struct

import pytest
import torch
from safetensors.torch import load, save

from agents.errors import PolicyError
from agents.inference import decode, load_policy
from agents.policy_file import FORMAT, parse_policy, read_policy, save_policy
from agents.scorer import Scorer
from env.features import CANDIDATE, FEATURES_VERSION, GLOBAL
from env.problems import make_problem


def scorer(hidden: int = 8) -> Scorer:
    torch.manual_seed(0)
    return Scorer(len(CANDIDATE), len(GLOBAL), hidden)


def changed(data: bytes, **changes) -> bytes:
    """The file with changed header entries."""
    (length,) = struct.unpack("<Q", data[:8])
    header = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["oncore"])
    return save(load(data), {"oncore": json.dumps({**header, **changes})})


def test_round_trip(tmp_path):
    made = scorer()
    file = tmp_path / "p.safetensors"
    file.write_bytes(save_policy(made, {"seed": 4}))
    read, header = read_policy(file)
    assert header["training"] == {"seed": 4} and header["format"] == FORMAT
    for name, value in made.state_dict().items():
        assert torch.equal(value, read.state_dict()[name])
    problem = make_problem("alexnet", batch=2)
    first = decode(load_policy(file), problem)
    assert first == decode(load_policy(file), make_problem("alexnet", batch=2))


def test_same_policy_same_bytes():
    assert save_policy(scorer(), {}) == save_policy(scorer(), {})


GOOD = save_policy(scorer(), {})


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not an oncore policy"),
        (b"\xff" * 40, "not an oncore policy"),
        (pickle.dumps({"a": 1}), "not an oncore policy"),
        (save({"a": torch.zeros(1)}), "not an oncore policy"),
        (save({"a": torch.zeros(1)}, {"oncore": "[]"}), "not an oncore policy"),
        (GOOD[:-4], "whole safetensors"),
        (changed(GOOD, format="oncore-policy-0"), "oncore-policy-0"),
        (changed(GOOD, features_version=FEATURES_VERSION + 1), "features version"),
        (changed(GOOD, candidate_features=list(CANDIDATE[:-1])), "candidate_features"),
        (changed(GOOD, context_features=["x"]), "context_features"),
        (changed(GOOD, hidden=9), "expected float32"),
        (changed(GOOD, hidden=0), "hidden is 0"),
        (changed(GOOD, hidden=10**9), "hidden is 1000000000"),
        (changed(GOOD, hidden="8"), "hidden is '8'"),
        (changed(GOOD, training=None), "training is None, expected the record"),
        (changed(GOOD, training={"phases": []}), "training.phases are \\[\\]"),
        (changed(GOOD, training={"phases": "subgraphs"}), "training.phases are 'subgraphs'"),
        (changed(GOOD, training={"phases": ["subgraphs", "order"]}), "expected some of subgraphs, instances"),
        (changed(GOOD, training={"phases": [["subgraphs"]]}), "expected some of subgraphs"),
    ],
)
def test_refusals(data, words):
    with pytest.raises(PolicyError, match=words) as caught:
        parse_policy(data, "p.safetensors")
    assert "\n" not in str(caught.value) and str(caught.value).startswith("p.safetensors: ")


def test_tensors_that_are_missing_or_not_finite_are_refused():
    header = {"oncore": json.loads(GOOD[8 : 8 + struct.unpack("<Q", GOOD[:8])[0]])["__metadata__"]["oncore"]}
    tensors = load(GOOD)
    name = next(iter(tensors))
    with pytest.raises(PolicyError, match="other tensors"):
        parse_policy(save({k: v for k, v in tensors.items() if k != name}, header), "p")
    with pytest.raises(PolicyError, match="not finite"):
        parse_policy(save({**tensors, name: torch.full_like(tensors[name], float("nan"))}, header), "p")


def test_missing_file_and_folder(tmp_path):
    for path in (tmp_path / "none", tmp_path):
        with pytest.raises(PolicyError, match="cannot be read"):
            read_policy(path)
