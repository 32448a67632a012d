"""Reading an ONNX file: bytes to a checked ModelProto with its hash, every failure a ModelError.

A file may come from anywhere. What it says is compared with what is there before anything is allocated for it, and
it reads no file outside its own folder.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError, EncodeError  # type: ignore[import-untyped]

from graph.errors import ModelError
from graph.files.structure import MOST_NODES, check_functions, check_graph, inline_functions
from graph.files.tensors import is_external, read_external
from graph.files.widening import widened
from graph.files.wire import MOST_PARTS, has_too_many_parts
from graph.folded.constants import is_weight
from graph.models import build

MINIMUM_OPSET = 7
DEFAULT_DOMAINS = ("", "ai.onnx")


@dataclass(frozen=True, slots=True)
class BuiltModel:
    """A model of graph.models: its name, with parameters."""

    name: str

    def __str__(self) -> str:
        return self.name


Origin = Path | BuiltModel
"""Where a model is from; as text it is what messages call the model."""


@dataclass(frozen=True, slots=True)
class Source:
    """A checked model: where it is from, its proto, a SHA-256 and the version of the default opset.

    The hash is that of the file's bytes, or of the proto where a model was built. In `proto` functions of the model's
    own are inlined, and half precision is float32.
    """

    origin: Origin
    proto: onnx.ModelProto
    model_hash: str
    opset: int


def read_source(origin: Origin, weights: bool) -> Source:
    """Read and check a file, or build a model.

    `weights` says whether weights in side files are read too; without it these files need not be there. Raises
    ModelError when the file is not a valid ONNX model, or its opset is older than `MINIMUM_OPSET` or newer than
    the onnx package knows.
    """
    if isinstance(origin, BuiltModel):
        proto = build(origin.name)
        digest = hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()
        return Source(origin, proto, digest, _opset(proto))
    proto, digest = _parse(origin)
    try:
        opset = _opset(proto)
        proto = _checked(proto)
        _read_side_files(proto, origin.parent, weights)
        proto = widened(proto, opset, weights)
    except ModelError as error:
        raise ModelError(f"{origin}: {error}") from error
    except UnicodeDecodeError as error:
        raise ModelError(
            f"{origin}: not a valid ONNX model: a name in it is no text ({error.reason})"
        ) from error
    return Source(origin, proto, digest, opset)


def _parse(path: Path) -> tuple[onnx.ModelProto, str]:
    try:
        if path.stat().st_size > onnx.checker.MAXIMUM_PROTOBUF:
            raise ModelError(
                f"{path}: is larger than {onnx.checker.MAXIMUM_PROTOBUF} bytes; expected weights in side files"
            )
        data = path.read_bytes()
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror})") from error
    if has_too_many_parts(data):
        raise ModelError(f"{path}: has more than {MOST_PARTS} parts; expected a model of fewer")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or a truncated one ({error})") from error
    if not proto.graph.node:
        raise ModelError(
            f"{path}: not an ONNX file, or an empty one; expected a graph with at least one node"
        )
    return proto, hashlib.sha256(data).hexdigest()


def _checked(proto: onnx.ModelProto) -> onnx.ModelProto:
    """The model, its functions inlined, after all checks that need no side file."""
    if len(proto.graph.node) > MOST_NODES:
        raise ModelError(f"has {len(proto.graph.node)} nodes; expected at most {MOST_NODES}")
    check_graph(proto.graph)
    check_functions(proto)
    skeleton = _without_data(proto)
    try:
        onnx.checker.check_model(skeleton)
    except (onnx.checker.ValidationError, EncodeError, ValueError) as error:
        # Among the last are UnicodeDecodeError, where the checker's own message cannot be decoded.
        raise ModelError(f"not a valid ONNX model: {str(error).strip()}") from error
    if proto.functions:
        inlined = inline_functions(skeleton)
        for field in ("node", "value_info"):
            del getattr(proto.graph, field)[:]
            getattr(proto.graph, field).extend(getattr(inlined.graph, field))
        del proto.functions[:], proto.opset_import[:]
        proto.opset_import.extend(inlined.opset_import)
        check_graph(proto.graph)
    return proto


def _without_data(proto: onnx.ModelProto) -> onnx.ModelProto:
    """A copy whose initializers are empty, so that it is small and names no side file."""
    graph = onnx.GraphProto(
        name=proto.graph.name or "graph",
        node=proto.graph.node,
        input=proto.graph.input,
        output=proto.graph.output,
        value_info=proto.graph.value_info,
        initializer=[
            onnx.TensorProto(name=item.name, data_type=item.data_type, dims=[0])
            for item in proto.graph.initializer
        ],
    )
    return onnx.ModelProto(
        ir_version=proto.ir_version,
        opset_import=proto.opset_import,
        graph=graph,
        functions=proto.functions,
    )


def _read_side_files(proto: onnx.ModelProto, folder: Path, weights: bool) -> None:
    for item in proto.graph.initializer:
        if is_external(item) and (weights or not is_weight(item)):
            read_external(f"initializer {item.name!r}", item, folder)


def _opset(proto: onnx.ModelProto) -> int:
    newest = onnx.defs.onnx_opset_version()
    versions = {int(item.version) for item in proto.opset_import if item.domain in DEFAULT_DOMAINS}
    if len(versions) != 1:
        raise ModelError(f"imports versions {sorted(versions)} of the default ONNX opset; expected one")
    (version,) = versions
    if not MINIMUM_OPSET <= version <= newest:
        kind = "or later" if version < MINIMUM_OPSET else f"to {newest}"
        raise ModelError(f"opset {version}; expected {MINIMUM_OPSET} {kind}")
    return version
