"""Comparison with a reference, slice by slice, and references with weights beside the model."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto

from graph.importer import load_model
from graph.inputs import random_inputs
from graph.model import Model
from hwmodel.errors import KernelError
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.programs.isa import Op, Program, Trace
from report.reference import Reference, exact_reference, rounded, rounded_reference
from report.verify import (
    FP16_MOST,
    FP16_TOLERANCE,
    Comparison,
    run_reference,
    storage_errors,
    stored_in_half,
    verify,
)
from report.verify_result import Check, Verification
from scheduling.candidates.space import CandidateSpace
from scheduling.emission.program import build_program, program_weights
from scheduling.evaluator import Evaluator
from scheduling.problem import Problem
from scheduling.strategies import solve
from tests.graph.onnx_helpers import GraphBuilder
from tests.report.models import small_model

FIRST = Trace("t", 0, "dram", 0, (0, 1), (0, 3), 2, 4)
SECOND = Trace("t", 1, "dram", 0, (1, 2), (0, 3), 2, 4)


def expected() -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    """(B, C, H, W) with 8 as the largest magnitude."""
    values = np.random.default_rng(0).uniform(-1, 1, (2, 4, 3, 2)).astype(np.float32)
    values[1, 2, 1, 0] = -8
    return values


def test_equal_slices_have_no_error() -> None:
    reference = expected()
    comparison = Comparison({"t": reference})
    comparison.add_trace(FIRST, reference[0:1].transpose(0, 2, 3, 1))
    comparison.add_trace(SECOND, reference[1:2].transpose(0, 2, 3, 1))
    assert comparison.result() == ("t", 0.0)


def test_the_error_is_relative_to_the_largest_element_of_the_tensor() -> None:
    reference = expected()
    wrong = reference.copy()
    wrong[0, 1, 2, 1] += 0.5
    comparison = Comparison({"s": reference, "t": reference})
    comparison.add_whole("s", reference)
    comparison.add_whole("t", wrong)
    worst, error = comparison.result()
    assert worst == "t"
    assert error == pytest.approx(0.5 / 8, rel=1e-6)


def test_a_place_that_was_never_written_is_an_infinite_error() -> None:
    reference = expected()
    hole = reference.copy()
    hole[0, 0, 0, 0] = np.nan
    comparison = Comparison({"t": reference})
    comparison.add_whole("t", hole)
    assert comparison.result() == ("t", float("inf"))


def test_an_infinity_must_be_the_same_infinity_and_hides_nothing() -> None:
    reference = expected()
    reference[0, 0, 0, 0] = -np.inf
    same = Comparison({"a": expected(), "t": reference})
    same.add_whole("a", expected())
    same.add_whole("t", reference)
    assert same.result()[1] == 0.0
    for wrong in (np.inf, 123.0, np.nan):
        other = reference.copy()
        other[0, 0, 0, 0] = wrong
        comparison = Comparison({"a": expected(), "t": reference})
        comparison.add_whole("a", expected())
        comparison.add_whole("t", other)
        assert comparison.result() == ("t", float("inf"))


def test_a_mask_does_not_hide_an_error_beside_it() -> None:
    reference = expected()
    ordinary = np.abs(reference).max()
    reference[0, 0, 0, :] = -10000.0
    wrong = reference.copy()
    wrong[1, 0, 0, 0] += np.float32(0.5 * ordinary)
    comparison = Comparison({"t": reference})
    comparison.add_whole("t", wrong)
    name, error = comparison.result()
    assert name == "t" and error == pytest.approx(0.5, rel=1e-3)


def test_a_tensor_that_is_not_seen_whole_is_refused() -> None:
    reference = expected()
    comparison = Comparison({"t": reference})
    comparison.add_trace(FIRST, reference[0:1].transpose(0, 2, 3, 1))
    with pytest.raises(KernelError, match="no trace of 3 image rows of tensor 't'"):
        comparison.result()


def test_a_slice_of_another_shape_is_refused() -> None:
    with pytest.raises(KernelError, match="shape"):
        Comparison({"t": expected()}).add_trace(FIRST, np.zeros((1, 3, 2, 3), np.float32))


@pytest.mark.parametrize("dtype", [None, np.float16])
def test_weights_beside_the_model_change_nothing(tmp_path: Path, dtype: type[np.floating] | None) -> None:
    model = load_model(str(small_model(tmp_path, channels=64)), batch=3)
    names = [layer.name for layer in model.network.layers]
    tensors = [model.network.tensors[layer.output].name for layer in model.network.layers]
    feeds = random_inputs(model)
    if dtype is None:
        feeds = model.file_batches(feeds)[0]
        whole, parts = model.reference, exact_reference(model, tensors)
    else:
        feeds = model.stored_inputs(feeds)
        whole, parts = model.rounded_reference(dtype), rounded_reference(model, dtype, tensors)
    assert parts.initializers and len(parts.model) < 50_000
    found = dict(zip(tensors, run_reference(parts, tensors, feeds), strict=True))
    outputs = [model.network.tensors[index].name for index in model.network.outputs]
    for name, value in zip(
        outputs, run_reference(Reference(whole.SerializeToString(), {}), outputs, feeds), strict=True
    ):
        np.testing.assert_array_equal(found[name].ravel(), value.ravel())
    assert len(names) == len(found)


class Case:
    """A small network in two sub-graphs on a machine, as a program with its weights."""

    def __init__(self, folder: Path, element: str) -> None:
        self.model = load_model(str(small_model(folder)), batch=2)
        data = load_machine("tiny").model_dump() | {"element": element}
        self.machine = Machine.model_validate(data)
        evaluator = Evaluator(self.model.network, self.machine)
        problem = Problem(evaluator, CandidateSpace(evaluator))
        solution = solve("layerwise", problem)
        plan = evaluator.arrange(solution.choices, solution.rules)
        self.program = build_program(evaluator, solution.choices, plan)
        self.weights = program_weights(self.model.network)

    def verified(self, program: Program, weights: dict[str, np.ndarray]) -> Verification:
        return verify(self.model, program, self.machine, weights)


@pytest.mark.parametrize("element, arithmetics", [("fp32", ["fp32"]), ("fp16", ["fp32", "fp16"])])
def test_right_kernels_pass(tmp_path: Path, element: str, arithmetics: list[str]) -> None:
    case = Case(tmp_path, element)
    found = case.verified(case.program, case.weights)
    assert [check.arithmetic for check in found.checks] == arithmetics
    assert found.passed
    # Every layer's output crosses a boundary when each is a kernel of its own.
    assert found.fp32.tensors == len(case.model.network.layers)
    assert 0 < found.fp32.max_relative_error < 1e-5


def test_swapped_filters_fail(tmp_path: Path) -> None:
    case = Case(tmp_path, "fp32")
    name = next(name for name, values in case.weights.items() if values.ndim == 4)
    wrong = case.weights[name].copy()
    wrong[[0, 1]] = wrong[[1, 0]]
    found = case.verified(case.program, case.weights | {name: wrong})
    assert not found.passed
    assert found.fp32.max_relative_error > 0.01


@pytest.mark.parametrize("element", ["fp32", "fp16"])
def test_a_row_that_a_convolution_misses_fails(tmp_path: Path, element: str) -> None:
    case = Case(tmp_path, element)
    found = case.verified(without_a_row(case.program), case.weights)
    assert [check.passed for check in found.checks] == [False] * len(found.checks)
    if found.native is not None:  # it was measured that storing is not to blame
        assert found.native.tolerance == FP16_TOLERANCE and found.native.storage_error is None


def without_a_row(program: Program) -> Program:
    """The program, whose first convolution of several rows reads one row less."""
    name, kernel = next(
        (name, kernel)
        for name, kernel in program.kernels.items()
        if any(item.op is Op.CONV and max(item.fields["in_rows"]) > 1 for item in kernel.instructions)
    )
    changed = list(kernel.instructions)
    at = next(i for i, item in enumerate(changed) if item.op is Op.CONV and max(item.fields["in_rows"]) > 1)
    fewer = tuple(max(0, rows - 1) for rows in changed[at].fields["in_rows"])
    changed[at] = replace(changed[at], fields={**changed[at].fields, "in_rows": fewer})
    return replace(program, kernels={**program.kernels, name: replace(kernel, instructions=tuple(changed))})


def offset_and_back(folder: Path, offset: float, convolved: bool = False) -> Model:
    """x, or a convolution of it, + offset in one layer, less it in the next: in fp16 what is stored between keeps few
    digits of x."""
    graph = GraphBuilder()
    value = graph.input("x", 1, 4, 6, 6)
    if convolved:
        value = graph.node("Conv", value, graph.random(4, 4, 3, 3), pads=[1, 1, 1, 1])
    for shift in (offset, -offset):
        value = graph.node("MaxPool", value, kernel_shape=[2, 2])
        value = graph.node("Add", value, graph.number(shift))
    return load_model(graph.save(folder, value), batch=2)


def test_storage_errors_are_those_of_rounding_what_layers_give(tmp_path: Path) -> None:
    model = offset_and_back(tmp_path, 32.0)
    names = [tensor.name for tensor in model.network.tensors]
    x = rounded(model.stored_inputs(random_inputs(model))["x"], np.float16)
    pooled = [x, _pooled(x), _pooled(_pooled(x))]
    exact = {names[1]: pooled[1] + np.float32(32), names[2]: pooled[2]}
    stored = rounded(exact[names[1]], np.float16)
    last = rounded(_pooled(stored) - np.float32(32), np.float16)
    expected = {
        name: np.abs(found - exact[name]).max() / np.abs(exact[name]).max()
        for name, found in ((names[1], stored), (names[2], last))
    }
    found = storage_errors(stored_in_half(model, {"x": x}, list(exact)), exact)
    assert found == pytest.approx(expected, rel=1e-3)


def _pooled(values: np.ndarray) -> np.ndarray:
    """Largest element of every 2 x 2 window."""
    rows = np.maximum(values[:, :, 1:], values[:, :, :-1])
    return np.maximum(rows[:, :, :, 1:], rows[:, :, :, :-1])


def in_half(model: Model) -> tuple[Machine, Model, Program]:
    """A machine of fp16, and a model's program for it."""
    machine = Machine.model_validate(load_machine("tiny").model_dump() | {"element": "fp16"})
    evaluator = Evaluator(model.network, machine)
    solution = solve("layerwise", Problem(evaluator, CandidateSpace(evaluator)))
    program = build_program(evaluator, solution.choices, evaluator.arrange(solution.choices, solution.rules))
    return machine, model, program


def test_a_missed_row_fails_in_both_arithmetics_where_the_limit_is_raised(tmp_path: Path) -> None:
    machine, model, program = in_half(offset_and_back(tmp_path, 128.0, convolved=True))
    weights = program_weights(model.network)
    right = verify(model, program, machine, weights)
    assert right.passed and right.native is not None and right.native.tolerance > FP16_TOLERANCE
    wrong = verify(model, without_a_row(program), machine, weights)
    assert [check.passed for check in wrong.checks] == [False, False]


@pytest.mark.parametrize(("offset", "passes"), [(1.0, True), (32.0, True), (4096.0, False)])
def test_the_limit_in_fp16_is_twice_the_error_of_storing(tmp_path: Path, offset: float, passes: bool) -> None:
    machine, model, program = in_half(offset_and_back(tmp_path, offset))
    found = verify(model, program, machine, program_weights(model.network))
    assert found.fp32.passed and found.native is not None
    assert found.native.passed == passes
    if offset == 1.0:
        assert found.native.tolerance == FP16_TOLERANCE and found.native.storage_error is None
    elif passes:
        assert found.native.storage_error is not None
        assert found.native.max_relative_error > FP16_TOLERANCE
        assert found.native.tolerance == min(FP16_MOST, 2 * found.native.storage_error)
        assert "since storing in fp16 alone gives" in found.sentence
    else:
        assert found.native.tolerance == FP16_MOST


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
def test_places_that_storing_in_fp16_turns_are_those_of_layers_that_store_in_fp16(
    tmp_path: Path, op_type: str
) -> None:
    """Numbers that differ in what fp16 cuts off: the greatest of them is another one when they are stored, and in the
    kernels as well; a missed row still fails."""
    graph = GraphBuilder()
    value = graph.node("Conv", graph.input("x", 1, 4, 6, 6), graph.random(8, 4, 3, 3), pads=[1, 1, 1, 1])
    value = graph.node("MaxPool", graph.node("Add", value, graph.number(512.0)), kernel_shape=[2, 2])
    places = graph.node(op_type, value, axis=1)
    model = load_model(graph.save(tmp_path, graph.node("Cast", places, to=TensorProto.FLOAT)), batch=2)
    machine, model, program = in_half(model)
    weights = program_weights(model.network)
    right = verify(model, program, machine, weights)
    assert right.passed
    half = {"x": rounded(model.stored_inputs(random_inputs(model))["x"], np.float16)}
    name = model.network.tensors[model.network.outputs[0]].name
    (exact,) = run_reference(rounded_reference(model, np.float16, [name]), [name], half)
    assert (stored_in_half(model, half, [name])[name] != exact).any()
    wrong = verify(model, without_a_row(program), machine, weights)
    assert [check.passed for check in wrong.checks] == [False, False]


def test_a_verification_names_its_largest_error() -> None:
    found = Verification(Check("fp32", 2e-6, 1e-4, "a", 3), Check("fp16", 4e-3, 3e-3, "b", 3))
    assert not found.passed
    assert found.max_relative_error == 4e-3
    assert found.sentence == (
        "Largest difference to onnxruntime: 2.0e-06 in fp32 arithmetic (limit 1e-04, 3 tensors, worst a), "
        "4.0e-03 in fp16 arithmetic (limit 3e-03, 3 tensors, worst b)."
    )
    assert Verification(Check("fp32", 1e-4, 1e-4, "a", 3), None).passed


def test_numbers_that_overflow_fp16_fail(tmp_path: Path) -> None:
    graph = GraphBuilder()
    large = graph.node("Mul", graph.input("x", 1, 2, 4, 4), graph.number(1e6))
    model = load_model(graph.save(tmp_path, graph.node("Relu", large)), batch=1)
    machine = load_machine("stcp920")
    evaluator = Evaluator(model.network, machine)
    solution = solve("layerwise", Problem(evaluator, CandidateSpace(evaluator)))
    program = build_program(evaluator, solution.choices, evaluator.arrange(solution.choices, solution.rules))
    found = verify(model, program, machine, program_weights(model.network))
    assert found.fp32.passed
    assert found.native is not None and found.native.max_relative_error == float("inf")
