"""How many parts a file's protobuf message has, before it is parsed.

An empty message takes two bytes in a file and more than a hundred in memory, so that a file of some megabytes could
fill it.
"""

from __future__ import annotations

import onnx
from google.protobuf.descriptor import Descriptor, FieldDescriptor  # type: ignore[import-untyped]

MOST_PARTS = 2**20
# What a smaller file can become in memory does no harm.
_SMALL_BYTES = 4 * 2**20


def has_too_many_parts(data: bytes) -> bool:
    """Whether a model file has more than `MOST_PARTS` messages and texts. False where it cannot be told."""
    if len(data) <= _SMALL_BYTES:
        return False
    count = 0
    waiting: list[tuple[int, int, Descriptor]] = [(0, len(data), onnx.ModelProto.DESCRIPTOR)]
    while waiting:
        place, end, descriptor = waiting.pop()
        messages = {
            number: field.message_type
            for number, field in descriptor.fields_by_number.items()
            if field.type == FieldDescriptor.TYPE_MESSAGE
        }
        while place < end:
            key, place = _varint(data, place, end)
            kind = key & 7
            if kind == 2:
                size, place = _varint(data, place, end)
                count += 1
                if size and key >> 3 in messages:
                    waiting.append((place, min(end, place + size), messages[key >> 3]))
                place += size
            elif kind == 0:
                _, place = _varint(data, place, end)
            elif kind in (1, 5):
                place += 8 if kind == 1 else 4
            else:
                break
            if count > MOST_PARTS:
                return True
    return False


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    """A number and the place after it; after a number that does not end, the end."""
    if place < end and data[place] < 128:
        return data[place], place + 1
    value = shift = 0
    while place < end and shift < 70:
        byte = data[place]
        place += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, place
        shift += 7
    return 0, end
