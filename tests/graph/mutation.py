"""Damages model files at random, in their bytes and in their fields."""

from __future__ import annotations

import random
from typing import Any

import numpy as np
import onnx
from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message
from onnx import helper, numpy_helper

from graph.files.zoo import zoo_file
from graph.models import build

NAMES = (
    "resnet18:size=32,width=0.125",
    "mobilenet_v2:size=32,width=0.25",
    "randwire:channels=8,nodes=6,size=32",
    "fsrcnn:rows=9,columns=11,d=8,s=4,m=2",
    "unet:rows=32,columns=32,width=4,depth=2",
    "bert_base:sequence=8,layers=1,width=16,heads=2,vocabulary=20,token_types=yes,mask=yes",
    "gpt:sequence=8,layers=1,width=16,heads=2,vocabulary=20,positions=16",
    "conformer:frames=16,layers=1,width=16,heads=2,kernel=7,attention=relative",
    "vit_b16:size=32,patch=16,layers=1,width=16,heads=2,hidden=16",
    "dlrm:rows=9,tables=3,width=8,scale=0.0625,lookups=2",
    "deepspeech2:frames=24,layers=1,width=8",
    "seq2seq:source=5,target=5,layers=1,width=8,vocabulary=9",
)
FILES = ("alexnet", "squeezenet", "zfnet512", "shufflenet")

_NUMBERS = (0, 1, -1, 2, 3, 7, 63, 1000, 2**31 - 1, 2**31, -(2**31), 2**40, 2**62, 2**63 - 1, -(2**63))
_FLOATS = (0.0, -1.0, 1e-30, 1e38, float("inf"), float("nan"))


def originals() -> list[bytes]:
    """Small valid files of every kind."""
    return [
        *(build(name).SerializeToString(deterministic=True) for name in NAMES),
        *(zoo_file(name).read_bytes() for name in FILES),
        _control_flow(),
        _positions_and_states(),
        _in_half(),
    ]


def _in_half() -> bytes:
    """A file in half precision, which computes its normalisations in float32."""
    model = onnx.load_model_from_string(build(NAMES[8]).SerializeToString())
    for item in model.graph.initializer:
        values = numpy_helper.to_array(item)
        if values.dtype == np.float32:
            item.CopyFrom(numpy_helper.from_array(values.astype(np.float16), item.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if attribute.t.data_type == onnx.TensorProto.FLOAT:
                values = numpy_helper.to_array(attribute.t).astype(np.float16)
                attribute.t.CopyFrom(numpy_helper.from_array(values))
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.elem_type = onnx.TensorProto.FLOAT16
    del model.graph.value_info[:]
    output = model.graph.output[0].name
    model.graph.node.append(helper.make_node("Cast", [output], ["wide"], to=onnx.TensorProto.FLOAT))
    model.graph.node.append(helper.make_node("Cast", ["wide"], ["narrow"], to=onnx.TensorProto.FLOAT16))
    model.graph.output[0].name = "narrow"
    return model.SerializeToString(deterministic=True)


def _control_flow() -> bytes:
    """An If, a Loop and a Scan whose conditions and turns are constants."""
    state, part = (helper.make_tensor_value_info(name, 1, [1, 8]) for name in ("state", "part"))
    going = helper.make_tensor_value_info("goes", onnx.TensorProto.BOOL, [])
    turn = helper.make_tensor_value_info("turn", onnx.TensorProto.INT64, [])
    given = [helper.make_tensor_value_info(name, 1, [1, 8]) for name in ("next", "given")]
    step = [helper.make_node("Tanh", ["state"], ["next"]), helper.make_node("Neg", ["next"], ["given"])]
    scan = [
        helper.make_node("Add", ["state", "part"], ["next"]),
        helper.make_node("Neg", ["next"], ["given"]),
    ]
    still = helper.make_node("Identity", ["goes"], ["going"])
    out = helper.make_tensor_value_info("going", onnx.TensorProto.BOOL, [])
    loop = helper.make_graph([*step, still], "loop", [turn, going, state], [out, *given])
    over = helper.make_graph(scan, "scan", [state, part], given)
    branches = [
        helper.make_graph(
            [helper.make_node(kind, ["x"], [kind])],
            kind,
            [],
            [helper.make_tensor_value_info(kind, 1, [1, 5, 8])],
        )
        for kind in ("Relu", "Abs")
    ]
    nodes = [
        helper.make_node("If", ["go"], ["z"], then_branch=branches[0], else_branch=branches[1]),
        helper.make_node("ReduceMean", ["z"], ["first"], axes=[1], keepdims=0),
        helper.make_node("Loop", ["turns", "go", "first"], ["last", "all"], body=loop),
        helper.make_node(
            "Scan",
            ["last", "z"],
            ["end", "y"],
            body=over,
            num_scan_inputs=1,
            scan_input_axes=[1],
            scan_output_axes=[1],
        ),
    ]
    constants = [numpy_helper.from_array(np.array(3), "turns"), numpy_helper.from_array(np.array(True), "go")]
    tensors = [helper.make_tensor_value_info(name, 1, [1, 5, 8]) for name in ("x", "y")]
    graph = helper.make_graph(nodes, "control", tensors[:1], tensors[1:], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def _positions_and_states() -> bytes:
    """Rotary positions, attention with a past, a recurrent network before the batch, indexing and assignments."""
    small = {
        "table": np.ones((9, 2), np.float32),
        "w": np.ones((1, 4, 8), np.float32),
        "r": np.ones((1, 4, 4), np.float32),
        "axis": np.array(1),
        "rows": np.array([[0, 1], [0, 3]]),
        "places": np.array([[0, 0], [0, 2]]),
    }
    heads = {"q_num_heads": 2, "kv_num_heads": 2}
    nodes = [
        helper.make_node("RotaryEmbedding", ["x", "table", "table", "ids"], ["q"], num_heads=2),
        helper.make_node("Attention", ["q", "q", "x", "", "pk", "pv"], ["y", "k", "v"], is_causal=1, **heads),
        helper.make_node("CumSum", ["y", "axis"], ["sum"], reverse=1),
        helper.make_node("Trilu", ["sum", "axis"], ["upper"]),
        helper.make_node("GatherND", ["upper", "rows"], ["two"]),
        helper.make_node("ScatterND", ["x", "places", "two"], ["put"]),
        helper.make_node("Transpose", ["put"], ["time"], perm=[1, 0, 2]),
        helper.make_node("RNN", ["time", "w", "r", "", "", "h"], ["all", "h1"], hidden_size=4),
        helper.make_node("Shrink", ["all"], ["found"], lambd=0.1, bias=0.1),
    ]
    sizes = {"x": [1, 5, 8], "pk": [1, 2, 3, 4], "pv": [1, 2, 3, 4], "h": [1, 1, 4]}
    inputs = [helper.make_tensor_value_info(name, 1, size) for name, size in sizes.items()]
    inputs.append(helper.make_tensor_value_info("ids", onnx.TensorProto.INT64, [1, 5]))
    outputs = {"found": [5, 1, 1, 4], "k": [1, 2, 8, 4], "h1": [1, 1, 4]}
    graph = helper.make_graph(
        nodes,
        "states",
        inputs,
        [helper.make_tensor_value_info(name, 1, size) for name, size in outputs.items()],
        [numpy_helper.from_array(value, name) for name, value in small.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)
    data: bytes = model.SerializeToString(deterministic=True)
    return data


def mutated(data: bytes, generator: random.Random) -> bytes:
    """`data` with a few places damaged, mostly one."""
    if generator.random() < 0.3:
        return _other_bytes(bytearray(data), generator)
    model = onnx.ModelProto()
    model.ParseFromString(data)
    for _ in range(generator.choice((1, 1, 1, 2, 3))):
        _change(model, generator)
    return bytes(model.SerializeToString())


def _other_bytes(data: bytearray, generator: random.Random) -> bytes:
    for _ in range(generator.randint(1, 3)):
        place = generator.randrange(len(data))
        kind = generator.randrange(5)
        if kind == 0:
            data[place] = generator.randrange(256)
        elif kind == 1:
            data[place] ^= 1 << generator.randrange(8)
        elif kind == 2:
            del data[place : place + generator.randint(1, 40)]
        elif kind == 3:
            start = generator.randrange(len(data))
            data[place:place] = data[start : start + generator.randint(1, 60)]
        else:
            del data[max(1, place) :]
        if not data:
            break
    return bytes(data)


def _change(message: Message, generator: random.Random) -> None:
    """Walk down to a field at random, and change it."""
    while True:
        fields = [field for field, _ in message.ListFields()]
        if not fields or generator.random() < 0.03:
            _set(message, generator.choice(message.DESCRIPTOR.fields), generator)
            return
        field = generator.choice(fields)
        value: Any = getattr(message, field.name)
        if field.type != FieldDescriptor.TYPE_MESSAGE:
            _set(message, field, generator)
            return
        if not field.is_repeated:
            if generator.random() < 0.05:
                message.ClearField(field.name)
                return
            message = value
            continue
        index = generator.randrange(len(value))
        kind = generator.random()
        if kind < 0.06:
            del value[index]
            return
        if kind < 0.1:
            value.add().CopyFrom(value[index])
            return
        if kind < 0.14:
            value[index].CopyFrom(value[generator.randrange(len(value))])
            return
        message = value[index]


def _set(message: Message, field: FieldDescriptor, generator: random.Random) -> None:
    if field.type == FieldDescriptor.TYPE_MESSAGE:
        part = getattr(message, field.name)
        if field.is_repeated:
            part.add()
        else:
            part.SetInParent()
        return
    value = _value(message, field, generator)
    if not field.is_repeated:
        if generator.random() < 0.15:
            message.ClearField(field.name)
        else:
            setattr(message, field.name, value)
        return
    values = getattr(message, field.name)
    kind = generator.randrange(3)
    if values and kind == 0:
        values[generator.randrange(len(values))] = value
    elif values and kind == 1:
        del values[generator.randrange(len(values))]
    else:
        values.append(value)


def _value(message: Message, field: FieldDescriptor, generator: random.Random) -> Any:
    if field.type == FieldDescriptor.TYPE_STRING:
        return generator.choice(
            ["", "x", "Relu", "Reshape", "ConstantOfShape", "Split", "axes", "ai.onnx", "é"]
        )
    if field.type == FieldDescriptor.TYPE_BYTES:
        return generator.choice([b"", b"\xff\xfe", b"SAME_UPPER", b"\0" * 8, b"\x7f" * 8])
    if field.type in (FieldDescriptor.TYPE_FLOAT, FieldDescriptor.TYPE_DOUBLE):
        return generator.choice(_FLOATS)
    if field.type == FieldDescriptor.TYPE_ENUM:
        return generator.choice(field.enum_type.values).number
    number = generator.choice(_NUMBERS)
    if field.type in (FieldDescriptor.TYPE_INT32, FieldDescriptor.TYPE_SINT32):
        return max(-(2**31), min(2**31 - 1, number))
    return abs(number) if field.type == FieldDescriptor.TYPE_UINT64 else number
