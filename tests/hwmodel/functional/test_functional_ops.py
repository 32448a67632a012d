"""Every operation of the functional simulator against plain loops, on programs written by hand."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from hwmodel.functional.simulator import Arithmetic, FunctionalSimulator
from hwmodel.machines.machine import Machine
from hwmodel.programs.assembly import assemble, disassemble
from hwmodel.programs.binary import decode, encode
from hwmodel.programs.isa import Instruction, Op, OperandKind, Program, StepCode, VectorKind
from hwmodel.timing.costs import WINDOWS
from tests.hwmodel import made_programs as programs
from tests.hwmodel.made_programs import OTHER, OUT, Array, Shape, bits, box, instruction, steps, view

# Element type of the machine, arithmetic, error allowed relative to the largest value.
MODES: list[tuple[str, Arithmetic, float]] = [
    ("fp32", "native", 1e-5),
    ("fp32", "fp32", 1e-5),
    ("fp16", "native", 2e-3),
    ("fp16", "fp32", 1e-5),
    ("int8", "fp32", 1e-5),
]

modes = pytest.mark.parametrize("element, arithmetic, bound", MODES)


def rounded(rng: np.random.Generator, *shape: int) -> Array:
    """Random numbers that float16 holds exactly."""
    return rng.standard_normal(shape).astype(np.float16).astype(np.float32)


def run(
    program: Program,
    machine: Machine,
    arithmetic: Arithmetic,
    inputs: dict[str, Array],
    weights: dict[str, Array] | None = None,
) -> Array:
    """The output (NHWC) of a program whose inputs are given as NHWC."""
    simulator = FunctionalSimulator(program, machine, arithmetic, weights or {})
    for name, values in inputs.items():
        simulator.write_input(name, values.transpose(0, 3, 1, 2))
    simulator.run()
    return simulator.read_output("out").transpose(0, 2, 3, 1)


def assert_close(found: Array, expected: Array, bound: float) -> None:
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= bound * np.abs(expected).max()


def naive_conv(
    x: Array,
    weight: Array,
    out: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    pad: tuple[int, int],
) -> Array:
    images, height, width, _ = x.shape
    k, _, kernel_h, kernel_w = weight.shape
    result = np.zeros((images, *out, k), np.float32)
    for row, column, i, j in product(range(out[0]), range(out[1]), range(kernel_h), range(kernel_w)):
        y = row * stride[0] + i * dilation[0] - pad[0]
        z = column * stride[1] + j * dilation[1] - pad[1]
        if 0 <= y < height and 0 <= z < width:
            result[:, row, column] += x[:, y, z] @ weight[:, :, i, j].T
    return result


CONVS = {
    "pointwise": ((1, 5, 6, 4), 3, (1, 1), (5, 6), (1, 1), (1, 1), (0, 0)),
    "pointwise, strided": ((2, 5, 6, 4), 3, (1, 1), (3, 3), (2, 2), (1, 1), (0, 0)),
    "padded": ((2, 6, 5, 3), 4, (3, 3), (6, 5), (1, 1), (1, 1), (1, 1)),
    "few outputs, many channels": ((1, 3, 3, 4), 24, (3, 3), (1, 1), (1, 1), (1, 1), (0, 0)),
    "strided": ((1, 9, 8, 2), 3, (3, 3), (5, 4), (2, 2), (1, 1), (1, 1)),
    "dilated": ((1, 9, 9, 2), 3, (3, 3), (5, 5), (1, 1), (2, 2), (0, 0)),
    "uneven": ((2, 7, 10, 2), 3, (2, 5), (4, 3), (2, 3), (1, 2), (1, 2)),
    "rows missing below": ((1, 3, 4, 2), 3, (3, 3), (4, 4), (1, 1), (1, 1), (1, 1)),
    "waste is dear": ((1, 4, 4, 2), 60, (3, 3), (8, 8), (1, 1), (1, 1), (3, 3)),
}


@modes
@pytest.mark.parametrize("case", CONVS)
def test_conv(case: str, element: str, arithmetic: Arithmetic, bound: float) -> None:
    rng = np.random.default_rng(0)
    x_shape, k, kernel, out, stride, dilation, pad = CONVS[case]
    m = programs.machine(element)
    size = m.element_bytes
    x, w = rounded(rng, *x_shape), rounded(rng, k, x_shape[3], *kernel)
    out_shape = (x_shape[0], *out, k)
    fields = {
        **dict(zip(("in_rows", "in_columns", "in_channels"), x_shape[1:], strict=True)),
        **dict(zip(("kernel_h", "kernel_w"), kernel, strict=True)),
        **dict(zip(("stride_h", "stride_w"), stride, strict=True)),
        **dict(zip(("dilation_h", "dilation_w"), dilation, strict=True)),
        **dict(zip(("pad_top", "pad_left"), pad, strict=True)),
        "weight_addr": 0,
        "acc_addr": 16,
        "accumulate": 0,
    }
    body = [
        instruction(Op.CONV, [0], box(out_shape, "out_channels"), view("in", 0, x_shape[1:], size), fields),
        from_accumulator(out_shape, size, 16, steps()),
    ]
    program = programs.single(m, x_shape, out_shape, body, {"w": w})
    found = run(program, m, arithmetic, {"x": x}, {"w": w})
    assert_close(found, naive_conv(x, w, out, stride, dilation, pad), bound)


def test_conv_of_a_turned_image_with_stored_weights() -> None:
    """With kernel_turned a convolution of the image with rows and columns swapped takes the weights as they are stored,
    and the fields survive assembly and binary."""
    rng = np.random.default_rng(7)
    x_shape, k, kernel, out, stride, dilation, pad = CONVS["uneven"]
    m = programs.machine("fp32")
    size = m.element_bytes
    x, w = rounded(rng, *x_shape), rounded(rng, k, x_shape[3], *kernel)
    turned = x.transpose(0, 2, 1, 3).copy()
    out_shape = (x_shape[0], *out[::-1], k)
    fields = {
        **dict(zip(("in_rows", "in_columns", "in_channels"), turned.shape[1:], strict=True)),
        **dict(zip(("kernel_h", "kernel_w"), kernel[::-1], strict=True)),
        **dict(zip(("stride_h", "stride_w"), stride[::-1], strict=True)),
        **dict(zip(("dilation_h", "dilation_w"), dilation[::-1], strict=True)),
        **dict(zip(("pad_top", "pad_left"), pad[::-1], strict=True)),
        **{"weight_addr": 0, "acc_addr": 16, "accumulate": 0, "kernel_turned": 1},
    }
    body = [
        instruction(
            Op.CONV, [0], box(out_shape, "out_channels"), view("in", 0, turned.shape[1:], size), fields
        ),
        from_accumulator(out_shape, size, 16, steps()),
    ]
    program = programs.single(m, turned.shape, out_shape, body, {"w": w})
    for one in program.kernels.values():
        assert assemble(disassemble(one)) == one
        assert decode(encode(one)) == one
    found = run(program, m, "native", {"x": turned}, {"w": w})
    assert_close(found.transpose(0, 2, 1, 3), naive_conv(x, w, out, stride, dilation, pad), 1e-5)


def from_accumulator(shape: Shape, size: int, address: int, step_fields: dict[str, int]) -> Instruction:
    """A VECTOR from the accumulator to element OUT of L1."""
    fields = {"kind": VectorKind.ACCUMULATOR, "acc_addr": address}
    return instruction(
        Op.VECTOR, [0], fields, box(shape), view("out", OUT * size, shape[1:], size), step_fields
    )


@modes
def test_conv_adds_up_chunks_of_input_channels(element: str, arithmetic: Arithmetic, bound: float) -> None:
    rng = np.random.default_rng(1)
    m = programs.machine(element)
    size = m.element_bytes
    x, w = rounded(rng, 2, 5, 5, 6), rounded(rng, 4, 6, 3, 3)
    chunks = {"w0": w[:, :2].copy(), "w1": w[:, 2:].copy()}
    out = (2, 5, 5, 4)
    body = []
    for first, last, address in ((0, 2, 0), (2, 6, chunks["w0"].size * size)):
        part = view("in", first * size, (5, 5, 6), size)  # strides of all channels
        fields = {
            **{"in_rows": 5, "in_columns": 5, "in_channels": last - first, "kernel_h": 3, "kernel_w": 3},
            **{"stride_h": 1, "stride_w": 1, "dilation_h": 1, "dilation_w": 1, "pad_top": 1, "pad_left": 1},
            **{"weight_addr": address, "acc_addr": 0, "accumulate": int(first > 0)},
        }
        body.append(instruction(Op.CONV, [0], box(out, "out_channels"), part, fields))
    body.append(from_accumulator(out, size, 0, steps()))
    program = programs.single(m, (2, 5, 5, 6), out, body, chunks)
    found = run(program, m, arithmetic, {"x": x}, chunks)
    assert_close(found, naive_conv(x, w, (5, 5), (1, 1), (1, 1), (1, 1)), bound)


@modes
def test_steps(element: str, arithmetic: Arithmetic, bound: float) -> None:
    rng = np.random.default_rng(2)
    m = programs.machine(element)
    size = m.element_bytes
    shape = (2, 3, 4, 5)
    x, other = rounded(rng, *shape), rounded(rng, *shape)
    weights = {"scale": rounded(rng, 5), "shift": rounded(rng, 5)}
    fields = steps(
        programs.parameter(StepCode.MUL, 0),
        programs.parameter(StepCode.ADD, 5 * size),
        {"op": StepCode.ADD, "kind": OperandKind.TENSOR} | view("", OTHER * size, shape[1:], size),
        {"op": StepCode.MUL, "kind": OperandKind.SCALAR, "low": bits(0.75)},
        {"op": StepCode.CLIP, "kind": OperandKind.SCALAR, "low": bits(-0.5), "high": bits(1.25)},
        {"op": StepCode.ADD, "kind": OperandKind.SCALAR, "low": bits(-0.25)},
        programs.relu(),
    )
    body = [copy(shape, size, fields)]
    program = programs.single(m, shape, shape, body, weights, other=True)
    found = run(program, m, arithmetic, {"x": x, "other": other}, weights)
    y = (x * weights["scale"] + weights["shift"] + other) * np.float32(0.75)
    assert_close(found, np.maximum(np.clip(y, -0.5, 1.25) - np.float32(0.25), 0), bound)


def copy(shape: Shape, size: int, step_fields: dict[str, int]) -> Instruction:
    """A VECTOR from element 0 to element OUT of L1."""
    views = view("in", 0, shape[1:], size) | view("out", OUT * size, shape[1:], size)
    return instruction(Op.VECTOR, [0], {"kind": VectorKind.COPY}, box(shape), views, step_fields)


def test_a_step_leaves_its_input_as_it_is() -> None:
    m = programs.machine()
    shape = (1, 2, 2, 3)
    x = np.arange(12, dtype=np.float32).reshape(shape) - 6
    body = [copy(shape, 4, steps(programs.relu(), programs.relu())), copy(shape, 4, steps())]
    program = programs.single(m, shape, shape, body)
    assert np.array_equal(run(program, m, "native", {"x": x}), x)


CASES = {
    "strided": ((2, 7, 6, 3), (3, 2), (4, 3), (2, 2), (1, 0)),
    "overlapping": ((1, 5, 5, 2), (3, 3), (5, 5), (1, 1), (1, 1)),
    "beyond the end": ((1, 5, 5, 2), (3, 3), (3, 3), (2, 2), (0, 0)),
    "all of it": ((2, 5, 4, 3), (5, 4), (1, 1), (1, 1), (0, 0)),
    "one, padded": ((1, 2, 2, 3), (3, 3), (1, 1), (1, 1), (1, 1)),
}


@modes
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("mode", ["max", "min", "average", "average with padding"])
def test_window(mode: str, case: str, element: str, arithmetic: Arithmetic, bound: float) -> None:
    x_shape, kernel, out, stride, pad = CASES[case]
    rng = np.random.default_rng(3)
    m = programs.machine(element)
    size = m.element_bytes
    x = rounded(rng, *x_shape) + (3 if mode == "min" else -3)  # so that a zero of the padding would win
    shape = (x_shape[0], *out, x_shape[3])
    fields = {
        "kind": WINDOWS.get(mode, VectorKind.WINDOW_AVERAGE),
        **{"in_rows": x_shape[1], "in_columns": x_shape[2], "kernel_h": kernel[0], "kernel_w": kernel[1]},
        **{"stride_h": stride[0], "stride_w": stride[1], "pad_top": pad[0], "pad_left": pad[1]},
        "count_include_pad": int(mode == "average with padding"),
    }
    views = view("in", 0, x_shape[1:], size) | view("out", OUT * size, shape[1:], size)
    body = [instruction(Op.VECTOR, [0], fields, box(shape), views, steps())]
    found = run(programs.single(m, x_shape, shape, body), m, arithmetic, {"x": x})
    expected = np.empty(shape, np.float32)
    for row, column in product(range(out[0]), range(out[1])):
        top, left = row * stride[0] - pad[0], column * stride[1] - pad[1]
        part = x[:, max(0, top) : top + kernel[0], max(0, left) : left + kernel[1]]
        if mode == "max":
            expected[:, row, column] = part.max(axis=(1, 2))
        elif mode == "min":
            expected[:, row, column] = part.min(axis=(1, 2))
        else:
            count = part.shape[1] * part.shape[2] if mode == "average" else kernel[0] * kernel[1]
            expected[:, row, column] = part.sum(axis=(1, 2)) / count
    assert_close(found, expected, bound)


@modes
@pytest.mark.parametrize("size, start, count", [(5, 0, 7), (5, 2, 3), (4, 1, 6), (3, 6, 1), (30, 0, 7)])
def test_channel_norm(
    size: int, start: int, count: int, element: str, arithmetic: Arithmetic, bound: float
) -> None:
    m = programs.machine(element)
    x = rounded(np.random.default_rng(4), 2, 3, 2, 7)
    shape = (2, 3, 2, count)
    fields = {
        **{"kind": VectorKind.CHANNEL_NORM, "in_channels": 7, "channel_start": start, "size": size},
        **{"alpha": bits(0.3), "beta": bits(0.75), "bias": bits(2.0)},
    }
    item = m.element_bytes
    views = view("in", 0, (3, 2, 7), item) | view("out", OUT * item, shape[1:], item)
    body = [instruction(Op.VECTOR, [0], fields, box(shape), views, steps())]
    found = run(programs.single(m, (2, 3, 2, 7), shape, body), m, arithmetic, {"x": x})
    expected = np.empty((2, 3, 2, 7), np.float32)
    for c in range(7):
        near = x[..., max(0, c - (size - 1) // 2) : c + size // 2 + 1]
        expected[..., c] = x[..., c] / (2.0 + 0.3 / size * (near**2).sum(axis=-1)) ** 0.75
    assert_close(found, expected[..., start : start + count], bound)


@modes
def test_softmax(element: str, arithmetic: Arithmetic, bound: float) -> None:
    m = programs.machine(element)
    x = rounded(np.random.default_rng(5), 3, 1, 1, 9) * 16
    shape = (3, 1, 1, 4)
    fields = {"kind": VectorKind.SOFTMAX, "in_channels": 9, "channel_start": 2}
    item = m.element_bytes
    views = view("in", 0, (1, 1, 9), item) | view("out", OUT * item, shape[1:], item)
    body = [instruction(Op.VECTOR, [0], fields, box(shape), views, steps())]
    found = run(programs.single(m, (3, 1, 1, 9), shape, body), m, arithmetic, {"x": x})
    exponent = np.exp(x.astype(np.float64) - x.max(axis=-1, keepdims=True))
    expected = (exponent / exponent.sum(axis=-1, keepdims=True))[..., 2:6]
    assert_close(found, expected.astype(np.float32), bound)
