"""Text and binary of kernels: nothing is lost either way, and nothing but a KernelError comes of damage."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodel.assembly import LEAST, MOST, assemble, disassemble
from hwmodel.binary import MAGIC, decode, decode_payload, encode
from hwmodel.errors import KernelError
from hwmodel.fields import KNOWN, required
from hwmodel.isa import Instruction, Kernel, Op, OperandKind, StepCode, Symbol, VectorKind

integers = st.one_of(
    st.integers(0, 300),
    st.integers(LEAST, MOST),
    st.integers(0, (1 << 32) - 1),
    st.just(MOST),
    st.just(LEAST),
)
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


@st.composite
def instructions(draw: st.DrawFn, index: int) -> Instruction:
    op = draw(st.sampled_from(Op))
    cores = tuple(draw(st.lists(st.integers(0, 1023), min_size=1, max_size=5, unique=True)))
    selectors: dict[str, tuple[int, ...]] = {}

    def choose(name: str, values: Sequence[int]) -> None:
        count = draw(st.sampled_from([1, len(cores)]))
        selectors[name] = tuple(draw(st.sampled_from(values)) for _ in range(count))

    if op is Op.VECTOR:
        choose("kind", list(VectorKind))
        choose("step_count", [0, 1, 2, 3])
        for step in range(3):
            choose(f"s{step}_op", list(StepCode))
            choose(f"s{step}_kind", list(OperandKind)[1:])
    needed = set().union(
        *(required(Instruction(op, cores, selectors), position) for position in range(len(cores)))
    )
    fields = dict(selectors)
    for name in sorted(needed - fields.keys()):
        count = draw(st.sampled_from([1, len(cores)]))
        fields[name] = tuple(draw(integers) for _ in range(count))
    waits = draw(st.lists(st.integers(0, index - 1), max_size=3)) if index else []
    return Instruction(op, cores, fields, tuple(waits), tuple(draw(st.lists(names, max_size=2))))


@st.composite
def kernels(draw: st.DrawFn) -> Kernel:
    symbols = tuple(Symbol(draw(names), draw(names)) for _ in range(draw(st.integers(0, 3))))
    body = tuple(draw(instructions(index)) for index in range(draw(st.integers(0, 5))))
    return Kernel(draw(names), symbols, body)


@settings(deadline=None)
@given(kernels())
def test_nothing_is_lost(kernel: Kernel) -> None:
    text, data = disassemble(kernel), encode(kernel)
    assert assemble(text) == kernel
    assert decode(data) == kernel
    assert disassemble(decode(data)) == text
    assert encode(assemble(text)) == data


def example() -> Kernel:
    launch = Instruction(Op.LAUNCH, (0, 1, 2, 5), {})
    load: dict[str, tuple[int, ...]] = {name: (number,) for number, name in enumerate(KNOWN[Op.LOADW])}
    load["rows"] = (1, 2, 3, 4)
    norm = dict.fromkeys(KNOWN[Op.VECTOR], (0,))
    vector: dict[str, tuple[int, ...]] = {
        name: norm[name] for name in norm if not name.startswith("s") or name.startswith(("s0", "st"))
    }
    vector |= {"kind": (4,), "step_count": (1,), "channel_start": (0,), "size": (5,), "s0_op": (3,)}
    vector |= {name: (int(np.float32(0.1).view(np.uint32)),) for name in ("alpha", "beta", "bias")}
    body = (
        launch,
        Instruction(Op.LOADW, (0, 1, 2, 5), load, (0,)),
        Instruction(Op.VECTOR, (1,), vector, (0, 1), ("a b", 'c"')),
    )
    return Kernel("conv 1", (Symbol("in", "dram"), Symbol("out", "llb")), body)


def test_the_text_can_be_read() -> None:
    lines = disassemble(example()).splitlines()
    assert lines[:6] == [
        "oncore-kernel 1",
        'name "conv\\u00201"',
        'symbol "in" "dram"',
        'symbol "out" "llb"',
        "@0 LAUNCH cores=0-2,5",
        "@1 LOADW cores=0-2,5 rows=[1,2,3,4] row_bytes=1 dst_addr=2 src_symbol=3 src_offset=4 "
        "src_row_stride=5 waits=0",
    ]
    assert lines[6].startswith("@2 VECTOR cores=1 kind=CHANNEL_NORM images=0 ")
    assert " alpha=0.1f " in lines[6]
    assert " s0_op=CLIP s0_kind=NONE " in lines[6]
    assert lines[6].endswith(' waits=0,1 events="a\\u0020b","c\\""')


@pytest.mark.parametrize(
    "before, after, message",
    [
        ("oncore-kernel 1", "oncore-kernel 2", "line 1"),
        ("LOADW", "LOADX", "line 6: unknown operation 'LOADX'"),
        ("row_bytes=1", "row_byte=1", "line 6: LOADW has the unknown field 'row_byte'"),
        ("row_bytes=1", "row_bytes=x", "line 6: 'x' is not a number"),
        ("row_bytes=1", "row_bytes=99999999999999999999", "does not fit 64 bits"),
        ("row_bytes=1 ", "", "instruction 1: LOADW has no field row_bytes"),
        ("rows=[1,2,3,4]", "rows=[1,2,3]", "field rows has 3 values for 4 cores"),
        ("rows=[1,2,3,4]", "rows=1 rows=1", "is there twice"),
        ("waits=0\n", "waits=1\n", "not all for earlier instructions"),
        ("cores=0-2,5", "cores=0-99999999", "are not from 0 to 1023"),
        ("cores=1 ", "cores=1,1 ", "names no core, or one twice"),
        ("kind=CHANNEL_NORM", "kind=9", "which is no VectorKind"),
        ("step_count=1", "step_count=9223372036854775807", "field step_count"),
        ("@2", "@3", "'@3' is not expected"),
        ('"c\\""', '"c', "is not a name in quotes"),
    ],
)
def test_wrong_text_is_refused(before: str, after: str, message: str) -> None:
    text = disassemble(example())
    assert before in text
    with pytest.raises(KernelError) as caught:
        assemble(text.replace(before, after, 1))
    assert message in str(caught.value)


def test_what_could_not_be_read_back_is_not_written() -> None:
    for fields, waits in (({"rows": (1,)}, ()), ({}, (0,)), ({}, (-1,))):
        kernel = Kernel("k", (), (Instruction(Op.LAUNCH, (0,), fields, waits),))
        for write in (disassemble, encode):
            with pytest.raises(KernelError, match="instruction 0"):
                write(kernel)


def test_damaged_bytes_are_refused() -> None:
    data = encode(example())
    rng = np.random.default_rng(0)
    for size in range(len(data)):
        with pytest.raises(KernelError):
            decode(data[:size])
    for _ in range(300):
        changed = bytearray(data)
        changed[rng.integers(len(data))] ^= 1 << rng.integers(8)
        with pytest.raises(KernelError):
            decode(bytes(changed))


def test_damage_that_the_checksum_does_not_show_is_refused_or_harmless() -> None:
    payload = encode(example())[len(MAGIC) + 10 :]
    assert decode_payload(payload) == example()
    rng = np.random.default_rng(1)
    for _ in range(3000):
        changed = bytearray(payload)
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] = rng.integers(256)
        if rng.random() < 0.3:
            del changed[rng.integers(len(changed)) :]
        with contextlib.suppress(KernelError):
            decode_payload(bytes(changed))


def test_damaged_text_is_refused_or_harmless() -> None:
    text = disassemble(example())
    rng = np.random.default_rng(2)
    for _ in range(3000):
        changed = bytearray(text, "ascii")
        for _ in range(rng.integers(1, 4)):
            changed[rng.integers(len(changed))] = rng.integers(128)
        if rng.random() < 0.3:
            del changed[rng.integers(len(changed)) :]
        with contextlib.suppress(KernelError):
            assemble(changed.decode("ascii"))
