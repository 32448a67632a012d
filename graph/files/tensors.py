"""Stored tensors of a file: their shapes, the length of their data, and data in side files.

Nothing is allocated before the size that a tensor states has been compared with the bytes that are there.
"""

from __future__ import annotations

import math
from pathlib import Path, PurePosixPath, PureWindowsPath

from onnx import TensorProto, helper

from graph.errors import MOST_ELEMENTS, ModelError

_NAMES_BY_BITS = {
    2: ("UINT2", "INT2"),
    4: ("UINT4", "INT4", "FLOAT4E2M1"),
    8: (
        "UINT8",
        "INT8",
        "BOOL",
        "FLOAT8E4M3FN",
        "FLOAT8E4M3FNUZ",
        "FLOAT8E5M2",
        "FLOAT8E5M2FNUZ",
        "FLOAT8E8M0",
    ),
    16: ("UINT16", "INT16", "FLOAT16", "BFLOAT16"),
    32: ("UINT32", "INT32", "FLOAT"),
    64: ("UINT64", "INT64", "DOUBLE", "COMPLEX64"),
    128: ("COMPLEX128",),
}
# Older versions of the onnx package do not know the newest of them.
_BITS: dict[int, int] = {
    TensorProto.DataType.Value(name): bits
    for bits, names in _NAMES_BY_BITS.items()
    for name in names
    if name in TensorProto.DataType.keys()  # noqa: SIM118  (not a dict)
}


def check_shape(what: str, dims: list[int]) -> int:
    """Number of elements. Raises ModelError for a negative dimension or more than `MOST_ELEMENTS`."""
    if any(size < 0 for size in dims):
        raise ModelError(f"{what} has shape {dims}; expected no negative dimension")
    elements = math.prod(dims)
    if elements > MOST_ELEMENTS:
        raise ModelError(f"{what} has shape {dims}, {elements} elements; expected at most {MOST_ELEMENTS}")
    return elements


def check_tensor(what: str, tensor: TensorProto) -> None:
    """Raise ModelError unless a stored tensor's type is known and its data are as long as its shape says."""
    elements = check_shape(what, list(tensor.dims))
    if tensor.HasField("segment"):
        raise ModelError(f"{what} is a segment of a tensor; expected a whole one")
    if tensor.data_location == TensorProto.EXTERNAL:
        _bytes_of(what, tensor)
        return
    if tensor.data_type == TensorProto.STRING:
        found, expected, unit = len(tensor.string_data), elements, "strings"
    elif tensor.HasField("raw_data"):
        found, expected, unit = len(tensor.raw_data), _bytes_of(what, tensor), "bytes"
    else:
        expected, unit = _entries(elements, _bits(what, tensor), tensor.data_type), "numbers"
        found = len(getattr(tensor, helper.tensor_dtype_to_field(tensor.data_type)))
    if found != expected:
        raise ModelError(
            f"{what} of shape {list(tensor.dims)} and type {type_name(tensor.data_type)} has {found} {unit} of "
            f"data; expected {expected}"
        )


def type_name(data_type: int) -> str:
    """Name of an element type, or its number when there is no such type."""
    known = data_type in TensorProto.DataType.values()
    return str(TensorProto.DataType.Name(data_type)) if known else str(data_type)


def is_external(tensor: TensorProto) -> bool:
    """Whether the data are in a side file."""
    return bool(tensor.data_location == TensorProto.EXTERNAL)


def read_external(what: str, tensor: TensorProto, folder: Path) -> None:
    """Put the data of a tensor from its side file, somewhere in `folder`, into the tensor itself.

    Raises ModelError for a path that leaves the folder, a missing file, or a part of it that is too short.
    """
    entries = {item.key: item.value for item in tensor.external_data}
    expected = _bytes_of(what, tensor)
    path = _inside(what, entries.get("location", ""), folder)
    offset = _count(what, "offset", entries.get("offset", "0"))
    length = _count(what, "length", entries.get("length", str(expected)))
    if length != expected:
        raise ModelError(f"{what}: its external data have {length} bytes; expected {expected}")
    try:
        with path.open("rb") as file:
            file.seek(offset)
            data = file.read(length) if offset + length <= path.stat().st_size else b""
    except OSError as error:
        raise ModelError(f"{what}: its external data {path} cannot be read ({error.strerror})") from error
    if len(data) != length:
        raise ModelError(
            f"{what}: its external data {path} end before byte {offset + length}; expected {length} bytes from "
            f"byte {offset} on"
        )
    tensor.raw_data = data
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]


def _inside(what: str, location: str, folder: Path) -> Path:
    parts = PurePosixPath(location.replace("\\", "/"))
    outside = ModelError(
        f"{what}: its external data are at {location!r}; expected a relative path inside the model's folder"
    )
    if not parts.parts or parts.is_absolute() or PureWindowsPath(location).drive or ".." in parts.parts:
        raise outside
    if "\0" in location:
        raise outside
    try:
        path = (folder / parts).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise outside
        if not path.is_file():
            raise ModelError(f"{what}: its external data {folder / parts} do not exist; expected a file")
    except (OSError, RuntimeError) as error:
        raise ModelError(f"{what}: its external data {location!r} cannot be found ({error})") from error
    return path


def _count(what: str, key: str, text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 20):
        raise ModelError(f"{what}: {key} of its external data is {text!r}; expected a number of bytes")
    return int(text)


def _bits(what: str, tensor: TensorProto) -> int:
    if tensor.data_type not in _BITS:
        raise ModelError(f"{what} has element type {type_name(tensor.data_type)}; expected a type of numbers")
    return _BITS[tensor.data_type]


def _bytes_of(what: str, tensor: TensorProto) -> int:
    return -(-math.prod(int(size) for size in tensor.dims) * _bits(what, tensor) // 8)


def _entries(elements: int, bits: int, data_type: int) -> int:
    """Numbers that a typed field holds: a complex one takes two, and small integers share one."""
    if data_type in (TensorProto.COMPLEX64, TensorProto.COMPLEX128):
        return 2 * elements
    return -(-elements * bits // 8) if bits < 8 else elements
