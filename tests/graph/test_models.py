"""The models built by name: valid, as large as published, and narrow versions run."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper, shape_inference

from graph.counts import macs_per_image
from graph.errors import ModelError
from graph.files.source import BuiltModel, read_source
from graph.files.zoo import find_model, model_name, zoo_names
from graph.importer import load_model
from graph.models import build, describe, model_names
from tests.graph.checking import check_export, reference_tensors

# Billions of multiply-accumulates and millions of parameters, as published for the model or, where the paper has
# no number, as the sum of its table.
PUBLISHED = {
    "resnet18": (1.82, 11.69),
    "resnet34": (3.67, 21.80),
    "resnet50_v1": (4.09, 25.56),
    "resnet101": (7.80, 44.55),
    "resnext29": (5.40, 34.43),
    "mobilenet_v2": (0.3008, 3.505),
    "vit_b16": (17.56, 86.57),
    "bert_base": (11.17, 109.48),
    "bert_base:sequence=384": (35.3, 109.48),
    "bert_large": (39.5, 335.14),
    "gpt": (None, 124.44),
    "gpt:layers=48,width=1600,heads=25,sequence=64": (None, 1557.6),
    "dlrm:rows=40000000": (0.0024585, 24036.6),
    "lstm": (None, 66.0),
    "nasnet_mobile": (0.564, 5.29),
    "nasnet_cifar": (None, 3.3),
    "randwire": (0.583, 5.6),
    "randwire:regime=regular,channels=109": (4.0, 31.9),
    "unet:rows=572,columns=572,padding=none": (None, 31.03),
    "fsrcnn:last=conv,padding=none": (8.363, None),
    "dmcnn_vd": (262.3, None),
    "mc_cnn": (0.467 * (64 * 9 + 3 * 64 * 64 * 9) / 1000, None),
}
# A random graph's size depends on its seed. 1 % for the others.
TOLERANCE = {"randwire": 0.05}

# Narrow versions, and the shapes of their outputs.
NARROW: dict[str, list[tuple[int, ...]]] = {
    "bert_base:sequence=16,layers=2,width=32,heads=4,vocabulary=99,token_types=yes,mask=yes": [
        (1, 16, 32),
        (1, 32),
    ],
    "bert_large:sequence=8,layers=1,width=32,heads=2,vocabulary=50,pooler=no": [(1, 8, 32)],
    "conformer:frames=48,layers=2,width=16,heads=2,kernel=7": [(1, 12, 16)],
    "conformer:frames=12,layers=1,width=16,heads=2,kernel=7,attention=relative,subsampling=no": [(1, 12, 16)],
    "deepspeech2:frames=24,layers=2,width=8": [(1, 12, 29)],
    "deepspeech2:frames=24,layers=1,width=8,cell=gru": [(1, 12, 29)],
    "dlrm:rows=50,tables=4,width=16,scale=0.0625": [(1, 1)],
    "dlrm:rows=50,tables=3,width=8,scale=0.0625,lookups=5": [(1, 1)],
    "dmcnn_vd:rows=10,columns=12,layers=3,width=4": [(1, 3, 10, 12)],
    "fsrcnn:rows=9,columns=11,d=8,s=4,m=2": [(1, 1, 18, 22)],
    "fsrcnn:rows=9,columns=11,d=8,s=4,m=2,last=conv,padding=none": [(1, 16, 9, 11)],
    "gpt:sequence=12,layers=2,width=32,heads=4,vocabulary=80": [(1, 12, 80)],
    "lstm:sequence=6,width=16,vocabulary=40": [(1, 6, 40)],
    "lstm:sequence=3,width=16,vocabulary=40,nodes=cells": [(1, 3, 40)],
    "mc_cnn:rows=8,columns=9,width=4,padding=none": [(1, 4, 8, 9)],
    "mobilenet_v2:size=32,width=0.25": [(1, 1000)],
    "nasnet_cifar:cells=1,filters=4": [(1, 10)],
    "nasnet_mobile:size=64,cells=1,filters=8": [(1, 1000)],
    "randwire:channels=8,nodes=8,size=32": [(1, 1000)],
    "randwire:channels=8,nodes=12,size=32,regime=regular": [(1, 1000)],
    "resnet18:size=32,width=0.125": [(1, 1000)],
    "resnet34:size=32,width=0.125": [(1, 1000)],
    "resnet50_v1:size=32,width=0.125,classes=10": [(1, 10)],
    "resnet101:size=32,width=0.125": [(1, 1000)],
    "resnext29:cardinality=2,width=4,size=8": [(1, 10)],
    "seq2seq:source=5,target=7,layers=2,width=8,vocabulary=30": [(1, 7, 30)],
    "unet:rows=32,columns=48,width=4": [(1, 2, 32, 48)],
    "unet:rows=44,columns=60,width=4,depth=2,padding=none": [(1, 2, 4, 20)],
    "vit_b16:size=32,patch=8,layers=2,width=32,heads=4,hidden=64": [(1, 1000)],
}


def test_names() -> None:
    assert set(model_names()) == {name.partition(":")[0] for name in NARROW}
    assert list(model_names()) == sorted(model_names())


@pytest.mark.parametrize("name", model_names())
def test_valid_small_and_deterministic(name: str) -> None:
    began = time.process_time()
    model = build(name)
    assert time.process_time() - began < 1
    data = model.SerializeToString(deterministic=True)
    assert len(data) < 500_000
    assert build(name).SerializeToString(deterministic=True) == data
    onnx.checker.check_model(model, full_check=True)
    nodes = [node.name for node in model.graph.node]
    assert len(set(nodes)) == len(nodes)
    assert describe(name).startswith(f"{name}:")


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name: str) -> None:
    gmacs, millions = PUBLISHED[name]
    tolerance = TOLERANCE.get(name.partition(":")[0], 0.01)
    found_macs, found_parameters = counts(build(name))
    if gmacs is not None:
        assert found_macs / 1e9 == pytest.approx(gmacs, rel=tolerance)
    if millions is not None:
        assert found_parameters / 1e6 == pytest.approx(millions, rel=tolerance)


@pytest.mark.parametrize(("name", "weights"), [("fsrcnn", 12_464), ("fsrcnn:last=conv", 15_992)])
def test_fsrcnn_weights(name: str, weights: int) -> None:
    """The paper counts 12,464 without biases; DeFiNES's variant has 15.6 KiB of 8-bit weights."""
    shapes = {item.name: numpy_helper.to_array(item) for item in build(name).graph.initializer}
    fills = [node for node in build(name).graph.node if node.name.endswith("/weight")]
    assert sum(math.prod(shapes[node.input[0]].tolist()) for node in fills) == weights


def counts(model: onnx.ModelProto) -> tuple[int, int]:
    """Multiply-accumulates and trained parameters of a model, from its nodes and inferred shapes alone."""
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    shapes = {
        item.name: [dim.dim_value for dim in item.type.tensor_type.shape.dim]
        for item in [*graph.input, *graph.value_info, *graph.output]
    }
    parameters = {node.output[0] for node in graph.node if node.op_type == "ConstantOfShape"}
    macs = 0
    for node in graph.node:
        if node.op_type == "BatchNormalization":
            parameters -= set(node.input[3:])
        elif node.op_type == "Trilu":
            parameters -= set(node.input)
        elif node.op_type == "Conv":
            macs += math.prod(shapes[node.output[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type == "ConvTranspose":
            macs += math.prod(shapes[node.input[0]]) * math.prod(shapes[node.input[1]][1:])
        elif node.op_type in ("MatMul", "Gemm"):
            macs += math.prod(shapes[node.output[0]]) * shapes[node.input[0]][-1]
        elif node.op_type in ("LSTM", "GRU"):
            steps = shapes[node.input[0]][0]
            macs += steps * sum(math.prod(shapes[weight]) for weight in node.input[1:3])
    return macs, sum(math.prod(shapes[name]) for name in parameters)


@pytest.mark.parametrize("name", NARROW)
def test_narrow_versions_run(name: str) -> None:
    model = build(name)
    generator = np.random.default_rng(0)
    randomise(model, generator)
    session = session_of(model)
    feeds = {
        item.name: generator.integers(0, 2, item.shape)
        if item.type == "tensor(int64)"
        else generator.standard_normal(item.shape).astype(np.float32)
        for item in session.get_inputs()
    }
    results = session.run(None, feeds)
    assert [result.shape for result in results] == NARROW[name]
    for result in results:
        assert np.isfinite(result).all()
        assert result.size == 1 or result.std() > 1e-6


def randomise(model: onnx.ModelProto, generator: np.random.Generator) -> None:
    """Random values in place of the fills of weights."""
    shapes = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    trained = [
        node for node in model.graph.node if node.op_type == "ConstantOfShape" and "mask" not in node.name
    ]
    for node in trained:
        shape = shapes[node.input[0]]
        centre = float(numpy_helper.to_array(node.attribute[0].t)[0])
        spread = 0.1 if len(shape) == 1 else 1 / math.sqrt(math.prod(shape[1:]))
        values = (
            np.abs(centre + spread * generator.standard_normal(shape))
            if centre == 1
            else (spread * generator.standard_normal(shape))
        )
        model.graph.initializer.append(numpy_helper.from_array(values.astype(np.float32), node.output[0]))
        model.graph.node.remove(node)


def session_of(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )


def test_causal() -> None:
    """A later token changes no earlier logits."""
    model = build("gpt:sequence=8,layers=1,width=16,heads=2,vocabulary=20")
    randomise(model, np.random.default_rng(0))
    session = session_of(model)
    ids = np.arange(8, dtype=np.int64)[None]
    changed = ids.copy()
    changed[0, 5] = 19
    (before,), (after,) = (session.run(None, {"input_ids": item}) for item in (ids, changed))
    assert np.array_equal(before[0, :5], after[0, :5])
    assert not np.allclose(before[0, 5:], after[0, 5:])


def test_relative_positions() -> None:
    """The score of places t and s reads the encoding of distance T - 1 - t + s."""
    model = build("conformer:frames=9,layers=1,width=4,heads=1,kernel=3,attention=relative,subsampling=no")
    place = "layer0/attention/place"
    for name in (f"{place}/scores", f"{place}/shifted"):
        model.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    randomise(model, np.random.default_rng(0))
    session = session_of(model)
    frames = np.random.default_rng(1).standard_normal((1, 9, 4)).astype(np.float32)
    _, scores, shifted = session.run(None, {"features": frames})
    for t in range(9):
        assert np.array_equal(shifted[0, 0, t], scores[0, 0, t, 8 - t : 17 - t])


def test_random_wiring_depends_on_the_seed() -> None:
    one, other = (build(f"randwire:seed={seed}").SerializeToString() for seed in (1, 2))
    assert one != other


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("berd", "model 'berd' is unknown; expected one of bert_base, "),
        ("bert_base:", r"model 'bert_base': '' is no parameter; expected key=value with a key of sequence, "),
        (
            "bert_base:length=3",
            r"'length=3' is no parameter; expected key=value with a key of sequence, layers",
        ),
        ("bert_base:sequence", r"'sequence' is no parameter; expected key=value"),
        ("bert_base:sequence=0", r"parameter 'sequence' is '0'; expected an integer from 1 to 16384"),
        ("bert_base:sequence=1.5", r"parameter 'sequence' is '1\.5'; expected an integer"),
        ("bert_base:sequence=1e999", "parameter 'sequence' is '1e999'"),
        ("bert_base:sequence=8,sequence=9", "parameter 'sequence' is given twice"),
        (
            "bert_base:width=100",
            r"parameter 'width' is 100; expected a multiple of 12 \(the number of heads\)",
        ),
        ("bert_base:mask=maybe", "parameter 'mask' is 'maybe'; expected one of no, yes"),
        ("resnet50_v1:width=nan", r"parameter 'width' is 'nan'; expected a number from 0\.015625 to 16"),
        ("resnet50_v1:width=inf", "parameter 'width' is 'inf'"),
        (
            "resnet50_v1:size=1000000000",
            "parameter 'size' is '1000000000'; expected an integer from 32 to 4096",
        ),
        ("gpt:sequence=2000", "parameter 'sequence' is 2000; expected at most positions=1024"),
        ("vit_b16:size=225", r"parameter 'size' is 225; expected a multiple of 16 \(the patch\)"),
        ("conformer:kernel=32", "parameter 'kernel' is 32; expected an odd number"),
        (
            "randwire:neighbours=3",
            "parameter 'neighbours' is 3; expected an even number below 32",
        ),
        ("fsrcnn:padding=none", "parameter 'padding' is 'none'; expected same with last=transposed"),
        ("unet:rows=500,columns=512", "parameters 'rows', 'columns' are 500, 512, .*; expected even sizes"),
        ("unet:rows=30,columns=30,padding=none", "expected "),
    ],
)
def test_bad_names(name: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        build(name)
    with pytest.raises(ModelError):
        read_source(find_model(name), weights=False)


@pytest.mark.parametrize("name", ["resnet18:size=32,width=0.25", "resnet50_v1:width=0.25", "resnet101"])
def test_loaded_by_name(name: str) -> None:
    network = load_model(name, weights=False).network
    assert network.model_hash == load_model(name, weights=False).network.model_hash
    macs, _ = counts(build(name))
    assert macs_per_image(network) == macs


def test_a_file_with_the_name_of_a_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("unet").write_bytes(build("resnet18").SerializeToString())
    assert read_source(find_model("./unet"), weights=False).proto.graph.name == "resnet18"
    assert read_source(find_model("unet"), weights=False).proto.graph.name == "unet"
    assert (find_model("./unet"), find_model("unet")) == (Path("unet"), BuiltModel("unet"))


@pytest.mark.parametrize(
    "name",
    [
        "resnet18:size=32,width=0.125",
        "mobilenet_v2:size=32,width=0.25",
        "randwire:channels=8,nodes=6,size=32",
    ],
)
def test_random_weights_give_the_same_results(name: str) -> None:
    """The loaded network equals its graph in onnxruntime, with random weights and two images."""
    model = load_model(name, batch=2)
    tensors = reference_tensors(model)
    check_export(model, tensors)
    last = tensors[model.network.outputs[0]]
    assert 0.01 < float(last.std()) < 100


def test_a_source_of_a_built_model() -> None:
    name = "bert_base:sequence=16"
    source = read_source(find_model(name), weights=False)
    assert (str(source.origin), source.opset) == (name, 17)
    assert source.proto == build(name)
    assert name.partition(":")[0] in zoo_names()
    assert model_name(name) == name
    assert model_name("folder/net.v2.onnx") == "net.v2"
