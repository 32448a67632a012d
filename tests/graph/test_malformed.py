"""Files that are broken or hostile: every one a ModelError, within seconds and a gigabyte."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graph.errors import MOST_ELEMENTS, ModelError
from graph.files.source import MINIMUM_OPSET, read_source
from graph.files.structure import MOST_DEPTH, MOST_NODES
from graph.files.wire import MOST_PARTS
from graph.files.zoo import zoo_file
from graph.importer import load_model
from graph.layering import emitter
from tests.graph.mutation import mutated, originals
from tests.graph.onnx_helpers import GraphBuilder, run

SECONDS = 5.0
BYTES = 2**30
CASES = int(os.environ.get("ONCORE_FUZZ_CASES", "200"))
SEED = int(os.environ.get("ONCORE_FUZZ_SEED", "0"))


@pytest.fixture(autouse=True)
def limited() -> Iterator[None]:
    """A gigabyte of address space more than now, where the system says how much that is."""
    sizes = Path("/proc/self/statm")
    if not sizes.exists():
        yield
        return
    pages = int(sizes.read_text().split()[0])
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + BYTES, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def refused(model: onnx.ModelProto | bytes, folder: Path, message: str, *, weights: bool = False) -> None:
    """Loading a model from a file in `folder` fails with `message`, soon."""
    path = folder / "bad.onnx"
    path.write_bytes(model if isinstance(model, bytes) else model.SerializeToString())
    began = time.process_time()
    with pytest.raises(ModelError, match=message) as caught:
        load_model(str(path), weights=weights)
    assert "bad.onnx" in str(caught.value)
    assert time.process_time() - began < SECONDS


def small() -> tuple[GraphBuilder, str]:
    """A builder with an input of 4 channels, and the input's ReLU."""
    builder = GraphBuilder()
    return builder, builder.node("Relu", builder.input("x", 1, 4, 6, 6))


def finished(builder: GraphBuilder, *outputs: str) -> onnx.ModelProto:
    """The model, its outputs all of the shape of the input."""
    model = builder.model(*outputs)
    for item in model.graph.output:
        for size in (1, 4, 6, 6):
            item.type.tensor_type.shape.dim.add().dim_value = size
    return model


def convolution(weight: TensorProto) -> onnx.ModelProto:
    """A 1 x 1 convolution of 4 channels to 4 with a given weight."""
    builder = GraphBuilder()
    builder.initializers.append(weight)
    return finished(builder, builder.node("Conv", builder.input("x", 1, 4, 6, 6), weight.name))


def weight_of(values: np.ndarray | None = None) -> TensorProto:
    array = np.ones((4, 4, 1, 1), np.float32) if values is None else values
    return numpy_helper.from_array(array, "w")


# Data in side files.


def external(location: str | None, **entries: str) -> onnx.ModelProto:
    weight = weight_of()
    weight.ClearField("raw_data")
    weight.data_location = TensorProto.EXTERNAL
    given = entries if location is None else {"location": location, **entries}
    for key, value in given.items():
        weight.external_data.add(key=key, value=value)
    return convolution(weight)


def test_external_data_are_read(tmp_path: Path) -> None:
    values = np.arange(16, dtype=np.float32)
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(b"12345678" + values.tobytes())
    path = tmp_path / "good.onnx"
    path.write_bytes(external("sub/w.bin", offset="8", length="64").SerializeToString())
    (layer,) = load_model(str(path)).network.layers
    assert layer.weight is not None
    assert np.array_equal(layer.weight.ravel(), values)


def test_a_missing_side_file_is_needed_for_weights_only(tmp_path: Path) -> None:
    """But for those of few elements, which may be shapes, scales or limits."""
    model = external("gone.bin", length="320")
    refused(external("gone.bin", length="64"), tmp_path, r"gone\.bin do not exist")
    model.graph.initializer[0].dims[:] = [4, 4, 5, 1]
    model.graph.node[0].attribute.append(helper.make_attribute("pads", [2, 0, 2, 0]))
    path = tmp_path / "bad.onnx"
    path.write_bytes(model.SerializeToString())
    assert len(load_model(str(path), weights=False).network.layers) == 1
    refused(model, tmp_path, r"initializer 'w': its external data .*gone\.bin do not exist", weights=True)


@pytest.mark.parametrize(
    "location",
    [
        "../w.bin",
        "/etc/passwd",
        "a/../../w.bin",
        "..\\w.bin",
        "C:\\w.bin",
        "C:w.bin",
        "\\w.bin",
        "",
        ".",
        "w\0.bin",
    ],
)
def test_side_files_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    (tmp_path / "in").mkdir()
    refused(external(location), tmp_path / "in", "initializer 'w': its external data", weights=True)


def test_side_files_behind_a_link(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "w.bin").symlink_to(tmp_path / "w.bin")
    refused(external("w.bin"), tmp_path / "in", "expected a relative path inside", weights=True)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"length": "60"}, "its external data have 60 bytes; expected 64"),
        ({"offset": "8", "length": "64"}, r"end before byte 72; expected 64 bytes from byte 8 on"),
        ({"offset": "-1"}, "offset of its external data is '-1'; expected a number of bytes"),
        ({"length": "9" * 30}, "length of its external data is"),
    ],
)
def test_parts_of_side_files(entries: dict[str, str], message: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(64))
    refused(external("w.bin", **entries), tmp_path, message, weights=True)
    refused(external(None, **entries), tmp_path, "its external data", weights=True)


def test_side_files_of_attributes(tmp_path: Path) -> None:
    builder, y = small()
    value = helper.make_tensor("c", TensorProto.FLOAT, [1], [1.0])
    value.ClearField("float_data")
    value.data_location = TensorProto.EXTERNAL
    value.external_data.add(key="location", value="c.bin")
    y = builder.node("Add", y, builder.node("Constant", value=value))
    refused(finished(builder, y), tmp_path, "attribute 'value' is in a side file")


# Bytes that are no model.


@pytest.mark.parametrize(
    "content", [b"", b"\x00", b"PK\x03\x04" * 50, b"\x0a\xff\xff\xff\xff\x0f", b"\x3a\x00"]
)
def test_garbage(content: bytes, tmp_path: Path) -> None:
    refused(content, tmp_path, "not an ONNX file")


@pytest.mark.parametrize("part", [b"\x0a\x00", b"\x0a\x08" + b"\x0a\x00" * 4])
def test_many_empty_messages(part: bytes, tmp_path: Path) -> None:
    """They take two bytes each in a file, and a hundred in memory."""
    refused(field(7, part * (2**23 // len(part))), tmp_path, f"has more than {MOST_PARTS} parts")


@pytest.mark.parametrize("name", ["squeezenet", "alexnet"])
def test_truncation(name: str, tmp_path: Path) -> None:
    data = zoo_file(name).read_bytes()
    for end in range(1, len(data) - 1, len(data) // 20):
        refused(data[:end], tmp_path, "bad")


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "bad.onnx")
    with pytest.raises(ModelError, match="is no ordinary file"):
        load_model(str(tmp_path / "bad.onnx"))


def test_a_path_that_is_too_long() -> None:
    with pytest.raises(ModelError, match="no path of a file"):
        load_model("x" * 5000)


def test_text_that_is_not_utf8(tmp_path: Path) -> None:
    builder, y = small()
    data = finished(builder, builder.node("Relu", y)).SerializeToString()
    refused(data.replace(b"t0", b"\xff\xfe"), tmp_path, "no text")
    refused(external("w.bin").SerializeToString().replace(b"w.bin", b"w.b\xffn"), tmp_path, "no text")


# Types, shapes and lengths of data.


@pytest.mark.parametrize("data_type", [0, 77, TensorProto.STRING])
def test_types_of_weights(data_type: int, tmp_path: Path) -> None:
    weight = weight_of()
    weight.data_type = data_type
    refused(convolution(weight), tmp_path, "initializer 'w'")


def test_types_of_inputs(tmp_path: Path) -> None:
    for change, message in (
        (77, "element type 77; expected one that ONNX knows"),
        (None, "is of sequence_type"),
    ):
        builder, y = small()
        model = finished(builder, y)
        kind = model.graph.input[0].type
        if change is None:
            kind.sequence_type.elem_type.CopyFrom(model.graph.output[0].type)
        else:
            kind.tensor_type.elem_type = change
        refused(model, tmp_path, f"input 'x': {message}")


@pytest.mark.parametrize("dims", [[2**40], [2**20, 2**20], [2**63 - 1, 2**63 - 1], [MOST_ELEMENTS + 1]])
def test_absurd_shapes(dims: list[int], tmp_path: Path) -> None:
    for weight in (weight_of(), external("w.bin").graph.initializer[0]):
        weight.dims[:] = dims
        for weights in (False, True):
            refused(
                convolution(weight),
                tmp_path,
                "initializer 'w' has shape .* elements; expected",
                weights=weights,
            )
    builder = GraphBuilder()
    model = builder.model(builder.node("Relu", builder.input("x", 1, *dims)))
    refused(model, tmp_path, "input 'x' has shape .* elements; expected at most")


def test_negative_dimensions(tmp_path: Path) -> None:
    weight = weight_of()
    weight.dims[0] = -4
    refused(convolution(weight), tmp_path, "initializer 'w' has shape .*; expected no negative dimension")


def test_lengths_of_data(tmp_path: Path) -> None:
    weight = weight_of()
    weight.raw_data = bytes(60)
    message = r"initializer 'w' of shape \[4, 4, 1, 1\] and type FLOAT has 60 bytes of data; expected 64"
    refused(convolution(weight), tmp_path, message)
    weight = helper.make_tensor("w", TensorProto.FLOAT, [4, 4, 1, 1], [0.0] * 16)
    weight.float_data.append(1.0)
    refused(convolution(weight), tmp_path, "has 17 numbers of data; expected 16")
    weight = weight_of()
    weight.ClearField("raw_data")
    refused(convolution(weight), tmp_path, "has 0 numbers of data; expected 16")
    weight = weight_of()
    weight.segment.begin = 0
    refused(convolution(weight), tmp_path, "is a segment")


def test_lengths_of_data_in_attributes(tmp_path: Path) -> None:
    builder, y = small()
    y = builder.node(
        "Add", y, builder.node("Constant", value=helper.make_tensor("", TensorProto.FLOAT, [1], [1.0]))
    )
    model = finished(builder, y)
    model.graph.node[1].attribute[0].t.dims[0] = 2**40
    refused(model, tmp_path, r"node 'n1_Constant' \(Constant\): attribute 'value' has shape")


# Names.


def test_cycles(tmp_path: Path) -> None:
    builder, _ = small()
    builder.nodes.append(helper.make_node("Add", ["t0", "b"], ["a"], name="first"))
    builder.nodes.append(helper.make_node("Relu", ["a"], ["b"], name="second"))
    refused(finished(builder, "b"), tmp_path, r"node 'first' \(Add\): reads 'b' but is in a cycle")
    builder, _ = small()
    builder.nodes.append(helper.make_node("Relu", ["t9"], ["t9"], name="itself"))
    refused(finished(builder, "t9"), tmp_path, r"node 'itself' \(Relu\): reads 't9' but is in a cycle")


def test_order(tmp_path: Path) -> None:
    builder, y = small()
    model = finished(builder, builder.node("Relu", y))
    model.graph.node.reverse()
    refused(model, tmp_path, "reads 't0' but comes before the node that writes it")


def test_names_that_nothing_writes(tmp_path: Path) -> None:
    builder, y = small()
    refused(
        finished(builder, builder.node("Add", y, "nothing")),
        tmp_path,
        "reads 'nothing', which nothing writes",
    )
    refused(finished(builder, "nowhere"), tmp_path, "reads 'nothing'")
    builder, _ = small()
    refused(finished(builder, "nowhere"), tmp_path, "output 'nowhere' is written by no node")


def test_names_that_are_written_twice(tmp_path: Path) -> None:
    builder, y = small()
    builder.nodes.append(helper.make_node("Relu", ["x"], ["t0"], name="again"))
    refused(finished(builder, y), tmp_path, r"node 'again' \(Relu\): writes 't0', which is written already")
    builder, y = small()
    refused(finished(builder, y, y), tmp_path, "output 't0' is there twice")
    builder, y = small()
    builder.initializers += [weight_of(), weight_of()]
    refused(finished(builder, y), tmp_path, "initializer 'w' is there twice")
    builder, y = small()
    builder.input("x", 1, 4, 6, 6)
    refused(finished(builder, y), tmp_path, "input 'x' is there twice")


# What is legal, though rare.


@pytest.mark.parametrize("opset", [MINIMUM_OPSET, 13, onnx.defs.onnx_opset_version()])
def test_opsets_that_are_read(opset: int, tmp_path: Path) -> None:
    builder = GraphBuilder(opset=opset)
    path = tmp_path / "good.onnx"
    path.write_bytes(
        finished(builder, builder.node("Relu", builder.input("x", 1, 4, 6, 6))).SerializeToString()
    )
    assert read_source(path, weights=False).opset == opset


def test_opsets_that_are_not(tmp_path: Path) -> None:
    newest = onnx.defs.onnx_opset_version()
    builder, y = small()
    model = finished(builder, y)
    for version, message in ((6, "opset 6; expected 7 or later"), (newest + 1, f"expected 7 to {newest}")):
        model.opset_import[0].version = version
        refused(model, tmp_path, message)
    model.opset_import.add(domain="ai.onnx", version=9)
    refused(model, tmp_path, "imports versions .* of the default ONNX opset; expected one")
    del model.opset_import[:]
    refused(model, tmp_path, "imports versions")


def test_several_inputs_and_outputs(tmp_path: Path) -> None:
    builder, y = small()
    other = builder.node("Relu", builder.input("z", 1, 4, 6, 6))
    path = tmp_path / "good.onnx"
    path.write_bytes(finished(builder, builder.node("Add", y, other), other).SerializeToString())
    network = load_model(str(path)).network
    assert (len(network.inputs), len(network.outputs)) == (2, 2)


def test_initializers_among_the_inputs_and_unused(tmp_path: Path) -> None:
    """Before IR version 4 every initializer had to be an input as well."""
    model = convolution(weight_of())
    model.ir_version = 3
    model.graph.input.append(helper.make_tensor_value_info("w", TensorProto.FLOAT, [4, 4, 1, 1]))
    model.graph.input.append(helper.make_tensor_value_info("unused", TensorProto.FLOAT, [3]))
    model.graph.initializer.append(helper.make_tensor("unused", TensorProto.FLOAT, [3], [1.0, 2.0, 3.0]))
    path = tmp_path / "good.onnx"
    path.write_bytes(model.SerializeToString())
    assert len(load_model(str(path)).network.inputs) == 1


def test_sparse_tensors(tmp_path: Path) -> None:
    model = convolution(weight_of())
    sparse = model.graph.sparse_initializer.add()
    sparse.values.CopyFrom(helper.make_tensor("s", TensorProto.FLOAT, [1], [1.0]))
    sparse.indices.CopyFrom(helper.make_tensor("i", TensorProto.INT64, [1], [0]))
    sparse.dims.append(9)
    refused(model, tmp_path, "initializer 's' is sparse; expected dense")
    builder, y = small()
    constant = helper.make_node("Constant", [], ["c"], name="constant")
    constant.attribute.append(helper.make_attribute("sparse_value", sparse))
    builder.nodes.append(constant)
    refused(finished(builder, builder.node("Add", y, "c")), tmp_path, "attribute 'sparse_value' is sparse")


def test_a_loop_of_many_steps(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One node of 2^33 elements or fewer could become more layers than memory holds."""
    monkeypatch.setattr(emitter, "MOST_ITEMS", 500)
    builder = GraphBuilder()
    x = builder.node("Transpose", builder.input("x", 1, 200_000, 4), perm=[1, 0, 2])
    y = builder.node("LSTM", x, builder.random(1, 4, 4), builder.random(1, 4, 1), hidden_size=1)
    builder.shapes[y] = [200_000, 1, 1, 1]
    message = r"node 'n1_LSTM': more than 500 layers and steps so far; expected fewer \(recurrent"
    with pytest.raises(ModelError, match=message):
        load_model(builder.save(tmp_path, y), weights=False)


# Functions and subgraphs.


def function(name: str, *calls: str, opset: int = 13) -> onnx.FunctionProto:
    """A function of one input and output that applies `calls` one after another."""
    names = ["a", *(f"b{index}" for index in range(len(calls)))]
    nodes = [
        helper.make_node(
            call, [names[index]], [names[index + 1]], domain="own" if call.startswith("f") else ""
        )
        for index, call in enumerate(calls)
    ]
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("own", 1)]
    return helper.make_function("own", name, ["a"], [names[-1]], nodes, opsets)


def calling(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    """A model that calls the first function."""
    builder, y = small()
    builder.nodes.append(helper.make_node(functions[0].name, [y], ["called"], name="call", domain="own"))
    model = finished(builder, "called")
    model.functions.extend(functions)
    model.opset_import.add(domain="own", version=1)
    return model


def test_functions_are_inlined(tmp_path: Path) -> None:
    model = calling(function("f", "Neg", "f2", "Relu"), function("f2", "Abs", "Neg"), function("f3", "Abs"))
    path = tmp_path / "good.onnx"
    path.write_bytes(model.SerializeToString())
    source = read_source(path, weights=False)
    assert [node.op_type for node in source.proto.graph.node] == ["Relu", "Neg", "Abs", "Neg", "Relu"]
    assert not source.proto.functions
    feeds = {"x": np.random.default_rng(0).standard_normal((1, 4, 6, 6)).astype(np.float32)}
    assert np.array_equal(
        run(source.proto, feeds, ["called"])["called"], run(model, feeds, ["called"])["called"]
    )


def test_functions_that_do_not_end(tmp_path: Path) -> None:
    message = "function 'f.*' calls itself or nests too deeply"
    refused(calling(function("f", "Relu", "f")), tmp_path, message)
    refused(calling(function("f", "f1"), function("f1", "f")), tmp_path, message)


@pytest.mark.parametrize("levels", [MOST_DEPTH + 1, 3000])
def test_functions_that_nest_deeply(levels: int, tmp_path: Path) -> None:
    chain = [function(f"f{index}", f"f{index + 1}") for index in range(levels - 1)]
    chain.append(function(f"f{levels - 1}", "Relu"))
    refused(calling(*chain), tmp_path, "nest")
    # Called ones first, so that each is known when the next one asks for it.
    backwards = calling(*chain)
    backwards.functions.reverse()
    refused(backwards, tmp_path, "nest")


def test_functions_that_multiply(tmp_path: Path) -> None:
    doubling = [function(f"f{index}", *[f"f{index + 1}"] * 2) for index in range(40)]
    message = rf"has {2**40 + 1} nodes with its functions inlined; expected at most {MOST_NODES}"
    refused(calling(*doubling, function("f40", "Relu")), tmp_path, message)


def test_functions_that_cannot_be_inlined(tmp_path: Path) -> None:
    refused(calling(function("f", "Relu"), function("f", "Neg")), tmp_path, "is there twice")
    refused(calling(function("f", "Relu", opset=17)), tmp_path, "imports version 17 whereas")
    refused(
        calling(function("f", "Neg", opset=17)), tmp_path, "function 'f' of domain 'own' cannot be inlined"
    )


@pytest.mark.parametrize("levels", [1, 20, 200, 2000])
def test_nested_subgraphs(levels: int, tmp_path: Path) -> None:
    """An If in an If in an If: written byte by byte, as protobuf itself refuses deep ones."""
    builder, y = small()
    model = finished(builder, y)
    inner = field(1, field(1, b"t0") + field(2, b"r") + field(4, b"Relu"))
    for level in range(levels):
        branch = field(1, b"then_branch") + field(6, inner + field(2, b"g")) + b"\xa0\x01\x05"
        inner = field(1, field(1, b"t0") + field(2, b"r%d" % level) + field(4, b"If") + field(5, branch))
        if len(inner) > 2**20:
            break
    refused(model.SerializeToString() + field(7, inner), tmp_path, "bad")


def field(number: int, content: bytes) -> bytes:
    """A length-delimited field of a protobuf message."""
    size, digits = len(content), bytearray()
    while size >= 128:
        digits.append(size % 128 + 128)
        size //= 128
    return bytes([number * 8 + 2, *digits, size]) + content


def test_references_outside_functions(tmp_path: Path) -> None:
    builder, y = small()
    model = finished(builder, builder.node("Flatten", y, axis=1))
    model.graph.node[1].attribute[0].ref_attr_name = "outer"
    refused(model, tmp_path, "attribute 'axis' refers to 'outer' of a function")


def test_a_subgraph_that_reads_nothing(tmp_path: Path) -> None:
    builder, y = small()
    branch = helper.make_graph([helper.make_node("Relu", ["gone"], ["r"])], "branch", [], [])
    builder.nodes.append(
        helper.make_node("If", [y], ["z"], name="if", then_branch=branch, else_branch=branch)
    )
    refused(finished(builder, "z"), tmp_path, "reads 'gone', which nothing writes")


# Constants that grow.


def bomb(kind: str, size: int, copies: int = 1) -> onnx.ModelProto:
    """A small file with constants of `size` elements, of each of which one is used."""
    builder, y = small()
    one = builder.constant(np.ones(1, np.float32))
    for _ in range(copies):
        if kind == "ConstantOfShape":
            large = builder.node("Relu", builder.node(kind, builder.integers(size)))
        elif kind == "Range":
            large = builder.node(kind, *(builder.constant(np.array(value)) for value in (0, size, 1)))
            large = builder.node("Cast", large, to=TensorProto.FLOAT)
        elif kind == "Pad":
            large = builder.node(kind, one, builder.integers(0, size))
        else:
            large = builder.node(kind, one, builder.integers(size))
        y = builder.node("Add", y, builder.node("Slice", large, builder.integers(0), builder.integers(1)))
    return finished(builder, y)


@pytest.mark.parametrize(("size", "copies"), [(2**40, 1), (2**31, 1), (2**24, 50)])
@pytest.mark.parametrize("kind", ["ConstantOfShape", "Expand", "Tile", "Range", "Pad"])
def test_constants_that_grow(kind: str, size: int, copies: int, tmp_path: Path) -> None:
    refused(bomb(kind, size, copies), tmp_path, "of constants|constants computed so far")


@pytest.mark.parametrize("other", [1.0, None])
def test_fills_that_are_too_large_as_weights(other: float | None, tmp_path: Path) -> None:
    """Whether they would be kept, because another weight is real, or replaced by random numbers."""
    builder, y = small()
    if other is not None:
        y = builder.node("Conv", y, builder.random(4, 4, 1, 1))
    weight = builder.node("ConstantOfShape", builder.integers(2**30, 4, 1, 1))
    model = finished(builder, builder.node("Conv", y, weight))
    refused(model, tmp_path, r"'t\d+' is a fill of shape \[1073741824, 4, 1, 1\]", weights=True)


# Numbers that are none.


@pytest.mark.parametrize("variance", [-1.0, float("nan"), float("inf")])
def test_variances(variance: float, tmp_path: Path) -> None:
    builder, y = small()
    vectors = [builder.random(4) for _ in range(3)]
    last = builder.constant(np.array([1, 1, variance, 1], np.float32))
    model = finished(builder, builder.node("BatchNormalization", y, *vectors, last))
    refused(model, tmp_path, r"variance \+ epsilon of channel 2 is .*; expected positive", weights=True)


# Chance.


def check_mutations(cases: int, seed: int, folder: Path) -> None:
    """Whatever is damaged, a file loads or the error is a ModelError; failures are listed with their seeds."""
    own = calling(function("f", "Neg", "f2", "Relu"), function("f2", "Abs", "Neg"))
    files = [*originals(), own.SerializeToString(), external("w.bin").SerializeToString()]
    path = folder / "damaged.onnx"
    failures: list[str] = []
    for case in range(seed, seed + cases):
        generator = random.Random(case)
        path.write_bytes(mutated(generator.choice(files), generator))
        began = time.process_time()
        try:
            with contextlib.suppress(ModelError):
                load_model(str(path), weights=False)
        except Exception as error:
            failures.append(f"seed {case}: {type(error).__name__}: {error}")
        seconds = time.process_time() - began
        if seconds > SECONDS:
            failures.append(f"seed {case}: took {seconds:.1f} seconds")
    assert not failures, "\n".join(failures)


def test_mutations(tmp_path: Path) -> None:
    """ONCORE_FUZZ_CASES and ONCORE_FUZZ_SEED ask for more, or others."""
    check_mutations(CASES, SEED, tmp_path)


@pytest.mark.slow
def test_many_mutations(tmp_path: Path) -> None:
    check_mutations(5000, 10**6, tmp_path)
