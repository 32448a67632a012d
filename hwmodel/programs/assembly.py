"""Readable text of a kernel: one instruction a line, without loss, so that a kernel can be read and compared.

docs/kernels.md describes the syntax.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator

import numpy as np

from hwmodel.errors import KernelError
from hwmodel.programs.fields import KNOWN, check, is_float
from hwmodel.programs.isa import Instruction, Kernel, Op, OperandKind, StepCode, Symbol, VectorKind

HEADER = "oncore-kernel 1"

# Values are kept in 64 bits by the binary form, so the text holds no others.
LEAST, MOST = -(1 << 63), (1 << 63) - 1

# No machine has more cores; a range of cores is not expanded beyond it.
MOST_CORES = 1024

_INTEGER = re.compile(r"-?[0-9]{1,20}")
_MASK = re.compile(rf"-?[0-9]{{1,{len(str(1 << MOST_CORES))}}}")  # a bit for each core
_FLOAT = re.compile(r"-?[0-9]+(\.[0-9]+)?(e[-+]?[0-9]{1,3})?f")
_STRING = re.compile(r'"(?:[^"\\]|\\.)*"')


def _codes(name: str) -> type[VectorKind] | type[StepCode] | type[OperandKind] | None:
    if name == "kind":
        return VectorKind
    if name.endswith("_op"):
        return StepCode
    return OperandKind if name.endswith("_kind") else None


def validate(kernel: Kernel) -> None:
    """Raise KernelError, naming the instruction, where a kernel could not be written and read back."""
    for index, instruction in enumerate(kernel.instructions):
        try:
            check(instruction)
            for name, values in instruction.fields.items():
                for value in values:
                    if name == "targets" and 0 <= value < 1 << MOST_CORES:
                        continue  # a bit for each core
                    if not LEAST <= value <= MOST:
                        raise KernelError(f"field {name}: {value} does not fit 64 bits")
            if not all(0 <= core < MOST_CORES for core in instruction.cores):
                raise KernelError(f"cores {instruction.cores} are not all from 0 to {MOST_CORES - 1}")
            if not all(0 <= wait < index for wait in instruction.waits):
                raise KernelError(f"waits {instruction.waits} are not all for earlier instructions")
        except KernelError as error:
            raise KernelError(f"kernel {kernel.name}, instruction {index}: {error}") from error


def disassemble(kernel: Kernel) -> str:
    """The text of a kernel. Raises KernelError where it could not be read back."""
    validate(kernel)
    lines = [HEADER, f"name {_quote(kernel.name)}"]
    lines += [f"symbol {_quote(symbol.name)} {_quote(symbol.memory)}" for symbol in kernel.symbols]
    for index, instruction in enumerate(kernel.instructions):
        order = KNOWN[instruction.op]
        tokens = [f"@{index} {instruction.op.name}", f"cores={_ranges(instruction.cores)}"]
        for name in sorted(instruction.fields, key=order.__getitem__):
            texts = [_value(name, value) for value in instruction.fields[name]]
            tokens.append(f"{name}={texts[0]}" if len(texts) == 1 else f"{name}=[{','.join(texts)}]")
        if instruction.waits:
            tokens.append(f"waits={','.join(map(str, instruction.waits))}")
        if instruction.events:
            tokens.append(f"events={','.join(map(_quote, instruction.events))}")
        lines.append(" ".join(tokens))
    return "\n".join(lines) + "\n"


def assemble(text: str) -> Kernel:
    """The kernel that a text describes. Raises KernelError, naming the line, where it is none."""
    lines = text.split("\n")
    if lines[0] != HEADER:
        raise KernelError(f"line 1: is not {HEADER!r}, which this version reads")
    name: str | None = None
    symbols: list[Symbol] = []
    instructions: list[Instruction] = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        try:
            word, _, rest = line.partition(" ")
            if word == "name" and name is None:
                name = _string(rest)
            elif word == "symbol" and not instructions:
                first, _, second = rest.partition(" ")
                symbols.append(Symbol(_string(first), _string(second)))
            elif word == f"@{len(instructions)}":
                instructions.append(_instruction(rest))
            else:
                raise KernelError(f"{word[:40]!r} is not expected here")
        except KernelError as error:
            raise KernelError(f"line {number}: {error}") from error
    if name is None:
        raise KernelError("line 2: the kernel has no name")
    kernel = Kernel(name, tuple(symbols), tuple(instructions))
    validate(kernel)
    return kernel


def _instruction(text: str) -> Instruction:
    word, *tokens = text.split(" ")
    if word not in Op.__members__:
        raise KernelError(f"unknown operation {word[:40]!r}")
    op = Op[word]
    cores: tuple[int, ...] = ()
    waits: tuple[int, ...] = ()
    events: tuple[str, ...] = ()
    fields: dict[str, tuple[int, ...]] = {}
    seen = set()
    for token in tokens:
        name, equals, value = token.partition("=")
        if not equals or name in seen:
            raise KernelError(f"{token[:40]!r} is not NAME=VALUE, or is there twice")
        seen.add(name)
        if name == "cores":
            cores = tuple(_cores(value))
        elif name == "waits":
            waits = tuple(_integer(part) for part in value.split(","))
        elif name == "events":
            events = tuple(_strings(value))
        elif name not in KNOWN[op]:
            raise KernelError(f"{op.name} has the unknown field {name[:40]!r}")
        elif value.startswith("[") and value.endswith("]"):
            fields[name] = tuple(_number(name, part) for part in value[1:-1].split(","))
            if len(fields[name]) == 1:
                raise KernelError(f"field {name}: one value stands without brackets")
        else:
            fields[name] = (_number(name, value),)
    return Instruction(op, cores, fields, waits, events)


def _value(name: str, value: int) -> str:
    codes = _codes(name)
    if codes is not None and value in codes.__members__.values():
        return codes(value).name
    if is_float(name) and 0 <= value < 1 << 32:
        number = np.uint32(value).view(np.float32)
        text = f"{number!s}f"
        if np.isfinite(number) and _FLOAT.fullmatch(text) and _bits(text) == value:
            return text
    return str(value)


def _bits(text: str) -> int:
    with np.errstate(over="ignore"):
        return int(np.float32(float(text[:-1])).view(np.uint32))


def _number(name: str, text: str) -> int:
    codes = _codes(name)
    if codes is not None and text in codes.__members__:
        return int(codes[text])
    if is_float(name) and _FLOAT.fullmatch(text):
        return _bits(text)
    return _integer(text, _MASK if name == "targets" else _INTEGER)


def _integer(text: str, form: re.Pattern[str] = _INTEGER) -> int:
    if not form.fullmatch(text):
        raise KernelError(f"{text[:40]!r} is not a number that can stand here")
    return int(text)


def _ranges(cores: tuple[int, ...]) -> str:
    parts: list[list[int]] = []
    for core in cores:
        if parts and core == parts[-1][-1] + 1:
            parts[-1].append(core)
        else:
            parts.append([core])
    return ",".join(str(part[0]) if len(part) == 1 else f"{part[0]}-{part[-1]}" for part in parts)


def _cores(text: str) -> Iterator[int]:
    for part in text.split(","):
        first, dash, last = part.partition("-")
        low = _integer(first)
        high = _integer(last) if dash else low
        if not 0 <= low <= high < MOST_CORES:
            raise KernelError(f"cores {part[:40]!r} are not from 0 to {MOST_CORES - 1}")
        yield from range(low, high + 1)


def _quote(text: str) -> str:
    return json.dumps(text).replace(" ", "\\u0020")


def _strings(text: str) -> Iterable[str]:
    end = 0
    while True:
        match = _STRING.match(text, end)
        if match is None:
            raise KernelError(f"{text[end : end + 40]!r} is not a name in quotes")
        yield _string(match[0])
        end = match.end()
        if end == len(text):
            return
        if text[end] != ",":
            raise KernelError(f"{text[end : end + 40]!r} follows a name in quotes")
        end += 1


def _string(text: str) -> str:
    try:
        value = json.loads(text) if _STRING.fullmatch(text) else None
    except ValueError:
        value = None
    if not isinstance(value, str):
        raise KernelError(f"{text[:40]!r} is not a name in quotes")
    return value
