"""Attention in groups of heads: every layer computes what the file does, and those of a group stand together."""

from __future__ import annotations

from itertools import groupby

import numpy as np
import pytest

from graph.counts import macs_per_image, weight_elements_total
from graph.errors import ModelError
from graph.head_groups import with_head_groups
from graph.importer import load_model
from graph.primitives import Concat, Contraction, MatMul, Rearrange
from tests.graph.checking import check_model

BERT = "bert_base:sequence=8,layers=2,width=32,heads=4,vocabulary=20"


@pytest.mark.parametrize("groups", [2, 4])
@pytest.mark.parametrize(
    "name",
    [
        BERT,
        f"{BERT},mask=yes",
        "gpt:sequence=8,layers=1,width=32,heads=4,vocabulary=20,positions=16",
        "vit_b16:size=32,layers=1,width=32,heads=4,hidden=64",
        "conformer:frames=16,layers=1,width=32,heads=4,kernel=7,attention=relative",
    ],
)
def test_every_layer_is_right(name: str, groups: int) -> None:
    """Of a constant mask channels are taken; of one that is an input, and of relative positions, they are copied."""
    model = load_model(name, 2)
    cut = with_head_groups(model, groups)
    check_model(cut)
    assert macs_per_image(cut.network) == macs_per_image(model.network)
    assert weight_elements_total(cut.network) == weight_elements_total(model.network)
    for tensor, layer in zip(
        cut.network.tensors[cut.network.source_count :], cut.network.layers, strict=True
    ):
        assert cut.network.tensors[layer.output] is tensor
        assert all(index < layer.output for index in layer.inputs)


def test_the_layers_of_a_group_are_one_run() -> None:
    """Projections, scores, softmax and context of a group follow one another; nothing is copied but by one Concat."""
    network = with_head_groups(load_model(BERT, weights=False), 2).network
    runs = [
        key
        for key, _ in groupby(
            layer.name.rpartition("/")[2] for layer in network.layers if "/heads" in layer.name
        )
    ]
    assert runs == ["heads0", "heads1", "heads"] * 2
    assert sum(isinstance(layer.anchor, Concat) for layer in network.layers) == 2
    assert not any(isinstance(layer.anchor, Rearrange) for layer in network.layers if "/heads" in layer.name)
    queries = [layer.anchor for layer in network.layers if "query" in layer.name]
    assert queries == [Contraction(16, 32, 1, 1)] * 4
    assert {layer.anchor.groups for layer in network.layers if isinstance(layer.anchor, MatMul)} == {2}


def test_without_weights_it_is_the_same() -> None:
    with_weights, without = (
        with_head_groups(load_model(BERT, weights=flag), 2).network for flag in (True, False)
    )
    assert with_weights.tensors == without.tensors
    for one, other in zip(with_weights.layers, without.layers, strict=True):
        assert (one.name, one.anchor, one.inputs, one.maps) == (
            other.name,
            other.anchor,
            other.inputs,
            other.maps,
        )


def test_weights_are_cut_by_rows() -> None:
    model = load_model(BERT)
    cut = with_head_groups(model, 2).network
    whole = next(layer for layer in model.network.layers if "query" in layer.name)
    parts = [layer for layer in cut.layers if layer.name.startswith(f"{whole.name}/")]
    assert whole.weight is not None
    assert np.array_equal(
        np.concatenate([part.weight for part in parts if part.weight is not None]), whole.weight
    )


def test_what_cannot_be_cut_is_refused() -> None:
    model = load_model(BERT, weights=False)
    assert with_head_groups(model, 1) is model
    for groups, name in ((3, BERT), (2, "squeezenet")):
        with pytest.raises(ModelError, match=f"no attention can be cut into {groups} groups of heads"):
            with_head_groups(load_model(name, weights=False), groups)
    with pytest.raises(ModelError, match="head groups is 0; expected at least 1"):
        with_head_groups(model, 0)
