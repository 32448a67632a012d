"""Text and binary of kernels: nothing is lost either way, and nothing but a KernelError comes of damage."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwmodel.errors import KernelError
from hwmodel.programs.assembly import LEAST, MOST, MOST_CORES, assemble, disassemble
from hwmodel.programs.binary import MAGIC, decode, decode_payload, encode
from hwmodel.programs.fields import KNOWN, MAX_DIGITS, UNARY_CODES, required
from hwmodel.programs.isa import Instruction, Kernel, Op, OperandKind, StepCode, Symbol, VectorKind

integers = st.one_of(
    st.integers(0, 300),
    st.integers(LEAST, MOST),
    st.integers(0, (1 << 32) - 1),
    st.just(MOST),
    st.just(LEAST),
)
masks = st.one_of(integers, st.integers(0, (1 << MOST_CORES) - 1), st.just((1 << MOST_CORES) - 1))
names = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)


# What a step may be: an operation, and where its operand is.
STEPS = [
    (step, kind)
    for step in StepCode
    for kind in OperandKind
    if step is StepCode.CLIP or (kind is OperandKind.NONE) == (step in UNARY_CODES)
]


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
        choose("digits", [0, 1, 2, 16])
        for step in range(3):
            count = draw(st.sampled_from([1, len(cores)]))
            chosen = [draw(st.sampled_from(STEPS)) for _ in range(count)]
            selectors[f"s{step}_op"] = tuple(op for op, _ in chosen)
            selectors[f"s{step}_kind"] = tuple(kind for _, kind in chosen)
    needed = set().union(
        *(required(Instruction(op, cores, selectors), position) for position in range(len(cores)))
    )
    fields = dict(selectors)
    for name in sorted(needed - fields.keys()):
        count = draw(st.sampled_from([1, len(cores)]))
        fields[name] = tuple(draw(masks if name == "targets" else integers) for _ in range(count))
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


def of_vector(kind: VectorKind, **fields: int) -> Kernel:
    """A kernel of one VECTOR without steps, whose fields are 0 if not given, and those of 3 digits."""
    digits = {f"d{index}_{part}": index for index in range(3) for part in ("size", "stride")}
    selectors = {"kind": (int(kind),), "step_count": (0,), "digits": (3,)}
    needed = required(Instruction(Op.VECTOR, (0,), selectors), 0)
    values = dict.fromkeys(needed, 0) | {"kind": kind} | fields
    if kind is VectorKind.REARRANGE:
        values |= {"digits": 3, **digits}
    return Kernel("k", (), (Instruction(Op.VECTOR, (0,), {n: (v,) for n, v in values.items()}),))


@pytest.mark.parametrize("kind", VectorKind)
def test_every_kind_is_written_and_read(kind: VectorKind) -> None:
    kernel = of_vector(kind)
    assert assemble(disassemble(kernel)) == kernel
    assert decode(encode(kernel)) == kernel


def test_fields_of_a_new_kind_can_be_read() -> None:
    line = disassemble(of_vector(VectorKind.REARRANGE, offset=-2)).splitlines()[-1]
    assert " offset=-2 digits=3 d0_size=0 d0_stride=0 d1_size=1 d1_stride=1 d2_size=2 d2_stride=2" in line
    epsilon = int(np.float32(1e-5).view(np.uint32))
    line = disassemble(of_vector(VectorKind.NORM, epsilon=epsilon, center=1)).splitlines()[-1]
    assert " epsilon=1e-05f center=1" in line


def test_a_softmax_without_a_group_is_as_before() -> None:
    """Kernels were written before groups and logarithms."""
    old = of_vector(VectorKind.SOFTMAX)
    new = of_vector(VectorKind.SOFTMAX, group=4, log=1)
    assert "group" not in disassemble(old)
    assert assemble(disassemble(new)) == new != old


@pytest.mark.parametrize(
    "change, message",
    [
        ({"digits": MAX_DIGITS + 1}, "field digits is 17, which is not from 0 to 16"),
        ({"digits": -1}, "field digits is -1"),
        ({"digits": 4}, "has no field d3_size"),
        (
            {"step_count": 1, "s0_op": StepCode.EXP, "s0_kind": OperandKind.SCALAR, "s0_low": 0},
            "step 0 has the operand SCALAR, and EXP takes none",
        ),
        (
            {"step_count": 1, "s0_op": StepCode.SUB, "s0_kind": OperandKind.NONE},
            "step 0 has the operand NONE, and SUB needs one",
        ),
        (
            {"step_count": 1, "s0_op": StepCode.SUB, "s0_kind": OperandKind.CHANNEL},
            "has no field s0_addr",
        ),
    ],
)
def test_digits_and_operands_must_fit(change: dict[str, int], message: str) -> None:
    (old,) = of_vector(VectorKind.REARRANGE).instructions
    fields = {**old.fields, **{name: (value,) for name, value in change.items()}}
    with pytest.raises(KernelError, match=message):
        disassemble(Kernel("k", (), (Instruction(Op.VECTOR, (0,), fields),)))


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
        ("kind=CHANNEL_NORM", "kind=99", "which is no VectorKind"),
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
