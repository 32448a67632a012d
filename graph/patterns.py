"""Composite patterns of ONNX nodes that exporters emit for one function, put back as one node."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import onnx

from graph.constants import Array


def recognised(
    nodes: Sequence[onnx.NodeProto], constants: Mapping[str, Array], outputs: Sequence[str]
) -> tuple[tuple[onnx.NodeProto, ...], dict[str, tuple[str, ...]]]:
    """`nodes` with patterns replaced, and for each new node, by its output, the names of those it replaces."""
    return tuple(nodes), {}
