"""Comparison with a reference, slice by slice, and references with weights beside the model."""

from pathlib import Path

import numpy as np
import pytest

from graph.importer import load_model
from graph.inputs import random_inputs
from hwmodel.errors import KernelError
from hwmodel.isa import Trace
from report.reference import Reference, exact_reference, rounded_reference
from report.verify import Comparison, run_reference
from report.verify_result import Check, Verification
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
    feeds = random_inputs(model.input_shapes)
    if dtype is None:
        whole, parts = model.reference, exact_reference(model, tensors)
    else:
        whole, parts = model.rounded_reference(dtype), rounded_reference(model, dtype, tensors)
    assert parts.initializers and len(parts.model) < 50_000
    found = dict(zip(tensors, run_reference(parts, tensors, feeds), strict=True))
    outputs = [model.network.tensors[index].name for index in model.network.outputs]
    for name, value in zip(
        outputs, run_reference(Reference(whole.SerializeToString(), {}), outputs, feeds), strict=True
    ):
        np.testing.assert_array_equal(found[name].ravel(), value.ravel())
    assert len(names) == len(found)


def test_a_verification_names_its_largest_error() -> None:
    found = Verification(Check("fp32", 2e-6, 1e-4, "a", 3), Check("fp16", 4e-3, 3e-3, "b", 3))
    assert not found.passed
    assert found.max_relative_error == 4e-3
    assert found.sentence == (
        "Largest difference to onnxruntime: 2.0e-06 in fp32 arithmetic (limit 1e-04, 3 tensors, worst a), "
        "4.0e-03 in fp16 arithmetic (limit 3e-03, 3 tensors, worst b)."
    )
    assert Verification(Check("fp32", 1e-4, 1e-4, "a", 3), None).passed
