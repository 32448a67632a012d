"""Files that leave their batch open but have a 1 in a constant where the batch belongs: exporters trace it there."""

from __future__ import annotations

from graph.folded.folding import FoldedGraph, node_name

_SHAPE_INPUT = {"Expand": 1, "Reshape": 1}
_STATE_INPUTS = {"GRU": (5,), "LSTM": (5, 6), "RNN": (5,)}


def ones_for_batch(folded: FoldedGraph) -> list[str]:
    """What may be a 1 that stands for the batch, each with its node: the first entry of the shape of a Reshape or
    Expand, the first dimension of a constant among the inputs of a Concat, that of the batch in a constant state of a
    loop.

    A shape that was computed from a Shape holds the batch that the file is read for, which is not 1.
    """
    found = []
    for node in folded.nodes:
        kind, names = node.op_type, list(node.input)
        for place, name in enumerate(names):
            array = folded.constants.get(name)
            if array is None:
                continue
            if _SHAPE_INPUT.get(kind) == place:
                one = array.size > 0 and int(array.flat[0]) == 1
            elif kind == "Concat":
                one = array.ndim > 1 and array.shape[0] == 1 and folded.file_batch != 1
            elif place in _STATE_INPUTS.get(kind, ()):
                one = array.ndim == 3 and array.shape[1] == 1
            else:
                one = False
            if one:
                found.append(f"{name!r} of {kind} node {node_name(node)!r}")
    return found
