"""Verification: what a program computes on random inputs, against onnxruntime.

Every tensor that crosses an instance boundary is compared, not the outputs alone: a wrong slice early in a
network may hardly show at its end.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi.onnxruntime_pybind11_state import (
    Fail,
    InvalidArgument,
    InvalidGraph,
    NotImplemented,
    RuntimeException,
)

from graph.errors import ModelError
from graph.inputs import random_inputs
from graph.model import Model
from hwmodel.errors import KernelError
from hwmodel.functional.simulator import Arithmetic, FunctionalSimulator
from hwmodel.machines.machine import Machine
from hwmodel.programs.isa import Program, Trace
from report.decided import decided_tensors
from report.reference import Floats, Reference, exact_reference, rounded, rounded_reference
from report.verify_result import Check, Verification

FP32_TOLERANCE = 1e-4
FP16_TOLERANCE = 3e-3
"""A lost halo row shows as 4e-3 or more, honest rounding mostly as less than 1e-3."""
FP16_MOST = 1e-2
"""Where storing in fp16 alone shows more than half of FP16_TOLERANCE, the limit is twice that, up to this. The limit of
fp32 arithmetic is not touched by it, and the same kernels have to keep both."""

THREADS = 2

OUTLIER = 1000.0
"""Elements beyond this, and so many times larger than the middle one of their tensor, are measured by themselves;
activations have about unit size."""


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
    machine fp16 too; an int8 machine is verified in fp32 only. In fp16 a tensor may differ by FP16_TOLERANCE, or by
    twice what the same layers show in onnxruntime when they are computed in float32 and only what they give is rounded
    to fp16 (networks that end in a tanh show 3e-3 by that alone), but never by more than FP16_MOST. Where storing
    alone turns decisions between numbers that are nearly equal (comparisons, ArgMax), they are compared with those of
    the layers that store in fp16. Raises KernelError where the program cannot be run, or where
    its traces do not cover a tensor that it traces.
    """
    feeds = random_inputs(model, seed)
    stored = model.stored_inputs(feeds)
    names = _compared(model, program)
    progress("comparing with onnxruntime in fp32 arithmetic")
    # The file's own graph where it has the tensor, the network as exported for those between two of its nodes.
    expected = _file_tensors(model, [name for name in names if name in model.layouts], feeds)
    inner = [name for name in names if name not in model.layouts]
    if inner:
        exported = rounded_reference(model, np.float32, inner)
        expected |= dict(zip(inner, run_reference(exported, inner, stored), strict=True))
    errors = _errors(model, program, machine, weights, stored, expected, "fp32")
    fp32 = _check("fp32", errors, dict.fromkeys(errors, FP32_TOLERANCE))
    if machine.element != "fp16":
        return Verification(fp32, None)
    progress("comparing with onnxruntime in fp16 arithmetic")
    half = {name: rounded(values, np.float16) for name, values in stored.items()}
    reference = rounded_reference(model, np.float16, names)
    expected = dict(zip(names, run_reference(reference, names, half), strict=True))
    errors = _errors(model, program, machine, weights, half, expected, "native")
    if max(errors.values()) <= FP16_TOLERANCE:
        return Verification(fp32, _check(machine.element, errors, dict.fromkeys(errors, FP16_TOLERANCE)))
    progress("measuring what storing in fp16 costs by itself")
    stored_half = stored_in_half(model, half, names)
    storage = storage_errors(stored_half, expected)
    limits = {name: min(FP16_MOST, max(FP16_TOLERANCE, 2 * storage[name])) for name in errors}
    decided = {model.network.tensors[index].name for index in decided_tensors(model.network)}
    turned = [name for name in names if storage[name] > FP16_MOST and name in decided]
    if turned:
        again = _errors(model, program, machine, weights, half, expected | stored_half, "native")
        for name in turned:
            errors[name], limits[name] = again[name], FP16_TOLERANCE
    return Verification(fp32, _check(machine.element, errors, limits, storage))


def stored_in_half(model: Model, inputs: Mapping[str, Floats], names: Sequence[str]) -> dict[str, Floats]:
    """Tensors `names` where layers are computed in float32 by onnxruntime and their outputs rounded to fp16, with
    weights rounded too."""
    reference = rounded_reference(model, np.float16, names, half_storage=True)
    return dict(zip(names, run_reference(reference, names, inputs), strict=True))


def storage_errors(stored: Mapping[str, Floats], expected: Mapping[str, Floats]) -> dict[str, float]:
    """Error of each expected tensor that storing in fp16 makes by itself: `stored` is of `stored_in_half`, with the
    inputs that `expected` was computed from."""
    comparison = Comparison(expected)
    for name, values in stored.items():
        comparison.add_whole(name, values)
    return comparison.errors()


def _file_tensors(
    model: Model, names: list[str], feeds: Mapping[str, NDArray[np.generic]]
) -> dict[str, Floats]:
    """Tensors `names`, (B, C, H, W), as the file's own graph computes them, a file's batch at a time."""
    if not names:
        return {}
    reference = exact_reference(model, names)
    runs = run_each(reference, names, model.file_batches(feeds))
    return {name: model.stored(name, [run[i] for run in runs]) for i, name in enumerate(names)}


def _compared(model: Model, program: Program) -> list[str]:
    """Tensors to compare: traced ones, those that cross a boundary through DRAM, and the network's outputs."""
    crossing = [buffer.name for buffer in program.buffers if buffer.role in ("boundary", "output")]
    outputs = [model.network.tensors[index].name for index in model.network.outputs]
    return list(dict.fromkeys([*(trace.tensor for trace in program.traces), *crossing, *outputs]))


def _check(
    arithmetic: str,
    errors: Mapping[str, float],
    limits: Mapping[str, float],
    storage: Mapping[str, float] | None = None,
) -> Check:
    """The tensor whose error is the largest beside its limit."""
    worst = max(errors, key=lambda name: errors[name] / limits[name])
    known = storage[worst] if storage is not None and limits[worst] > FP16_TOLERANCE else None
    return Check(arithmetic, errors[worst], limits[worst], worst, len(errors), known)


def _errors(
    model: Model,
    program: Program,
    machine: Machine,
    weights: Mapping[str, Floats],
    inputs: Mapping[str, Floats],
    expected: Mapping[str, Floats],
    arithmetic: Arithmetic,
) -> dict[str, float]:
    simulator = FunctionalSimulator(program, machine, arithmetic, weights)
    for index in model.network.inputs:
        name = model.network.tensors[index].name
        simulator.write_input(name, inputs[name])
    comparison = Comparison(expected)
    simulator.run(on_trace=comparison.add_trace)
    for buffer in program.buffers:
        if buffer.role == "output" or (buffer.role == "boundary" and not comparison.saw_whole(buffer.name)):
            comparison.add_whole(buffer.name, simulator.read_output(buffer.name))
    return comparison.errors()


def run_reference(
    reference: Reference, names: Iterable[str], feeds: Mapping[str, NDArray[np.generic]]
) -> list[NDArray[np.float32]]:
    """Tensors `names` of a reference model, as onnxruntime computes them on the CPU."""
    return run_each(reference, names, [feeds])[0]


def run_each(
    reference: Reference, names: Iterable[str], runs: Iterable[Mapping[str, NDArray[np.generic]]]
) -> list[list[NDArray[np.float32]]]:
    """`run_reference` on several feeds, one after another in one session.

    Raises ModelError where onnxruntime does not run the reference.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    options.log_severity_level = 3
    # Both keep onnxruntime from copying every weight into another layout.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.add_session_config_entry("session.disable_prepacking", "1")
    options.enable_cpu_mem_arena = False
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in reference.initializers.values()]
    options.add_external_initializers(list(reference.initializers), values)
    # It would fuse a Pad into a pool whose kernel the pad exceeds, and then refuse that pool.
    wanted = list(names)
    try:
        session = onnxruntime.InferenceSession(
            reference.model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["Pad_Fusion"]
        )
        return [session.run(wanted, dict(feeds)) for feeds in runs]
    except (Fail, InvalidArgument, InvalidGraph, NotImplemented, RuntimeException) as error:
        raise ModelError(f"onnxruntime does not run the model, so nothing is compared: {error}") from error


class Comparison:
    """Errors of tensors that arrive slice by slice; `expected` are (B, C, H, W) by name.

    The error of an element is its difference over the largest magnitude of the tensor. Elements that are far larger
    than all others (masks of attention scores) do not count there and are measured by their own magnitude, or nothing
    else would be seen beside them. An infinity must be the same infinity.
    """

    def __init__(self, expected: Mapping[str, Floats]) -> None:
        self._expected = expected
        self._scale = {name: _ordinary_scale(value) for name, value in expected.items()}
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
        errors = self.errors()
        worst = max(errors, key=errors.__getitem__)
        return worst, errors[worst]

    def errors(self) -> dict[str, float]:
        """The error of every tensor; raises KernelError for one not seen whole."""
        for name, seen in self._seen.items():
            if not seen.all():
                missing = int(seen.size - seen.sum())
                raise KernelError(f"the program gives no trace of {missing} image rows of tensor {name!r}")
        return dict(self._error)

    def _add(self, name: str, images: slice, rows: slice, values: Floats) -> None:
        wanted = self._expected[name][images, :, rows]
        if wanted.shape != values.shape:
            raise KernelError(
                f"a slice of tensor {name!r} has shape {values.shape} instead of {wanted.shape}"
            )
        with np.errstate(invalid="ignore"):
            difference = np.abs(values - wanted)
        if not np.isfinite(wanted).all():
            difference[np.isinf(wanted) & (values == wanted)] = 0.0
        scale = self._scale[name]
        if scale > 0:
            magnitude = np.maximum(np.where(np.isfinite(wanted), np.abs(wanted), 0), np.float32(scale))
            largest = float((difference / magnitude).max())
        else:
            largest = 0.0 if not difference.any() else float("inf")
        # A NaN is a place that was never written.
        self._error[name] = max(self._error[name], largest if np.isfinite(largest) else float("inf"))
        self._seen[name][images, rows] = True


def _ordinary_scale(values: Floats) -> float:
    """Largest magnitude, without what is more than OUTLIER and OUTLIER times the middle one; 0 where all is 0."""
    magnitudes = np.abs(values[np.isfinite(values) & (values != 0)])
    if not magnitudes.size:
        return 0.0
    return float(magnitudes[magnitudes <= OUTLIER * max(1.0, float(np.median(magnitudes)))].max())
