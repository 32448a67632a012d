"""Region maps: slices computed from the regions that they name add up to what onnxruntime gives for the
whole.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.importer import load_model
from graph.primitives import Contraction
from tests.graph.checking import check_model, check_slices, reference_tensors
from tests.graph.onnx_helpers import GraphBuilder


def _window(draw: st.DrawFn, size: tuple[int, int], dilated: bool) -> dict[str, object]:
    """Attributes of a window that fits a map of `size`."""
    kernel = [draw(st.integers(1, min(3, extent))) for extent in size]
    dilations = [draw(st.integers(1, 2)) if dilated and extent >= 5 else 1 for extent in size]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    attributes: dict[str, object] = {
        "kernel_shape": kernel,
        "strides": [draw(st.integers(1, 3)) for _ in size],
    }
    if dilated:
        attributes["dilations"] = dilations
    padding = draw(st.sampled_from(["explicit", "SAME_UPPER", "SAME_LOWER", "VALID"]))
    if padding == "explicit":
        attributes["pads"] = [draw(st.integers(0, reach[axis % 2] - 1)) for axis in range(4)]
    elif not (dilated and max(dilations) > 1):
        attributes["auto_pad"] = padding
        # onnxruntime refuses SAME padding where the stride exceeds the kernel.
        attributes["strides"] = [draw(st.integers(1, k)) for k in kernel]
    return attributes


@st.composite
def networks(draw: st.DrawFn) -> GraphBuilder:
    """A few convolutions, pools, norms, residuals and a Concat in a row, with an optional classifier."""
    builder = GraphBuilder(seed=draw(st.integers(0, 1000)))
    channels, size = draw(st.sampled_from([2, 4])), [draw(st.integers(4, 9)) for _ in range(2)]
    value = builder.input("x", 1, channels, *size)
    for _ in range(draw(st.integers(1, 4))):
        kind = draw(st.sampled_from(["conv", "pool", "lrn", "residual", "concat", "affine"]))
        if kind == "conv":
            groups = draw(st.sampled_from([g for g in (1, 2, channels) if channels % g == 0]))
            out = groups * draw(st.integers(1, 3))
            attributes = _window(draw, (size[0], size[1]), True)
            weight = builder.random(out, channels // groups, *attributes["kernel_shape"])  # type: ignore[misc]
            value = builder.node("Conv", value, weight, builder.random(out), group=groups, **attributes)
            channels = out
        elif kind == "pool":
            op_type = draw(st.sampled_from(["MaxPool", "AveragePool"]))
            value = builder.node(op_type, value, **_window(draw, (size[0], size[1]), False))
            if op_type == "AveragePool":
                builder.nodes[-1].attribute.append(_include(draw(st.booleans())))
        elif kind == "lrn":
            value = builder.node("LRN", value, size=draw(st.sampled_from([1, 3, 5])), alpha=0.5, bias=2.0)
        elif kind == "residual":
            weight = builder.random(channels, channels, 1, 1)
            branch = builder.node("Conv", value, weight)
            value = builder.node("Relu", builder.node("Add", branch, value))
        elif kind == "concat":
            other = builder.node("Relu", value)
            value = builder.node("Concat", value, other, value, axis=1)
            channels *= 3
        else:
            value = builder.node("Mul", value, builder.random(channels, 1, 1))
            value = builder.node("Add", value, builder.random(1, channels, 1, 1))
        size = _size(builder, value)
        if min(size) < 2 or channels > 40:
            break
    if draw(st.booleans()):
        flat = builder.node("Flatten", value)
        features = channels * size[0] * size[1]
        value = builder.node(
            "Gemm", flat, builder.random(5, features), builder.random(5), transB=1, alpha=0.5
        )
        value = builder.node("Softmax", value)
    builder.result = value  # type: ignore[attr-defined]
    return builder


def _include(flag: bool):  # type: ignore[no-untyped-def]
    from onnx import helper

    return helper.make_attribute("count_include_pad", int(flag))


def _size(builder: GraphBuilder, value: str) -> list[int]:
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(builder.model(value)).graph
    return [dim.dim_value for dim in graph.output[0].type.tensor_type.shape.dim][2:]


@given(builder=networks(), seed=st.integers(0, 1000))
@settings(
    max_examples=60,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_generated_networks(builder: GraphBuilder, seed: int, tmp_path: Path) -> None:
    path = builder.save(tmp_path, builder.result)  # type: ignore[attr-defined]
    check_model(load_model(path, batch=2), seed)


@pytest.mark.parametrize("name", ["squeezenet", "resnet50", "densenet121"])
def test_zoo_layers(name: str) -> None:
    model = load_model(name)
    tensors = reference_tensors(model)
    generator = np.random.default_rng(1)
    picked = list(model.network.layers)
    kinds = {type(layer.anchor) for layer in picked}
    generator.shuffle(picked)
    small = [
        layer
        for kind in kinds
        for layer in [item for item in picked if isinstance(item.anchor, kind)][
            : 4 if kind is Contraction else 2
        ]
    ]
    for layer in small:
        check_slices(model, layer, tensors, generator)
