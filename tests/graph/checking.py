"""The check that most graph tests make: every layer, slice by slice and whole, against onnxruntime."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from graph.inputs import random_inputs
from graph.model import Model
from graph.network import Layer
from graph.reference import with_outputs
from tests.graph.onnx_helpers import Floats, relative_error, run
from tests.graph.slices import Region, evaluate_slice

TOLERANCE = 1e-4


def reference_tensors(model: Model, seed: int = 0) -> list[Floats]:
    """Every tensor of the network as the re-batched original computes it, (B, C, H, W)."""
    feeds = random_inputs(model.input_shapes, seed)
    network = model.network
    names = [network.tensors[layer.output].name for layer in network.layers]
    found = {**feeds, **run(with_outputs(model.reference, names), feeds, names)}
    return [
        found[tensor.name].reshape(network.batch, tensor.channels, tensor.rows, tensor.columns)
        for tensor in network.tensors
    ]


def check_export(model: Model, tensors: list[Floats], seed: int = 0) -> None:
    """The network, folded and exported again, gives the original's tensors, all of them."""
    network = model.network
    names = [network.tensors[layer.output].name for layer in network.layers]
    exported = with_outputs(model.rounded_reference(np.float32), names)
    found = run(exported, random_inputs(model.input_shapes, seed), names)
    for name, tensor in zip(names, tensors[len(network.inputs) :], strict=True):
        assert found[name].shape == tensor.shape, name
        assert relative_error(found[name], tensor) <= TOLERANCE, name


def check_slices(model: Model, layer: Layer, tensors: list[Floats], generator: np.random.Generator) -> None:
    """Random slices of a layer, each computed from the input regions it needs, together give the whole
    output.
    """
    expected = tensors[layer.output]
    inputs = [tensors[index] for index in layer.inputs]
    cuts = [_cuts(size, generator) for size in expected.shape]
    found = np.full(expected.shape, np.nan, dtype=np.float32)
    for batch, channels, rows, columns in product(*cuts):
        region = Region(batch, channels, rows, columns)
        found[region.index] = evaluate_slice(model.network, layer, inputs, region)
    assert relative_error(found, expected) <= TOLERANCE, layer.name


def check_model(model: Model, seed: int = 0) -> list[Floats]:
    """Both checks for all layers; returns the tensors."""
    tensors = reference_tensors(model, seed)
    check_export(model, tensors, seed)
    generator = np.random.default_rng(seed)
    for layer in model.network.layers:
        check_slices(model, layer, tensors, generator)
    return tensors


def _cuts(size: int, generator: np.random.Generator) -> list[tuple[int, int]]:
    """The axis in at most three intervals, at random places."""
    places = {0, size, *(int(place) for place in generator.integers(0, size, 2))}
    return list(pairwise(sorted(places)))
