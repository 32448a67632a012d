"""Attributes and constants that do not fit their node: refused with the node's name, whatever is wrong with them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from tests.graph.onnx_helpers import GraphBuilder

Make = Callable[[GraphBuilder, str], str]


def _ones(b: GraphBuilder, *shape: int) -> str:
    return b.constant(np.ones(shape, np.float32))


CASES: dict[str, tuple[Make, str]] = {
    "step of 0": (
        lambda b, x: b.node("Slice", x, b.integers(0), b.integers(3), b.integers(2), b.integers(0)),
        "expected as many of each, and no step of 0",
    ),
    "more ends": (
        lambda b, x: b.node("Slice", x, b.integers(0), b.integers(3, 4), b.integers(2)),
        "expected as many of each, and no step of 0",
    ),
    "bias": (
        lambda b, x: b.node("ConvTranspose", x, _ones(b, 4, 2, 3, 3), _ones(b, 3)),
        r"the bias has shape \[3\]; expected \[2\]",
    ),
    "no groups": (
        lambda b, x: b.node("ConvTranspose", x, _ones(b, 4, 2, 3, 3), group=0),
        "in 0 groups on 4 channels; expected",
    ),
    "strides": (
        lambda b, x: b.node("ConvTranspose", x, _ones(b, 4, 2, 3, 3), strides=[2**31, 2**31]),
        "make a weight of .* elements; expected at most",
    ),
    "type": (lambda b, x: b.node("Cast", x, to=2**31 - 1), "to 2147483647; expected FLOAT, DOUBLE"),
    "nothing": (
        lambda b, x: b.node("Resize", x, "", "", b.integers(1, 4, 0, 6), mode="linear"),
        "gives a tensor without elements; expected some",
    ),
    "limits": (
        lambda b, x: b.node("Clip", x, _ones(b, 2)),
        r"min has shape \[2\]; expected one number",
    ),
    "filler": (
        lambda b, x: b.node("Pad", x, b.integers(0, 0, 1, 1, 0, 0, 1, 1), _ones(b, 2)),
        r"the filler has shape \[2\]; expected one number",
    ),
    "updates": (
        lambda b, x: b.node("ScatterND", x, b.constant(np.zeros((1, 2), np.int64)), _ones(b, 1, 5)),
        r"input 2 has shape \[1, 5\]; expected as many elements as \[1, 1, 6, 6\]",
    ),
    "no box": (
        lambda b, x: b.node(
            "ScatterND", x, b.constant(np.array([[0, 0], [0, 0]], np.int64)), _ones(b, 2, 6, 6)
        ),
        "the indices are not all pairs of some positions of each dimension",
    ),
    "place": (
        lambda b, x: b.node("GatherND", x, b.constant(np.array([[0, 4]], np.int64))),
        r"indices \[0, 4\] are not positions of \[1, 4, 6, 6\]",
    ),
    "axis": (lambda b, x: b.node("CumSum", x, b.integers(7)), "axis 7 does not exist"),
    "norm": (lambda b, x: b.node("LpNormalization", x, p=3), "attribute p is 3; expected 1 or 2"),
    "alpha": (lambda b, x: b.node("Celu", x, alpha=-1.0), "attribute alpha is -1.0; expected more than 0"),
    "volume": (
        lambda b, x: b.node("MaxPool", b.node("Unsqueeze", x, b.integers(2)), kernel_shape=[2, 2, 2]),
        "over three dimensions; expected 1, stride 1, along one of them",
    ),
    "heads": (
        lambda b, x: b.node("RotaryEmbedding", b.node("Squeeze", x, b.integers(0)), *[_ones(b, 4, 6, 3)] * 2),
        "for 0 heads; expected",
    ),
    "odd": (
        lambda b, x: b.node("RotaryEmbedding", x, *[_ones(b, 1, 6, 3)] * 2, rotary_embedding_dim=5),
        "turns 5 of 6 features; expected an even number",
    ),
    "angles": (
        lambda b, x: b.node("RotaryEmbedding", x, *[_ones(b, 1, 6, 2)] * 2),
        r"input 1 gives angles of shape \[1, 6, 2\]; expected \[B, 6, 3\]",
    ),
    "positions": (
        lambda b, x: b.node("RotaryEmbedding", x, *[_ones(b, 6, 3)] * 2, b.constant(np.full((1, 6), 6))),
        "positions .* expected integers from 0 to 5",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_refused(case: str, tmp_path: Path) -> None:
    make, message = CASES[case]
    builder = GraphBuilder(23)
    model = builder.model(make(builder, builder.input("x", 1, 4, 6, 6)))
    # A shape of some rank is all that is asked for before the nodes are read.
    model.graph.output[0].type.tensor_type.shape.dim.add()
    path = tmp_path / "bad.onnx"
    onnx.save(model, path)
    with pytest.raises(ModelError, match=rf"node '?\w+'?: .*{message}|node '?\w+'?: {message}"):
        load_model(str(path))
