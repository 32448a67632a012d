"""The zoo models: layers, published counts, and every tensor of the folded network against the original's."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import onnx
import pytest

from graph.counts import (
    activation_elements_per_image,
    macs_per_image,
    weight_elements_total,
)
from graph.errors import ModelError
from graph.files.zoo import zoo_file
from graph.importer import load_model
from graph.inputs import random_inputs
from graph.primitives import ChannelNorm, Concat, Contraction, Move, Softmax, Window
from tests.graph.checking import check_export, reference_tensors
from tests.graph.onnx_helpers import relative_error, run, with_outputs

SUPPORTED = {
    "alexnet": 14,
    "densenet121": 246,
    "inception_v1": 84,
    "inception_v2": 94,
    "resnet50": 57,
    "shufflenet": 78,
    "squeezenet": 39,
    "vgg19": 25,
    "zfnet512": 14,
}
HEAVY = ("alexnet", "vgg19", "zfnet512")


@pytest.mark.parametrize("name", SUPPORTED)
def test_structure(name: str) -> None:
    model = load_model(name, batch=16, weights=False)
    network = model.network
    assert (network.name, network.batch, len(network.layers)) == (name, 16, SUPPORTED[name])
    assert network.model_hash == hashlib.sha256(zoo_file(name).read_bytes()).hexdigest()
    assert len({layer.name for layer in network.layers}) == len(network.layers)
    for position, layer in enumerate(network.layers):
        assert layer.output == len(network.inputs) + position
        assert len(layer.inputs) == len(layer.maps)
        assert all(index < layer.output for index in layer.inputs)
        assert layer.weight is None
        assert all(parameter.strides == (0,) for parameter in layer.parameters)
        if isinstance(layer.anchor, Contraction):
            assert sum(step.parameter is not None for step in layer.steps) <= 1
        if isinstance(layer.anchor, Concat):
            assert not layer.steps


def test_weights_do_not_change_the_structure() -> None:
    without, with_weights = (
        load_model("inception_v2", batch=2, weights=flag).network for flag in (False, True)
    )
    assert without.tensors == with_weights.tensors
    for one, other in zip(without.layers, with_weights.layers, strict=True):
        assert (one.name, one.nodes, one.anchor, one.inputs, one.maps, one.steps) == (
            other.name,
            other.nodes,
            other.anchor,
            other.inputs,
            other.maps,
            other.steps,
        )
        assert [item.shape for item in one.parameters] == [item.shape for item in other.parameters]


def test_kinds_of_layers() -> None:
    network = load_model("densenet121", weights=False).network
    kinds = Counter(type(layer.anchor) for layer in network.layers)
    # A Move is a batch norm that reads a Concat or a pool, not a convolution.
    assert kinds == {Contraction: 121, Concat: 58, Move: 62, Window: 5}
    network = load_model("alexnet", weights=False).network
    kinds = Counter(type(layer.anchor) for layer in network.layers)
    assert kinds == {Contraction: 8, Window: 3, ChannelNorm: 2, Softmax: 1}


@pytest.mark.parametrize(
    ("name", "gmacs", "millions"),
    [
        ("resnet50", 4.09, 25.5),
        ("vgg19", 19.63, 143.67),
        ("squeezenet", 0.35, 1.24),
        ("densenet121", 2.83, 7.97),
    ],
)
def test_published_counts(name: str, gmacs: float, millions: float) -> None:
    """The zoo's ResNet-50 strides in its 3x3 convolutions (4.09 GMAC), not in the 1x1 (3.86)."""
    network = load_model(name, weights=False).network
    assert macs_per_image(network) / 1e9 == pytest.approx(gmacs, rel=0.01)
    assert weight_elements_total(network) / 1e6 == pytest.approx(millions, rel=0.01)


def test_activation_counts() -> None:
    network = load_model("vgg19", batch=4, weights=False).network
    assert activation_elements_per_image(network) == sum(tensor.elements for tensor in network.tensors)


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in HEAVY else ()) for name in SUPPORTED]
)
def test_folded_network_equals_the_original(name: str) -> None:
    model = load_model(name, batch=2)
    tensors = reference_tensors(model)
    check_export(model, tensors)
    network = model.network
    for tensor in tensors:
        assert np.isfinite(tensor).all() and np.abs(tensor).max() < 1000
    # Batch, channels and places must differ, or a wrong one could not be seen.
    logits = next(
        tensors[layer.output] for layer in reversed(network.layers) if not isinstance(layer.anchor, Softmax)
    )
    assert logits.std() > 0.1
    assert relative_error(logits[0], logits[1]) > 1e-3


def test_rounded_reference() -> None:
    model = load_model("squeezenet")
    network = model.network
    names = [network.tensors[layer.output].name for layer in network.layers]
    feeds = random_inputs(model)
    exact = run(with_outputs(model.reference, names), feeds, names)
    rounded = model.rounded_reference(np.float16)
    for item in rounded.graph.initializer:
        if item.data_type != onnx.TensorProto.FLOAT or not item.dims:
            continue
        values = np.frombuffer(item.raw_data, dtype=np.float32)
        assert (values == values.astype(np.float16)).all()
    found = run(with_outputs(rounded, names), feeds, names)
    errors = [relative_error(found[name], exact[name]) for name in names]
    assert 1e-6 < max(errors) < 3e-3


def test_batch_changes_nothing_but_the_batch() -> None:
    three, one = load_model("inception_v1", batch=3), load_model("inception_v1", batch=1)
    feeds = random_inputs(three)
    (name,) = [three.network.tensors[index].name for index in three.network.outputs]
    whole = run(three.rounded_reference(np.float32), three.stored_inputs(feeds), [name])[name]
    assert whole.shape == (3, 1000, 1, 1)
    for image, single in enumerate(one.file_batches(feeds)):
        assert relative_error(whole[image : image + 1], run(one.reference, single, [name])[name]) <= 1e-5


def test_no_reference_without_weights() -> None:
    model = load_model("squeezenet", weights=False)
    with pytest.raises(ModelError, match="loaded without weights"):
        _ = model.reference
    with pytest.raises(ModelError, match="loaded without weights"):
        model.rounded_reference()
