"""Networks built from published architecture tables, by name: no download is needed to repeat an evaluation.

A name is `NAME` or `NAME:key=value,key=value`, such as `bert_base:sequence=384`. All are built for one image or
sequence, with ONNX operators of opset 17 and without real weights; the loader sets the batch and the weights.
"""

from __future__ import annotations

import onnx

from graph.models import (
    bert,
    conformer,
    dlrm,
    gpt,
    mobilenet,
    nasnet,
    pixels,
    randwire,
    recurrent,
    resnet,
    vit,
)
from graph.models.parameters import Family, parse

_FAMILIES: dict[str, Family] = {
    **bert.FAMILIES,
    **conformer.FAMILIES,
    **dlrm.FAMILIES,
    **gpt.FAMILIES,
    **mobilenet.FAMILIES,
    **nasnet.FAMILIES,
    **pixels.FAMILIES,
    **randwire.FAMILIES,
    **recurrent.FAMILIES,
    **resnet.FAMILIES,
    **vit.FAMILIES,
}


def model_names() -> tuple[str, ...]:
    """Names that `build` knows, sorted, without parameters."""
    return tuple(sorted(_FAMILIES))


def is_model(name: str) -> bool:
    """Whether a string names a model, whatever its parameters."""
    return name.partition(":")[0] in _FAMILIES


def build(name: str) -> onnx.ModelProto:
    """The model that a name stands for, deterministic in the name.

    Raises ModelError for an unknown name or parameter and for a value that is not allowed.
    """
    family, values = parse(name, _FAMILIES)
    return family.build(**values)


def describe(name: str) -> str:
    """One line: the parameters of a model with their values, and where it was published.

    Raises ModelError as `build` does.
    """
    family, values = parse(name, _FAMILIES)
    given = ",".join(f"{key}={value}" for key, value in values.items())
    return f"{name.partition(':')[0]}:{given} ({family.source})"
