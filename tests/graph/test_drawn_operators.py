"""Every operator with random attributes, shapes, storage and data: whole and in slices against onnxruntime, and the
same structure without weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from graph.importer import load_model
from graph.network import Network
from graph.operators import OPERATORS
from tests.graph.checking import check_model
from tests.graph.drawing import Drawing
from tests.graph.drawn_operators import DRAWS, OPSETS, USUAL

EXAMPLES = 12
MORE_EXAMPLES = {
    "Attention": 40,
    "AveragePool": 30,
    "Conv": 50,
    "ConvTranspose": 40,
    "Einsum": 40,
    "MaxPool": 40,
    "Pad": 30,
    "Resize": 50,
    "RotaryEmbedding": 40,
    "Slice": 30,
}


def test_every_operator_is_drawn() -> None:
    assert set(DRAWS) == set(OPERATORS)


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_operator(name: str, tmp_path: Path) -> None:
    @settings(
        max_examples=MORE_EXAMPLES.get(name, EXAMPLES),
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
    )
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        drawing = Drawing(data.draw, data.draw(st.sampled_from(OPSETS.get(name, USUAL))))
        outputs = DRAWS[name](drawing, name)
        path = drawing.b.save(tmp_path, *((outputs,) if isinstance(outputs, str) else outputs))
        batch = drawing.batch * data.draw(st.integers(1, 2))
        model = load_model(path, batch)
        assert _structure(model.network) == _structure(load_model(path, batch, weights=False).network)
        check_model(model, seed=data.draw(st.integers(0, 99)))

    check()


def _structure(network: Network) -> object:
    return network.tensors, [
        (
            layer.name,
            layer.anchor,
            layer.inputs,
            layer.maps,
            layer.output,
            *tuple((step.op, step.tensor, step.parameter) for step in layer.steps),
        )
        for layer in network.layers
    ]
