"""What operators become, which attributes are refused, and how outputs and files are read."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest

from graph.errors import ModelError
from graph.importer import load_model
from graph.inputs import random_inputs
from graph.primitives import Contraction, Move, StepOp, Window
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder, run, with_outputs


def test_depthwise_conv(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 5, 7, 7)
    y = builder.node("Conv", x, builder.random(10, 1, 3, 3), group=5, pads=[1, 1, 1, 1])
    model = load_model(builder.save(tmp_path, y))
    anchor = model.network.layers[0].anchor
    assert isinstance(anchor, Contraction) and anchor.groups == 5 and anchor.out_channels == 10
    check_model(model)


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias", [(7,), (1, 7), (1,), ()])
def test_gemm_over_a_map(transposed: int, bias: tuple[int, ...], tmp_path: Path) -> None:
    builder = GraphBuilder()
    flat = builder.node("Reshape", builder.input("x", 1, 3, 4, 5), builder.integers(1, -1))
    weight = builder.random(7, 60) if transposed else builder.random(60, 7)
    y = builder.node("Gemm", flat, weight, builder.random(*bias), transB=transposed, alpha=0.5, beta=2.0)
    model = load_model(builder.save(tmp_path, y), batch=3)
    layer = model.network.layers[0]
    assert layer.anchor == Contraction(7, 3, 4, 5)
    assert [step.op for step in layer.steps] == [StepOp.ADD]
    check_model(model)


def test_matrix_network_with_batch_norm(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("MatMul", builder.input("x", "N", 6), builder.random(6, 8))
    y = builder.node("Add", y, builder.random(8))
    vectors = [builder.random(8) for _ in range(3)]
    y = builder.node("BatchNormalization", y, *vectors, builder.random(8, positive=True))
    y = builder.node(
        "Clip", y, builder.constant(np.array(0, np.float32)), builder.constant(np.array(6, np.float32))
    )
    y = builder.node("Softmax", builder.node("Gemm", y, builder.random(8, 4)), axis=-1)
    model = load_model(builder.save(tmp_path, y), batch=4)
    assert model.input_shapes == {"x": (4, 6)}
    steps = model.network.layers[0].steps
    assert [step.op for step in steps] == [StepOp.ADD, StepOp.CLIP]
    assert (steps[1].low, steps[1].high) == (0.0, 6.0)
    check_model(model)


@pytest.mark.parametrize("opset", [7, 9, 12, 13])
def test_views_and_old_softmax(opset: int, tmp_path: Path) -> None:
    builder = GraphBuilder(opset)
    x = builder.input("x", 1, 4, 5, 5)
    y = builder.node("GlobalAveragePool", builder.node("Conv", x, builder.random(6, 4, 1, 1)))
    y = builder.node("Dropout", builder.node("Identity", y))
    if opset < 13:
        y = builder.node("Squeeze", y, axes=[2, 3])
        y = builder.node("Unsqueeze", builder.node("Softmax", y), axes=[2, 3])
    else:
        y = builder.node("Squeeze", y, builder.integers(2, 3))
        y = builder.node("Unsqueeze", builder.node("Softmax", y), builder.integers(-1, -2))
    y = builder.node("Reshape", y, builder.integers(0, 6))
    model = load_model(builder.save(tmp_path, y), batch=2)
    assert len(model.network.layers) == 3
    assert model.network.tensors[-1].name == y
    check_model(model)


def test_shape_arithmetic_is_folded(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", "batch", 2, 3, 4)
    y = builder.node("Relu", x)
    first = builder.node("Gather", builder.node("Shape", y), builder.constant(np.array(0, np.int64)), axis=0)
    target = builder.node(
        "Concat", builder.node("Unsqueeze", first, builder.integers(0)), builder.integers(-1), axis=0
    )
    y = builder.node("Gemm", builder.node("Reshape", y, target), builder.random(24, 5))
    model = load_model(builder.save(tmp_path, y), batch=3)
    assert [type(layer.anchor) for layer in model.network.layers] == [Move, Contraction]
    check_model(model)


def test_sum_of_three_and_products(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 6, 6)
    a = builder.node("Conv", x, builder.random(4, 4, 1, 1))
    b = builder.node("MaxPool", x, kernel_shape=[1, 1])
    y = builder.node("Sum", a, b, x)
    y = builder.node("Mul", y, builder.constant(np.array([0.5], dtype=np.float32)))
    y = builder.node("Mul", builder.node("Relu", y), x)
    model = load_model(builder.save(tmp_path, y), batch=2)
    check_model(model)
    last = model.network.layers[-1]
    assert isinstance(last.anchor, Window)
    assert [step.op for step in last.steps] == [
        StepOp.ADD,
        StepOp.ADD,
        StepOp.MUL,
        StepOp.RELU,
        StepOp.MUL,
    ]


@pytest.mark.parametrize("axes", [[1], [2, 3], [1, 2, 3]])
def test_log_sum_exp_of_large_numbers_stays_in_range(axes: list[int], tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("ReduceLogSumExp", builder.input("x", 1, 4, 3, 5), axes=axes, keepdims=1)
    model = load_model(builder.save(tmp_path, y))
    names = [model.network.tensors[layer.output].name for layer in model.network.layers]
    stored = model.stored_inputs({"x": np.full((1, 4, 3, 5), 12, np.float32)})
    tensors = run(with_outputs(model.rounded_reference(), names), stored, names)
    assert all(np.isfinite(tensor.astype(np.float16)).all() for tensor in tensors.values())
    assert np.allclose(tensors[y], 12 + np.log(np.prod([(1, 4, 3, 5)[axis] for axis in axes])))


def test_outputs_that_are_views_of_one_tensor_or_of_an_input(tmp_path: Path) -> None:
    builder = GraphBuilder()
    x = builder.input("x", 1, 4, 1, 1)
    y = builder.node("Flatten", builder.node("Relu", x))
    z = builder.node("Identity", x)
    model = load_model(builder.save(tmp_path, y, z))
    names = [model.network.tensors[index].name for index in model.network.outputs]
    assert names == [y, z]
    check_model(model)


def test_every_output_of_the_file_has_a_name_and_a_layout(tmp_path: Path) -> None:
    builder = GraphBuilder()
    y = builder.node("Relu", builder.input("x", 1, 4, 3, 5))
    same = builder.node("Identity", y)
    flat = builder.node("Reshape", y, builder.integers(1, 60))
    path = builder.save(tmp_path, y, same, flat)
    model = load_model(path, batch=2)
    assert [(name, value.source) for name, value in model.outputs.items()] == [(y, y), (same, y), (flat, y)]
    feeds = random_inputs(model)
    maps = run(model.rounded_reference(np.float32), model.stored_inputs(feeds), [y])[y]
    for part, image in zip(model.file_batches(feeds), maps, strict=True):
        wanted = run(onnx.load(path), part, [y, same, flat])
        for name, value in model.outputs.items():
            assert np.array_equal(value.unstored(image[None]), wanted[name])


def test_external_data(tmp_path: Path) -> None:
    builder = GraphBuilder()
    flat = builder.node("Reshape", builder.input("x", 1, 3, 4, 5), builder.integers(1, 60))
    y = builder.node("Gemm", flat, builder.random(60, 7))
    path = builder.save(tmp_path, y)
    onnx.save_model(
        onnx.load(path),
        path,
        save_as_external_data=True,
        all_tensors_to_one_file=True,
        location="side.bin",
        size_threshold=0,
    )
    check_model(load_model(path, batch=2))
    assert load_model(path, batch=2, weights=False).network.layers[0].anchor == Contraction(7, 3, 4, 5)
    (tmp_path / "side.bin").unlink()
    with pytest.raises(ModelError, match=r"test\.onnx: .*side\.bin"):
        load_model(path)


Build = Callable[[GraphBuilder, str], str]

REFUSED: dict[str, tuple[Build, str]] = {
    "kernel larger than the map": (
        lambda b, x: b.node("Conv", x, b.random(2, 3, 9, 1)),
        "a window of 9 does not fit 8",
    ),
    "weight is an activation": (lambda b, x: b.node("Conv", x, b.node("Relu", x)), "expected a constant"),
    "wrong channels": (lambda b, x: b.node("Conv", x, b.random(2, 4, 1, 1)), "on 3 channels"),
    "even LRN": (lambda b, x: b.node("LRN", x, size=4), "attribute size is 4; expected an odd number"),
    "pool of padding only": (
        lambda b, x: b.node("MaxPool", x, kernel_shape=[2, 2], pads=[0, 0, 2, 0]),
        "padding \\[0, 2\\] leaves windows empty; expected less than 2",
    ),
    "dilated pool with automatic padding": (
        lambda b, x: b.node("MaxPool", x, kernel_shape=[2, 2], dilations=[2, 1], auto_pad="SAME_UPPER"),
        "auto_pad is SAME_UPPER with kernel 2, stride 1 and dilation 2; expected explicit padding",
    ),
    "dilated pool of padding only": (
        lambda b, x: b.node("MaxPool", x, kernel_shape=[2, 2], dilations=[9, 1], pads=[1, 0, 1, 0]),
        "a window of 2 taps 9 apart has them all on padding; expected one on the map",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str, tmp_path: Path) -> None:
    build, message = REFUSED[case]
    builder = GraphBuilder()
    path = builder.save(tmp_path, build(builder, builder.input("x", 1, 3, 8, 8)))
    with pytest.raises(ModelError, match=message) as caught:
        load_model(path)
    assert path in str(caught.value) and "node 'n" in str(caught.value)
