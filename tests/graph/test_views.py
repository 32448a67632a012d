"""Random chains of views (reshapes, transposes, slices, repetitions, concatenations) with arithmetic between
them, at several batches of the file, against onnxruntime; and every region map of a Rearrange by brute force.
"""

from __future__ import annotations

import math
from itertools import product
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.importer import load_model
from graph.layering import rearranging
from graph.layering.emitter import Emitter
from graph.layering.layout import Digit, extent, merged
from graph.layering.operation import Operation
from graph.layering.rearranging import rearrange_map, row_runs
from graph.layering.values import Value
from graph.network import AxisMap
from graph.operators.pieces import taken
from tests.graph.checking import check_model
from tests.graph.onnx_helpers import GraphBuilder
from tests.graph.slices import first_row_elements

SETTINGS = settings(
    max_examples=150,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


def _factors(draw: st.DrawFn, size: int, count: int) -> list[int]:
    """`count` numbers whose product is `size`."""
    found = []
    for _ in range(count - 1):
        found.append(draw(st.sampled_from([d for d in range(1, size + 1) if size % d == 0])))
        size //= found[-1]
    return [*found, size]


@st.composite
def chains(draw: st.DrawFn) -> tuple[GraphBuilder, str]:
    builder = GraphBuilder(opset=14, seed=draw(st.integers(0, 1000)))
    batch = draw(st.sampled_from([1, 1, 1, 2]))
    shape = [batch, *(draw(st.integers(1, 6)) for _ in range(draw(st.integers(1, 3))))]
    value = builder.input("x", *shape)
    for _ in range(draw(st.integers(1, 6))):
        kinds = ["reshape", "transpose", "slice", "concat", "expand", "add", "constant", "linear", "softmax"]
        kinds += ["reduce", "relu", "split", "product", "gather", "pad"]
        kind = draw(st.sampled_from(kinds))
        axis = draw(st.integers(1, len(shape) - 1))
        if kind == "reshape":
            shape = [batch, *_factors(draw, math.prod(shape[1:]), draw(st.integers(1, 4)))]
            value = builder.node("Reshape", value, builder.integers(*shape))
        elif kind == "transpose":
            order = draw(st.permutations(range(1, len(shape))))
            shape = [batch, *(shape[i] for i in order)]
            value = builder.node("Transpose", value, perm=[0, *order])
        elif kind == "slice":
            step = draw(st.sampled_from([1, 1, 2, -1]))
            places = list(range(shape[axis]))
            start = draw(st.sampled_from(places))
            end = -1000 if step < 0 else draw(st.integers(start + 1, shape[axis]))
            size = len(places[slice(start, None if step < 0 else end, step)])
            ends = [builder.integers(n) for n in (start, end, axis, step)]
            value, shape = builder.node("Slice", value, *ends), [*shape[:axis], size, *shape[axis + 1 :]]
        elif kind == "concat":
            other = builder.node("Sin", value)
            value = builder.node("Concat", value, other, axis=axis)
            shape = [*shape[:axis], 2 * shape[axis], *shape[axis + 1 :]]
        elif kind == "expand":
            value = builder.node("Unsqueeze", value, builder.integers(axis))
            shape = [*shape[:axis], draw(st.integers(1, 3)), *shape[axis:]]
            value = builder.node("Expand", value, builder.integers(*shape))
        elif kind == "add":
            order = list(range(len(shape)))
            same = [i for i in range(1, len(shape)) if shape[i] == shape[axis]]
            other = draw(st.sampled_from(same))
            order[axis], order[other] = order[other], order[axis]
            value = builder.node("Sub", value, builder.node("Transpose", value, perm=order))
        elif kind == "constant":
            kept = [size if draw(st.booleans()) else 1 for size in shape[1:]]
            value = builder.node("Mul", builder.random(*kept), value)
        elif kind == "linear":
            value = builder.node("MatMul", value, builder.random(shape[-1], 3)) if len(shape) > 1 else value
            shape = [*shape[:-1], 3]
        elif kind == "softmax":
            value = builder.node("Softmax", value, axis=axis)
        elif kind == "reduce":
            op_type = draw(st.sampled_from(["ReduceMean", "ReduceMax", "ReduceMin"]))
            value = builder.node("Add", value, builder.node(op_type, value, axes=[axis]))
        elif kind == "split" and shape[axis] > 1:
            sizes = [1, shape[axis] - 1]
            parts = builder.nodes_of("Split", 2, value, builder.integers(*sizes), axis=axis)
            value = builder.node("Add", *parts)
            shape[axis] -= 1
        elif kind == "product" and len(shape) > 2:
            order = [*range(len(shape) - 2), len(shape) - 1, len(shape) - 2]
            other = builder.node("Transpose", builder.node("Sin", value), perm=order)
            value = builder.node("MatMul", value, other)
            shape = [*shape[:-1], shape[-2]]
        elif kind == "gather":
            places = draw(st.lists(st.integers(0, shape[axis] - 1), min_size=1, max_size=4))
            value = builder.node("Gather", value, builder.integers(*places), axis=axis)
            shape = [*shape[:axis], len(places), *shape[axis + 1 :]]
        elif kind == "pad":
            pads = [0] * (2 * len(shape))
            pads[axis], pads[axis + len(shape)] = draw(st.integers(0, 2)), draw(st.integers(0, 2))
            number = draw(st.sampled_from([0.0, 1.5]))
            value = builder.node("Pad", value, builder.integers(*pads), builder.number(number))
            shape[axis] += pads[axis] + pads[axis + len(shape)]
        else:
            value = builder.node("Relu", value)
        if math.prod(shape) > 300:
            break
        if draw(st.booleans()):
            value = builder.node("Tanh", value)
    return builder, value


@given(chain=chains(), batch=st.integers(1, 3))
@SETTINGS
def test_chains(chain: tuple[GraphBuilder, str], batch: int, tmp_path: Path) -> None:
    builder, value = chain
    if not builder.nodes:
        return
    check_model(load_model(builder.save(tmp_path, value), batch=batch))


@given(chain=chains(), batch=st.integers(1, 2))
@settings(SETTINGS, max_examples=60)
def test_chains_with_copies_in_runs_of_rows(
    chain: tuple[GraphBuilder, str], batch: int, tmp_path: Path
) -> None:
    """As `test_chains`, where all copies are cut of which a row needs more than three elements."""
    builder, value = chain
    if not builder.nodes:
        return
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rearranging, "_MOST_READ", 3)
        model = load_model(builder.save(tmp_path, value), batch=batch)
    check_model(model)


@pytest.mark.parametrize("case", ["backwards", "rows out of columns"])
def test_a_row_of_a_copy_needs_a_part_of_a_large_tensor(case: str, tmp_path: Path) -> None:
    builder = GraphBuilder()
    if case == "backwards":
        x = builder.input("x", 1, 600, 256)
        y = builder.node("Slice", x, *(builder.integers(n) for n in (-1, -1000, 1, -1)))
    else:
        x = builder.input("x", 1, 32, 8, 600)
        y = builder.node("Transpose", x, perm=[0, 3, 1, 2])
        y = builder.node("Reshape", y, builder.integers(1, 600, 256))
    model = load_model(builder.save(tmp_path, builder.node("Relu", y)))
    network = model.network
    assert network.tensors[0].elements > 2 * 2**16
    assert max(first_row_elements(network, layer) for layer in network.layers) <= 2**16
    check_model(model)


def test_a_copy_is_cut_into_a_limited_number_of_runs() -> None:
    """A tensor of 5,000 rows backwards, each of them as much as a row may need."""
    channels = (Digit(2**16, 1),)
    runs = row_runs(((Digit(5000, -(2**16)),), (), channels), 4999 * 2**16, (5000, 1, 2**16))
    assert 128 <= len(runs) <= 256
    assert sum(extent(digits) for digits, _ in runs) == 5000
    assert runs[0][1] == 4999 * 2**16


@st.composite
def rearranges(
    draw: st.DrawFn,
) -> tuple[tuple[tuple[Digit, ...], ...], int, tuple[int, int, int]]:
    """Output axes by digits of an input, sliced and repeated, and its sizes."""
    sizes = tuple(draw(st.integers(1, 4)) for _ in range(3))
    cut: list[Digit] = []
    stride = math.prod(sizes)
    for size in _factors(draw, stride, 4):
        stride //= size
        cut.append(Digit(size, stride))
    offset = 0
    kept = []
    for digit in draw(st.permutations(cut)):
        start = draw(st.integers(0, digit.size - 1))
        offset += start * digit.stride
        count = draw(st.integers(1, digit.size - start))
        backwards = draw(st.booleans())
        offset += (count - 1) * digit.stride if backwards else 0
        kept.append(Digit(count, -digit.stride if backwards else digit.stride))
        if draw(st.integers(0, 4)) == 0:
            kept.append(Digit(2, 0))
    ends = sorted(draw(st.integers(0, len(kept))) for _ in range(2))
    axes = (kept[: ends[0]], kept[ends[0] : ends[1]], kept[ends[1] :])
    return tuple(merged(axis) for axis in axes), offset, (sizes[0], sizes[1], sizes[2])


@given(case=rearranges())
@settings(SETTINGS, max_examples=300)
def test_rearrange_maps(case: tuple[tuple[tuple[Digit, ...], ...], int, tuple[int, int, int]]) -> None:
    """Every position needs just what its map names, and a map of extent 1 names no more than that."""
    axes, offset, sizes = case
    maps = rearrange_map((axes[0], axes[1], axes[2]), offset, sizes)
    places = [[0] for _ in axes]
    for found, digits in zip(places, axes, strict=True):
        for digit in digits:
            found[:] = [place + i * digit.stride for place in found for i in range(digit.size)]
    read: list[list[set[int]]] = [[set() for _ in found] for found in places]
    for at in product(*(range(len(found)) for found in places)):
        number = offset + sum(found[i] for found, i in zip(places, at, strict=True))
        source = np.unravel_index(number, sizes)
        for axis in range(3):
            read[axis][at[axis]].add(int(source[axis]))
    axis_maps: tuple[AxisMap, AxisMap, AxisMap] = (maps.rows, maps.columns, maps.channels)
    for axis, axis_map in enumerate(axis_maps):
        for start in range(len(places[axis])):
            low, high = axis_map.needed(start, start + 1, sizes[axis])
            needed = read[axis][start]
            assert low <= min(needed) and max(needed) < high
            if axis_map.extent == 1 and not axis_map.whole:
                assert needed == {low}
            for stop in range(start + 1, len(places[axis]) + 1):
                low, high = axis_map.needed(start, stop, sizes[axis])
                union = set().union(*read[axis][start:stop])
                assert low <= min(union) and max(union) < high


def test_positions_of_a_dimension_of_several_digits_that_are_one() -> None:
    value = Value("x", 12, 1, 1, ((Digit(1, 12), Digit(3, 4), Digit(4, 1)),))
    operation = Operation(onnx.NodeProto(), "", 13, 1, (), {}, Emitter("", 1, False))
    found = taken(operation, value, 0, [1, 3, 5])
    assert (found.dims, found.offset) == (((Digit(3, 2),),), 1)
