"""The check that most graph tests make: every layer, slice by slice and whole, against onnxruntime."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np

from graph.inputs import random_inputs
from graph.model import Model
from graph.network import Layer
from tests.graph.onnx_helpers import Floats, relative_error, run, with_outputs
from tests.graph.slices import Region, evaluate_slice

TOLERANCE = 1e-4


def reference_tensors(model: Model, seed: int = 0) -> list[Floats]:
    """Every tensor of the network, (B, C, H, W): as the file's own graph computes it where it is in there, and
    as the exported network does for those between two of its nodes.
    """
    network = model.network
    written = [network.tensors[layer.output].name for layer in network.layers]
    feeds = random_inputs(model, seed)
    stored = model.stored_inputs(feeds)
    found: dict[str, Floats] = dict(stored)
    for index, array in network.constants.items():
        found[network.tensors[index].name] = np.broadcast_to(array, (network.batch, *array.shape))
    inner = [name for name in written if name not in model.layouts]
    if inner:
        found |= run(with_outputs(model.rounded_reference(np.float32), inner), stored, inner)
    names = [name for name in written if name in model.layouts]
    outer = with_outputs(model.reference, names)
    runs = [run(outer, part, names) for part in model.file_batches(feeds)]
    found |= {name: model.stored(name, [part[name] for part in runs]) for name in names}
    return [found[tensor.name] for tensor in network.tensors]


def check_export(model: Model, tensors: list[Floats], seed: int = 0) -> None:
    """The network, folded and exported again, gives the original's tensors, all of them."""
    network = model.network
    names = [network.tensors[layer.output].name for layer in network.layers]
    assert all(network.tensors[index].name in model.layouts for index in network.outputs)
    exported = with_outputs(model.rounded_reference(np.float32), names)
    found = run(exported, model.stored_inputs(random_inputs(model, seed)), names)
    for name, tensor in zip(names, tensors[network.source_count :], strict=True):
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
