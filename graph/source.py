"""Reading an ONNX file: bytes to a checked ModelProto with its hash, every failure a ModelError."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from onnx import external_data_helper

from graph.constants import is_weight
from graph.errors import ModelError

MINIMUM_OPSET = 7


@dataclass(frozen=True, slots=True)
class Source:
    """A checked ONNX file: its path, proto, SHA-256 of the file's bytes and version of the default opset."""

    path: Path
    proto: onnx.ModelProto
    model_hash: str
    opset: int


def read_source(path: Path, weights: bool) -> Source:
    """Read and check a file; `weights` says whether weights in side files are read too.

    Raises ModelError when the file is not a valid ONNX model or its opset is older than `MINIMUM_OPSET`.
    """
    data = path.read_bytes()
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise ModelError(f"{path}: not an ONNX file, or a truncated one ({error})") from error
    if not proto.graph.node:
        raise ModelError(
            f"{path}: not an ONNX file, or an empty one; expected a graph with at least one node"
        )
    _check(path, proto, len(data))
    try:
        for item in proto.graph.initializer:
            if external_data_helper.uses_external_data(item) and (weights or not is_weight(item)):
                external_data_helper.load_external_data_for_tensor(item, str(path.parent))
    except (OSError, ValueError, onnx.checker.ValidationError) as error:
        raise ModelError(f"{path}: its external data cannot be read ({error})") from error
    return Source(path, proto, hashlib.sha256(data).hexdigest(), _opset(path, proto))


def _check(path: Path, proto: onnx.ModelProto, size_bytes: int) -> None:
    external = any(external_data_helper.uses_external_data(item) for item in proto.graph.initializer)
    try:
        if external or size_bytes >= onnx.checker.MAXIMUM_PROTOBUF:
            onnx.checker.check_model(str(path))
        else:
            onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, UnicodeDecodeError) as error:
        # The checker's own message cannot always be decoded when a name in a broken file is no text.
        raise ModelError(f"{path}: not a valid ONNX model: {str(error).strip()}") from error
    if proto.graph.sparse_initializer:
        name = proto.graph.sparse_initializer[0].values.name
        raise ModelError(f"{path}: initializer {name!r} is sparse; expected dense initializers")


def _opset(path: Path, proto: onnx.ModelProto) -> int:
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx"):
            if entry.version < MINIMUM_OPSET:
                raise ModelError(f"{path}: opset {entry.version}; expected {MINIMUM_OPSET} or later")
            return int(entry.version)
    raise ModelError(f"{path}: imports no version of the default ONNX opset; expected one")
