"""Compact binary form of a kernel: the same as its assembly text, in a tenth of the bytes.

A header (magic, version, length and CRC-32 of what follows), then tables of the strings, core sets and field
layouts in use, then the instructions. All numbers are LEB128, signed ones zigzag. docs/kernels.md says more.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Hashable
from typing import TypeVar

from hwmodel.errors import KernelError
from hwmodel.programs.assembly import MOST_CORES, validate
from hwmodel.programs.fields import KNOWN
from hwmodel.programs.isa import Instruction, Kernel, Op, Symbol

MAGIC = b"ONCOREKB"
VERSION = 1

_HEADER = struct.Struct("<8sHII")

# A field of an instruction: its name, and whether it has a value for every core.
_Layout = tuple[tuple[str, bool], ...]

_Key = TypeVar("_Key", bound=Hashable)


def encode(kernel: Kernel) -> bytes:
    """The binary form of a kernel. Raises KernelError where it could not be read back."""
    validate(kernel)
    strings: dict[str, int] = {}
    cores: dict[tuple[int, ...], int] = {}
    layouts: dict[_Layout, int] = {}
    body = bytearray()
    _unsigned(body, _index(strings, kernel.name))
    _unsigned(body, len(kernel.symbols))
    for symbol in kernel.symbols:
        _unsigned(body, _index(strings, symbol.name))
        _unsigned(body, _index(strings, symbol.memory))
    _unsigned(body, len(kernel.instructions))
    for index, instruction in enumerate(kernel.instructions):
        order = KNOWN[instruction.op]
        names = sorted(instruction.fields, key=order.__getitem__)
        layout = tuple((name, len(instruction.fields[name]) > 1) for name in names)
        body.append(instruction.op)
        _unsigned(body, _index(cores, instruction.cores))
        _unsigned(body, _index(layouts, layout))
        for name in names:
            for value in instruction.fields[name]:
                _unsigned(body, value << 1 if value >= 0 else (-value << 1) - 1)
        _unsigned(body, len(instruction.waits))
        for wait in instruction.waits:
            _unsigned(body, index - wait)
        _unsigned(body, len(instruction.events))
        for event in instruction.events:
            _unsigned(body, _index(strings, event))
    for layout in layouts:
        for name, _ in layout:
            _index(strings, name)
    payload = _tables(strings, cores, layouts) + bytes(body)
    return _HEADER.pack(MAGIC, VERSION, len(payload), zlib.crc32(payload)) + payload


def _tables(strings: dict[str, int], cores: dict[tuple[int, ...], int], layouts: dict[_Layout, int]) -> bytes:
    out = bytearray()
    _unsigned(out, len(strings))
    for text in strings:
        try:
            data = text.encode()
        except UnicodeEncodeError as error:
            raise KernelError(f"name {text!r} is not Unicode text") from error
        _unsigned(out, len(data))
        out += data
    _unsigned(out, len(cores))
    for group in cores:
        _unsigned(out, len(group))
        for core in group:
            _unsigned(out, core)
    _unsigned(out, len(layouts))
    for layout in layouts:
        _unsigned(out, len(layout))
        for name, per_core in layout:
            _unsigned(out, strings[name] << 1 | per_core)
    return bytes(out)


def _index(table: dict[_Key, int], key: _Key) -> int:
    return table.setdefault(key, len(table))


def _unsigned(out: bytearray, value: int) -> None:
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)


class _Reader:
    """Takes numbers off the front of bytes, and never believes a count that what is left cannot hold."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def byte(self) -> int:
        if self._at >= len(self._data):
            raise KernelError("ends too early")
        value = self._data[self._at]
        self._at += 1
        return value

    def unsigned(self, bits: int = 64) -> int:
        value = shift = 0
        while True:
            byte = self.byte()
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift >= bits:
                raise KernelError(f"holds a number of more than {bits} bits")
        return value

    def signed(self, bits: int = 64) -> int:
        value = self.unsigned(bits)
        return -((value + 1) >> 1) if value & 1 else value >> 1

    def count(self) -> int:
        """A number of things that take at least a byte each."""
        value = self.unsigned()
        if value > len(self._data) - self._at:
            raise KernelError(f"counts {value} things in {len(self._data) - self._at} bytes")
        return value

    def text(self) -> str:
        size = self.count()
        self._at += size
        try:
            return self._data[self._at - size : self._at].decode()
        except UnicodeDecodeError as error:
            raise KernelError("holds a name that is not Unicode text") from error

    def choose(self, table: list[_Key]) -> _Key:
        index = self.unsigned()
        if index >= len(table):
            raise KernelError(f"refers to entry {index} of a table of {len(table)}")
        return table[index]

    @property
    def left(self) -> int:
        return len(self._data) - self._at


def decode(data: bytes) -> Kernel:
    """The kernel that bytes describe. Raises KernelError if they are cut, changed or of another version."""
    if len(data) < _HEADER.size or not data.startswith(MAGIC):
        raise KernelError("is not a binary kernel")
    _, version, size, checksum = _HEADER.unpack_from(data)
    if version != VERSION:
        raise KernelError(f"has version {version}; this version reads {VERSION}")
    payload = data[_HEADER.size :]
    if len(payload) != size or zlib.crc32(payload) != checksum:
        raise KernelError(f"is damaged: {len(payload)} of {size} bytes, or its checksum is another")
    return decode_payload(payload)


def decode_payload(payload: bytes) -> Kernel:
    """The kernel in what follows the header. Raises KernelError where it is none."""
    reader = _Reader(payload)
    strings = [reader.text() for _ in range(reader.count())]
    cores = []
    for _ in range(reader.count()):
        size = reader.count()
        if size > MOST_CORES:
            raise KernelError(f"has an instruction for {size} cores; at most {MOST_CORES} are possible")
        cores.append(tuple(reader.unsigned() for _ in range(size)))
    layouts: list[_Layout] = []
    for _ in range(reader.count()):
        numbers = [reader.unsigned() for _ in range(reader.count())]
        if any(number >> 1 >= len(strings) for number in numbers):
            raise KernelError("has a field without a name")
        layouts.append(tuple((strings[number >> 1], bool(number & 1)) for number in numbers))
    name = reader.choose(strings)
    symbols = tuple(Symbol(reader.choose(strings), reader.choose(strings)) for _ in range(reader.count()))
    instructions = tuple(
        _instruction(reader, index, strings, cores, layouts) for index in range(reader.count())
    )
    if reader.left:
        raise KernelError(f"has {reader.left} bytes too many")
    kernel = Kernel(name, symbols, instructions)
    validate(kernel)
    return kernel


def _instruction(
    reader: _Reader, index: int, strings: list[str], cores: list[tuple[int, ...]], layouts: list[_Layout]
) -> Instruction:
    number = reader.byte()
    if number not in Op.__members__.values():
        raise KernelError(f"instruction {index} has the unknown operation {number}")
    group = reader.choose(cores)
    layout = reader.choose(layouts)
    fields = {
        name: tuple(
            reader.signed(MOST_CORES + 1 if name == "targets" else 64)
            for _ in range(len(group) if per_core else 1)
        )
        for name, per_core in layout
    }
    waits = tuple(index - reader.unsigned() for _ in range(reader.count()))
    events = tuple(reader.choose(strings) for _ in range(reader.count()))
    return Instruction(Op(number), group, fields, waits, events)
