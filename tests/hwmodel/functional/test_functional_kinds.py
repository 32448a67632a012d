"""Products of activations, gathers, norms, reductions, rearrangements: against plain loops or onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
import pytest

from hwmodel.errors import KernelError
from hwmodel.functional.simulator import Arithmetic, FunctionalSimulator
from hwmodel.programs.isa import Buffer, Instruction, Op, Program, Symbol, VectorKind
from hwmodel.programs.kernels import load_kernels, save_kernels
from tests.hwmodel import made_programs as programs
from tests.hwmodel.functional.test_functional_ops import assert_close, from_accumulator, modes, rounded, run
from tests.hwmodel.functional.test_functional_steps import Nodes, reference
from tests.hwmodel.made_programs import OTHER, OUT, Array, Shape, bits, box, instruction, steps, view, window
from tests.hwmodel.race_checker import find_races


def vector(kind: VectorKind, x: Shape, out: Shape, size: int, fields: Mapping[str, int]) -> Instruction:
    """A VECTOR without steps from element 0 to element OUT of l1."""
    views = view("in", 0, x[1:], size) | view("out", OUT * size, out[1:], size)
    return instruction(Op.VECTOR, [0], {"kind": kind}, box(out), views, fields, steps())


def applied(
    kind: VectorKind, x: Array, out: Shape, fields: Mapping[str, int], element: str, arithmetic: Arithmetic
) -> Array:
    """One VECTOR over x, which must be free of races too."""
    m = programs.machine(element)
    body = [vector(kind, x.shape, out, m.element_bytes, fields)]
    program = programs.single(m, x.shape, out, body)
    assert find_races(program, m) == []
    return run(program, m, arithmetic, {"x": x})


# Channels, group, first channel of the output, channels of the output.
GROUPS = [(12, 12, 0, 12), (12, 4, 0, 12), (12, 4, 5, 6), (12, 3, 3, 3), (12, 1, 2, 4), (12, 12, 11, 1)]


def over_groups(x: Array, group: int, nodes: Nodes, start: int, count: int) -> Array:
    """What onnxruntime makes of each group of channels as its last axis."""
    parts = x.reshape(*x.shape[:3], -1, group)
    return reference(nodes, y=parts).reshape(x.shape)[..., start : start + count]


@modes
@pytest.mark.parametrize("log", [0, 1])
@pytest.mark.parametrize("channels, group, start, count", GROUPS)
def test_softmax_of_groups(
    channels: int,
    group: int,
    start: int,
    count: int,
    log: int,
    element: str,
    arithmetic: Arithmetic,
    bound: float,
) -> None:
    x = rounded(np.random.default_rng(0), 2, 3, 2, channels) * 16
    fields = {"in_channels": channels, "channel_start": start, "group": group, "log": log}
    found = applied(VectorKind.SOFTMAX, x, (2, 3, 2, count), fields, element, arithmetic)
    nodes: Nodes = [("LogSoftmax" if log else "Softmax", ("y",), {"axis": -1})]
    assert np.abs(found - over_groups(x, group, nodes, start, count)).max() <= bound * (64 if log else 1)


def test_softmax_of_large_numbers_is_finite() -> None:
    x = np.array([1e30, -1e30, 0.0, 1e30], np.float32).reshape(1, 1, 1, 4)
    for log, expected in ((0, [0.5, 0, 0, 0.5]), (1, [-np.log(2), -1e30 * 2, -1e30, -np.log(2)])):
        fields = {"in_channels": 4, "channel_start": 0, "group": 4, "log": log}
        found = applied(VectorKind.SOFTMAX, x, (1, 1, 1, 4), fields, "fp32", "native").ravel()
        np.testing.assert_allclose(found, np.array(expected), rtol=1e-6)


@modes
@pytest.mark.parametrize("center", [0, 1])
@pytest.mark.parametrize("channels, group, start, count", GROUPS)
def test_norm(
    channels: int,
    group: int,
    start: int,
    count: int,
    center: int,
    element: str,
    arithmetic: Arithmetic,
    bound: float,
) -> None:
    x = rounded(np.random.default_rng(1), 2, 3, 2, channels) + 2
    fields = {"in_channels": channels, "channel_start": start, "group": group}
    fields |= {"epsilon": bits(0.25), "center": center}
    found = applied(VectorKind.NORM, x, (2, 3, 2, count), fields, element, arithmetic)
    parts = x.reshape(2, 3, 2, -1, group).astype(np.float64)
    if center:
        parts = parts - parts.mean(axis=-1, keepdims=True)
    expected = parts / np.sqrt((parts**2).mean(axis=-1, keepdims=True) + 0.25)
    expected = expected.reshape(x.shape)[..., start : start + count].astype(np.float32)
    assert np.abs(found - expected).max() <= bound * 4


def test_norm_is_layer_normalization() -> None:
    x = rounded(np.random.default_rng(2), 2, 3, 2, 8)
    fields = {"in_channels": 8, "channel_start": 0, "group": 8, "epsilon": bits(1e-5), "center": 1}
    found = applied(VectorKind.NORM, x, (2, 3, 2, 8), fields, "fp32", "native")
    nodes: Nodes = [("LayerNormalization", ("y", "one"), {"axis": -1, "epsilon": 1e-5})]
    assert_close(found, reference(nodes, y=x, one=np.ones(8, np.float32)), 1e-5)


REDUCTIONS = {
    VectorKind.REDUCE_SUM: "ReduceSum",
    VectorKind.REDUCE_AVERAGE: "ReduceMean",
    VectorKind.REDUCE_MAX: "ReduceMax",
    VectorKind.REDUCE_MIN: "ReduceMin",
}


@modes
@pytest.mark.parametrize("group, start, count", [(12, 0, 1), (4, 0, 3), (3, 1, 2), (1, 5, 7)])
@pytest.mark.parametrize("kind", REDUCTIONS)
def test_reduce(
    kind: VectorKind, group: int, start: int, count: int, element: str, arithmetic: Arithmetic, bound: float
) -> None:
    x = rounded(np.random.default_rng(3), 2, 3, 2, 12)
    fields = {"in_channels": 12, "channel_start": start, "group": group}
    found = applied(kind, x, (2, 3, 2, count), fields, element, arithmetic)
    nodes: Nodes = [
        ("Constant", (), {"value_ints": [-1]}),
        (REDUCTIONS[kind], ("y", "t0"), {"keepdims": 0}),
    ]
    expected = reference(nodes, y=x.reshape(2, 3, 2, -1, group))
    assert_close(found, expected[..., start : start + count], bound)


@modes
@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("repeated", [False, True])
def test_matmul(repeated: bool, transposed: int, element: str, arithmetic: Arithmetic, bound: float) -> None:
    """Both operands are heads in wider tensors; with `repeated` all images share the second."""
    rng = np.random.default_rng(4)
    m = programs.machine(element)
    size = m.element_bytes
    x = rounded(rng, 2, 3, 2, 10)
    depth, width, head = 4, 6, 3
    w = rounded(rng, 2, *((width, 1, depth + head) if transposed else (depth, 1, width + head)))
    out = (2, 3, 2, width)
    right = view("w", (OTHER + head) * size, w.shape[1:], size)
    if repeated:
        right["w_image_stride"] = 0
    fields = {"in_channels": depth, "transposed": transposed, "acc_addr": 16, "accumulate": 0}
    first = instruction(
        *(Op.MATMUL, [0], box(out, "out_channels"), view("in", 5 * size, x.shape[1:], size), right, fields)
    )
    again = replace(first, fields={**first.fields, "accumulate": (1,)})
    program = two_inputs(
        m.element, x.shape, w.shape, out, [first, again, from_accumulator(out, size, 16, steps())]
    )
    assert find_races(program, m) == []
    found = run(program, m, arithmetic, {"x": x, "w": w})
    expected = np.zeros(out, np.float32)
    for image, row, column, k in product(*map(range, out)):
        for c in range(depth):
            at = (k, 0, head + c) if transposed else (c, 0, head + k)
            expected[image, row, column, k] += (
                2 * x[image, row, column, 5 + c] * w[(0 if repeated else image, *at)]
            )
    assert_close(found, expected, bound)


def two_inputs(element: str, x: Shape, w: Shape, out: Shape, compute: Sequence[Instruction]) -> Program:
    """As programs.single, with an input w of any shape loaded to element OTHER."""
    m = programs.machine(element)
    size = m.element_bytes
    program = programs.single(m, x, out, [])
    launch, kernel = program.steps[0], program.kernels["k"]
    end = program.buffers[-1].address + int(np.prod(out)) * size + 8
    load = instruction(
        *(Op.LOAD, [0], box(w), view("dst", OTHER * size, w[1:], size), window("src", 2, 0, w[1:], size))
    )
    body = [*kernel.instructions[:2], load, *compute, kernel.instructions[-1]]
    chained = tuple(replace(i, waits=tuple(range(max(0, n - 1), n))) for n, i in enumerate(body))
    kernel = replace(kernel, symbols=(*kernel.symbols, Symbol("w", "dram")), instructions=chained)
    launch = replace(launch, bindings={**launch.bindings, "w": end})
    buffers = (*program.buffers, Buffer("w", "input", end, w))
    return replace(program, kernels={"k": kernel}, steps=(launch,), buffers=buffers)


def gathering(element: str, shape: Shape, entries: int, stride: int, offset: int) -> Program:
    """Rows of the buffer `table` at the indices x, to the output of `shape`."""
    m = programs.machine(element)
    size = m.element_bytes
    program = programs.single(m, (*shape[:3], 2), shape, [])
    launch, kernel = program.steps[0], program.kernels["k"]
    end = program.buffers[-1].address + int(np.prod(shape)) * size + 8
    gather = instruction(
        *(Op.GATHER, [0], box(shape), view("dst", OUT * size, shape[1:], size)),
        view("idx", 0, (*shape[1:3], 2), size),
        {"src_symbol": 2, "src_offset": offset, "src_row_stride": stride, "entries": entries},
    )
    body = [*kernel.instructions[:2], gather, kernel.instructions[-1]]
    chained = tuple(replace(i, waits=tuple(range(max(0, n - 1), n))) for n, i in enumerate(body))
    kernel = replace(kernel, symbols=(*kernel.symbols, Symbol("table", "dram")), instructions=chained)
    launch = replace(launch, bindings={**launch.bindings, "table": end})
    buffers = (*program.buffers, Buffer("table", "table", end, (entries, stride // size)))
    return replace(program, kernels={"k": kernel}, steps=(launch,), buffers=buffers)


def halves(index: Array) -> Array:
    """Indices (images, rows, columns) as two channels."""
    return np.stack([index // 2048, index % 2048], axis=-1).astype(np.float32)


@modes
def test_gather(element: str, arithmetic: Arithmetic, bound: float) -> None:
    """Channels 2 to 5 of rows of a table of 7."""
    rng = np.random.default_rng(5)
    m = programs.machine(element)
    size = m.element_bytes
    table, index = rounded(rng, 5000, 7), rng.integers(0, 5000, (2, 3, 4))
    index[0, 0, :2] = 0, 4999
    program = gathering(element, (2, 3, 4, 3), 5000, 7 * size, 2 * size)
    assert find_races(program, m) == []
    found = run(program, m, arithmetic, {"x": halves(index)}, {"table": table})
    assert_close(found, table[index][..., 2:5], bound)


@pytest.mark.parametrize(
    "first, second, message",
    [
        (0, 10, r"at \(image, row, column\) = \(0, 1, 2\) is 0 x 2048 \+ 10 = 10, which is not"),
        (1, 0, "= 2048, which is not"),
        (0, -1, "= -1, which is not a whole number from 0 to 9"),
        (0, 0.5, r"= 0\.5, which is not"),
        (np.nan, 0, "= nan, which is not"),
        (0, np.inf, "= inf, which is not"),
    ],
)
def test_an_index_that_is_none_is_named(first: float, second: float, message: str) -> None:
    m = programs.machine()
    x = np.zeros((1, 2, 3, 2), np.float32)
    x[0, 1, 2] = first, second
    program = gathering("fp32", (1, 2, 3, 4), 10, 16, 0)
    with pytest.raises(KernelError, match=r"instruction 2 GATHER, core 0: idx: .*" + message):
        run(program, m, "native", {"x": x}, {"table": np.zeros((10, 4), np.float32)})


def test_a_table_must_be_in_its_memory() -> None:
    m = programs.machine()
    x = np.zeros((1, 2, 3, 2), np.float32)
    with pytest.raises(KernelError, match=r"GATHER, core 0: src_offset: address .* leaves dram"):
        program = gathering("fp32", (1, 2, 3, 4), 10, 16, 4)
        run(program, m, "native", {"x": x}, {"table": np.zeros((10, 4), np.float32)})


def test_a_table_is_saved_with_its_kernels(tmp_path: Path) -> None:
    program, table = gathering("fp32", (1, 2, 3, 4), 10, 16, 0), np.ones((10, 4), np.float32)
    save_kernels(tmp_path / "kernels", program, programs.machine(), {"table": table}, "hash")
    found, _, weights, _ = load_kernels(tmp_path / "kernels")
    assert found == program
    assert np.array_equal(weights["table"], table)


def test_constants_and_tables_must_have_values() -> None:
    program = gathering("fp32", (1, 2, 3, 4), 10, 16, 0)
    with pytest.raises(KernelError, match="the values of table 'table' are missing"):
        FunctionalSimulator(program, programs.machine(), "native", {})


# Input (rows, columns, channels), output, sizes, strides, offset.
REARRANGEMENTS: dict[
    str, tuple[tuple[int, int, int], tuple[int, int, int], tuple[int, ...], tuple[int, ...], int]
] = {
    "as it is": ((3, 4, 5), (3, 4, 5), (60,), (1,), 0),
    "no digits": ((3, 4, 5), (1, 1, 1), (), (), 7),
    "transposed": ((3, 4, 5), (5, 4, 3), (5, 4, 3), (1, 5, 20), 0),
    "reversed": ((3, 4, 5), (3, 4, 5), (3, 4, 5), (20, 5, -1), 4),
    "every second column": ((3, 4, 5), (3, 2, 5), (3, 2, 5), (20, 10, 1), 5),
    "rows repeated": ((3, 2, 2), (6, 2, 2), (3, 2, 4), (4, 0, 1), 0),
    "space to depth": ((4, 4, 3), (2, 2, 12), (2, 2, 2, 2, 3), (24, 6, 12, 3, 1), 0),
}


def rearranged(
    x: Array, out: tuple[int, ...], sizes: Sequence[int], strides: Sequence[int], offset: int
) -> Array:
    """The definition, one element after another."""
    result = []
    for digits in product(*map(range, sizes)):
        result.append(
            x.reshape(len(x), -1)[:, offset + sum(d * s for d, s in zip(digits, strides, strict=True))]
        )
    return np.stack(result, axis=1).reshape(len(x), *out)


def digits(sizes: Sequence[int], strides: Sequence[int]) -> dict[str, int]:
    fields = {"digits": len(sizes)}
    for i, (size, stride) in enumerate(zip(sizes, strides, strict=True)):
        fields |= {f"d{i}_size": size, f"d{i}_stride": stride}
    return fields


@modes
@pytest.mark.parametrize("case", REARRANGEMENTS)
def test_rearrange(case: str, element: str, arithmetic: Arithmetic, bound: float) -> None:
    source, out, sizes, strides, offset = REARRANGEMENTS[case]
    x = rounded(np.random.default_rng(6), 2, *source)
    fields = dict(zip(("in_rows", "in_columns", "in_channels"), source, strict=True)) | digits(sizes, strides)
    fields |= {
        "in_start": 0,
        "out_columns": out[1],
        "out_channels": out[2],
        "row_start": 0,
        "channel_start": 0,
    }
    found = applied(VectorKind.REARRANGE, x, (2, *out), fields | {"offset": offset}, element, arithmetic)
    assert np.array_equal(found, rearranged(x, out, sizes, strides, offset))


PIECE = {
    **{"in_start": 2, "in_rows": 2, "in_columns": 4, "in_channels": 3, "out_columns": 2, "out_channels": 12},
    **{"row_start": 1, "channel_start": 5, "offset": 0},
    **digits((2, 2, 2, 2, 3), (24, 6, 12, 3, 1)),
}


@modes
def test_a_piece_of_a_rearrangement(element: str, arithmetic: Arithmetic, bound: float) -> None:
    """Row 1, channels 5 to 11 of a space to depth, from rows 2 and 3 of its input."""
    whole = rounded(np.random.default_rng(7), 2, 4, 4, 3)
    found = applied(VectorKind.REARRANGE, whole[:, 2:], (2, 1, 2, 7), PIECE, element, arithmetic)
    expected = rearranged(whole, (2, 2, 12), (2, 2, 2, 2, 3), (24, 6, 12, 3, 1), 0)
    assert np.array_equal(found, expected[:, 1:, :, 5:])


COLUMNS_OF_PIECE = PIECE | {
    **{"in_columns": 2, "in_map_columns": 4, "in_column_start": 2},
    **{"column_start": 1, "channel_start": 5},
}


@modes
def test_a_piece_of_some_columns_of_a_rearrangement(
    element: str, arithmetic: Arithmetic, bound: float
) -> None:
    """As before, but of column 1 alone, from columns 2 and 3 of the input."""
    whole = rounded(np.random.default_rng(7), 2, 4, 4, 3)
    given, shape = whole[:, 2:, 2:], (2, 1, 1, 7)
    found = applied(VectorKind.REARRANGE, given, shape, COLUMNS_OF_PIECE, element, arithmetic)
    expected = rearranged(whole, (2, 2, 12), (2, 2, 2, 2, 3), (24, 6, 12, 3, 1), 0)
    assert np.array_equal(found, expected[:, 1:, 1:, 5:])


@pytest.mark.parametrize(
    "change, message",
    [
        ({"column_start": 0}, "in_column_start: columns 0 to 1 are read, of 2 to 3 that are given"),
        ({"in_column_start": 1}, "in_column_start: columns 2 to 3 are read, of 1 to 2 that are given"),
        ({"in_column_start": 3}, r"in_column_start: 3 \+ 2 columns are not in a map 4 wide"),
        ({"in_column_start": -1}, "in_column_start: -1 "),
        ({"in_map_columns": 1}, r"in_column_start: 2 \+ 2 columns are not in a map 1 wide"),
        ({"in_map_columns": 1 << 50}, "in_column_start|reach further"),
        ({"column_start": 2}, r"column_start: 2 \+ 1 columns are not in a map 2 wide"),
        ({"column_start": -1}, "column_start: -1 "),
    ],
)
def test_wrong_columns_of_a_rearrangement_are_refused(change: dict[str, int], message: str) -> None:
    x = np.zeros((2, 2, 2, 3), np.float32)
    m = programs.machine()
    body = [vector(VectorKind.REARRANGE, x.shape, (2, 1, 1, 7), 4, COLUMNS_OF_PIECE | change)]
    with pytest.raises(KernelError, match=message):
        run(programs.single(m, x.shape, (2, 1, 1, 7), body), m, "native", {"x": x})


@pytest.mark.parametrize(
    "change, message",
    [
        ({"in_start": 1}, "offset: elements 17 to 35 are read, of 2 x 4 x 3 that are given"),
        ({"in_start": 3}, "offset: elements -7 to 11 are read"),
        ({"row_start": 2}, r"digits: sizes \(2, 2, 2, 2, 3\) do not count 72 elements"),
        ({"row_start": -1}, "row_start: -1 "),
        ({"out_columns": 1}, "column_start: 0 "),
        ({"channel_start": 6}, r"channel_start: 6 \+ 7 channels are not among 12"),
        ({"d1_size": 0}, "d1_size: 0 is not positive"),
        ({"offset": 1 << 60}, "reach further than is possible"),
        ({"d1_stride": -(1 << 62)}, "reach further than is possible"),
        ({"in_start": 1 << 62}, "reach further than is possible"),
        ({"row_start": 1 << 62}, "row_start"),
    ],
)
def test_a_wrong_rearrangement_is_refused(change: dict[str, int], message: str) -> None:
    x = np.zeros((2, 2, 4, 3), np.float32)
    m = programs.machine()
    body = [vector(VectorKind.REARRANGE, x.shape, (2, 1, 2, 7), 4, PIECE | change)]
    with pytest.raises(KernelError, match=message):
        run(programs.single(m, x.shape, (2, 1, 2, 7), body), m, "native", {"x": x})


@pytest.mark.parametrize(
    "kind, change, message",
    [
        (VectorKind.SOFTMAX, {"group": 5}, "group: 5 does not divide in_channels 12"),
        (VectorKind.NORM, {"group": 0}, "group: 0 is not positive"),
        (VectorKind.NORM, {"channel_start": 9}, r"channel_start: 9 \+ 4 channels are not among 12"),
        (VectorKind.REDUCE_MAX, {"group": 4}, r"channel_start: 0 \+ 4 channels are not among 3"),
        (VectorKind.SOFTMAX, {"channel_start": -1}, "channel_start: -1 "),
    ],
)
def test_wrong_groups_are_refused(kind: VectorKind, change: dict[str, int], message: str) -> None:
    x = np.zeros((1, 1, 1, 12), np.float32)
    fields = {"in_channels": 12, "channel_start": 0, "group": 3, "epsilon": 0, "center": 1} | change
    if kind is not VectorKind.NORM:
        del fields["epsilon"], fields["center"]
    with pytest.raises(KernelError, match=message):
        applied(kind, x, (1, 1, 1, 4), fields, "fp32", "native")


@pytest.mark.parametrize("axis", ["image", "row", "col"])
@pytest.mark.parametrize(
    "op, name", [(Op.LOAD, "dst"), (Op.STORE, "dst"), (Op.VECTOR, "out"), (Op.BROADCAST, "src")]
)
def test_what_is_written_does_not_overlap(op: Op, name: str, axis: str) -> None:
    m = programs.machine()
    shape = (2, 2, 2, 3)
    send = instruction(Op.BROADCAST, [0], box(shape), view("src", 0, shape[1:], 4), {"targets": 2})
    program = programs.single(m, shape, shape, [send, vector(VectorKind.COPY, shape, shape, 4, {})])
    kernel = program.kernels["k"]
    body = tuple(
        replace(i, fields={**i.fields, f"{name}_{axis}_stride": (stride,)}) if i.op is op else i
        for stride in [8 if axis == "col" else 0]
        for i in kernel.instructions
    )
    changed = replace(program, kernels={"k": replace(kernel, instructions=body)})
    with pytest.raises(KernelError, match=f"{op.name}, core 0: {name}: elements that are written overlap"):
        run(changed, m, "native", {"x": np.zeros(shape, np.float32)})


def test_views_that_interlock_or_wrap_may_be_written() -> None:
    """Rows 2 pixels apart and columns 3 apart share no pixel where there are two of each."""
    m = programs.machine()
    shape = (1, 2, 2, 1)
    x = np.arange(4, dtype=np.float32).reshape(shape)
    apart = {"out_row_stride": 8, "out_col_stride": 12}
    copy = vector(VectorKind.COPY, shape, shape, 4, {})
    copy = replace(copy, fields={**copy.fields, **{name: (value,) for name, value in apart.items()}})
    program = programs.single(m, shape, shape, [copy])
    store = program.kernels["k"].instructions[-1]
    fields = {**store.fields, "src_row_stride": (8,), "src_col_stride": (12,)}
    body = (*program.kernels["k"].instructions[:-1], replace(store, fields=fields))
    program = replace(program, kernels={"k": replace(program.kernels["k"], instructions=body)})
    assert np.array_equal(run(program, m, "native", {"x": x}), x)
