"""Verification: what a program computes on random inputs, against onnxruntime.

Every tensor that crosses an instance boundary is compared, not the outputs alone: a wrong slice early in a
network may hardly show at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from graph.inputs import random_inputs
from graph.model import Model
from graph.network import Tensor
from hwmodel.errors import KernelError
from hwmodel.functional import Arithmetic, FunctionalSimulator
from hwmodel.isa import Program, Trace
from hwmodel.machine import Machine
from report.reference import Floats, Reference, exact_reference, rounded, rounded_reference
from report.verify_result import Check, Verification

FP32_TOLERANCE = 1e-4
FP16_TOLERANCE = 3e-3
"""A lost halo row shows as 4e-3 or more, honest rounding as less than 1e-3."""

THREADS = 2


def verify(
    model: Model,
    program: Program,
    machine: Machine,
    weights: Mapping[str, Floats],
    *,
    seed: int = 0,
    progress: Callable[[str], None] = lambda _: None,
) -> Verification:
    """Run `program`, whose weights are given by buffer name, and compare with the references of `model`.

    The model was loaded with weights, at the program's batch. fp32 arithmetic is always run, on an fp16
    machine fp16 too; an int8 machine is verified in fp32 only. Raises KernelError where the program cannot be
    run, or where its traces do not cover a tensor that it traces.
    """
    feeds = random_inputs(model.input_shapes, seed)
    names = _compared(program)
    progress("comparing with onnxruntime in fp32 arithmetic")
    fp32 = _check(
        model, program, machine, weights, feeds, exact_reference(model, names), "fp32", FP32_TOLERANCE
    )
    if machine.element != "fp16":
        return Verification(fp32, None)
    progress("comparing with onnxruntime in fp16 arithmetic")
    half = {name: rounded(values, np.float16) for name, values in feeds.items()}
    reference = rounded_reference(model, np.float16, names)
    native = _check(model, program, machine, weights, half, reference, "native", FP16_TOLERANCE)
    return Verification(fp32, native)


def _compared(program: Program) -> list[str]:
    """Tensors to compare: traced ones, those that cross a boundary through DRAM, and outputs."""
    outputs = [buffer.name for buffer in program.buffers if buffer.role in ("boundary", "output")]
    return list(dict.fromkeys([*(trace.tensor for trace in program.traces), *outputs]))


def _check(
    model: Model,
    program: Program,
    machine: Machine,
    weights: Mapping[str, Floats],
    feeds: Mapping[str, Floats],
    reference: Reference,
    arithmetic: Arithmetic,
    tolerance: float,
) -> Check:
    names = _compared(program)
    tensors = {tensor.name: tensor for tensor in model.network.tensors}
    expected = {
        name: _as_map(value, model.network.batch, tensors[name])
        for name, value in zip(names, run_reference(reference, names, feeds), strict=True)
    }
    simulator = FunctionalSimulator(program, machine, arithmetic, weights)
    for index in model.network.inputs:
        tensor = model.network.tensors[index]
        simulator.write_input(tensor.name, _as_map(feeds[tensor.name], model.network.batch, tensor))
    comparison = Comparison(expected)
    simulator.run(on_trace=comparison.add_trace)
    for buffer in program.buffers:
        if buffer.role == "output" or (buffer.role == "boundary" and not comparison.saw_whole(buffer.name)):
            comparison.add_whole(buffer.name, simulator.read_output(buffer.name))
    worst, error = comparison.result()
    label = machine.element if arithmetic == "native" else arithmetic
    return Check(label, error, tolerance, worst, len(names))


def run_reference(
    reference: Reference, names: Iterable[str], feeds: Mapping[str, Floats]
) -> list[NDArray[np.float32]]:
    """Tensors `names` of a reference model, as onnxruntime computes them on the CPU."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    # Both keep onnxruntime from copying every weight into another layout.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in reference.initializers.values()]
    options.add_external_initializers(list(reference.initializers), values)
    session = onnxruntime.InferenceSession(reference.model, options, providers=["CPUExecutionProvider"])
    found: list[NDArray[np.float32]] = session.run(list(names), dict(feeds))
    return found


def _as_map(values: Floats, batch: int, tensor: Tensor) -> Floats:
    """The (B, C, H, W) form of a tensor that has the file's shape."""
    return values.reshape(batch, tensor.channels, tensor.rows, tensor.columns)


class Comparison:
    """Errors of tensors that arrive slice by slice; `expected` are (B, C, H, W) by name."""

    def __init__(self, expected: Mapping[str, Floats]) -> None:
        self._expected = expected
        self._error = dict.fromkeys(expected, 0.0)
        self._seen = {
            name: np.zeros((value.shape[0], value.shape[2]), np.bool_) for name, value in expected.items()
        }

    def add_trace(self, trace: Trace, values: Floats) -> None:
        """A slice (images, rows, columns, channels) of a traced tensor."""
        images, rows = slice(*trace.images), slice(*trace.rows)
        self._add(trace.tensor, images, rows, values.transpose(0, 3, 1, 2))

    def add_whole(self, name: str, values: Floats) -> None:
        """A whole tensor (B, C, H, W)."""
        self._add(name, slice(None), slice(None), values)

    def saw_whole(self, name: str) -> bool:
        """Whether every image row of a tensor has arrived."""
        return bool(self._seen[name].all())

    def result(self) -> tuple[str, float]:
        """The tensor with the largest error, and that error; raises KernelError for one not seen whole."""
        errors = {}
        for name, value in self._expected.items():
            if not self.saw_whole(name):
                missing = int(self._seen[name].size - self._seen[name].sum())
                raise KernelError(f"the program gives no trace of {missing} image rows of tensor {name!r}")
            scale = float(np.abs(value).max())
            error = self._error[name]
            errors[name] = error / scale if scale > 0 else (0.0 if error == 0 else float("inf"))
        worst = max(errors, key=errors.__getitem__)
        return worst, errors[worst]

    def _add(self, name: str, images: slice, rows: slice, values: Floats) -> None:
        wanted = self._expected[name][images, :, rows]
        if wanted.shape != values.shape:
            raise KernelError(
                f"a slice of tensor {name!r} has shape {values.shape} instead of {wanted.shape}"
            )
        difference = np.subtract(values, wanted)
        largest = float(np.abs(difference, out=difference).max())
        # A NaN is a place that was never written.
        self._error[name] = max(self._error[name], largest if np.isfinite(largest) else float("inf"))
        self._seen[name][images, rows] = True
