"""Recurrent networks on ONNX's LSTM and GRU: a language model, DeepSpeech2 and sequence to sequence.

Activations are (1, S, D) outside and (S, 1, D) inside the recurrent layers.
"""

from __future__ import annotations

import onnx

from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter, choice

_GATES = {"LSTM": 4, "GRU": 3}
_BANDS = 161
_LABELS = 29


def lstm(*, sequence: int, layers: int, width: int, vocabulary: int, nodes: str) -> onnx.ModelProto:
    """Logits (1, S, vocabulary) of int64 input_ids (1, S): embedding, stacked LSTM layers, softmax weights.

    The default is the large model of the paper (66 M parameters). With `nodes` "cells" there is a node for each layer
    and time instead of one for each layer, so that a layer need not have ended before the next one begins.
    """
    net = Builder("lstm")
    x = net.embedding(net.input("input_ids", 1, sequence, integers=True), "embedding", vocabulary, width)
    x = net.transpose(x, "rows", 1, 0, 2)
    if nodes == "cells":
        x = _cells(net, x, layers, width)
    else:
        for index in range(layers):
            x, *_ = _recurrent(net, x, f"layer{index}", width)
    return net.model(net.linear(net.transpose(x, "joined", 1, 0, 2), "head", vocabulary))


def _cells(net: Builder, x: Tensor, layers: int, width: int) -> Tensor:
    """Stacked LSTM layers over (S, 1, D), time after time."""
    weights = [_weights(net, f"layer{index}", 1, 4, width, width) for index in range(layers)]
    states: list[list[Tensor] | None] = [None] * layers
    found = []
    for time in range(x.shape[0]):
        y = net.slice(x, f"input{time}", {0: time}, {0: 1})
        for index in range(layers):
            at = f"layer{index}/time{time}"
            y, *states[index] = _recurrent(net, y, at, width, start=states[index], weights=weights[index])
        found.append(y)
    return net.concat(found, "outputs", axis=0)


def deepspeech2(*, frames: int, layers: int, width: int, cell: str) -> onnx.ModelProto:
    """Label logits (1, T, 29) of a spectrogram (1, 1, 161, frames), T about frames / 2.

    Two convolutions and bidirectional recurrent layers, both directions added, as in MLPerf's version.
    """
    net = Builder("deepspeech2")
    x = net.input("spectrogram", 1, 1, _BANDS, frames)
    for index, (kernel, stride, padding) in enumerate(
        (((41, 11), (2, 2), (20, 5)), ((21, 11), (2, 1), (10, 5)))
    ):
        conv = net.conv(x, f"conv{index}", 32, kernel, stride=stride, padding=padding, bias=True)
        x = net.batch_norm(conv, f"conv{index}/norm")
        x = net.node("Clip", f"conv{index}/clip", [x, net.number(0.0), net.number(20.0)], x.shape)
    channels, bands, steps = x.shape[1:]
    x = net.reshape(x, "features", channels * bands, steps)
    x = net.transpose(x, "rows", 2, 0, 1)
    for index in range(layers):
        x, *_ = _recurrent(net, x, f"layer{index}", width, kind=cell.upper(), bidirectional=True)
    return net.model(net.linear(net.transpose(x, "joined", 1, 0, 2), "labels", _LABELS))


def seq2seq(*, source: int, target: int, layers: int, width: int, vocabulary: int) -> onnx.ModelProto:
    """Logits (1, target, vocabulary) of int64 source_ids (1, source) and target_ids (1, target).

    LSTM encoder and decoder with the paper's general attention; the decoder starts from the encoder's states and
    reads the target at once, so attention is not fed back into it.
    """
    net = Builder("seq2seq")
    ids = net.input("source_ids", 1, source, integers=True)
    wanted = net.input("target_ids", 1, target, integers=True)
    x = net.transpose(net.embedding(ids, "encoder/embedding", vocabulary, width), "encoder/rows", 1, 0, 2)
    states: list[list[Tensor]] = []
    for index in range(layers):
        x, *state = _recurrent(net, x, f"encoder/layer{index}", width)
        states.append(state)
    memory = net.transpose(x, "encoder/joined", 1, 0, 2)
    y = net.transpose(net.embedding(wanted, "decoder/embedding", vocabulary, width), "decoder/rows", 1, 0, 2)
    for index, state in enumerate(states):
        y, *_ = _recurrent(net, y, f"decoder/layer{index}", width, start=state)
    hidden = net.transpose(y, "decoder/joined", 1, 0, 2)
    query = net.linear(hidden, "attention/query", width, bias=False)
    scores = net.matmul(query, net.transpose(memory, "attention/keys", 0, 2, 1), "attention/scores")
    context = net.matmul(net.softmax(scores, "attention/softmax"), memory, "attention/context")
    both = net.concat([context, hidden], "attention/both", axis=2)
    mixed = net.unary("Tanh", net.linear(both, "attention/mix", width, bias=False), "attention/tanh")
    return net.model(net.linear(mixed, "head", vocabulary, bias=False))


def _recurrent(
    net: Builder,
    x: Tensor,
    at: str,
    width: int,
    *,
    kind: str = "LSTM",
    bidirectional: bool = False,
    start: list[Tensor] | None = None,
    weights: list[Tensor] | None = None,
) -> list[Tensor]:
    """One layer over (S, 1, D): rows (S, 1, width), directions added up, and the last states (1, 1, width)."""
    directions, gates = (2 if bidirectional else 1), _GATES[kind]
    inputs: list[Tensor | None] = [
        x,
        *(_weights(net, at, directions, gates, width, x.shape[2]) if weights is None else weights),
        *([None, *start] if start else []),
    ]
    steps, state = (x.shape[0], directions, 1, width), (directions, 1, width)
    names = [f"{at}/steps", f"{at}/hidden", *([f"{at}/cell"] if kind == "LSTM" else [])]
    rows, *last = net.node_of_many(
        kind,
        at,
        inputs,
        {name: (state if index else steps) for index, name in enumerate(names)},
        hidden_size=width,
        direction="bidirectional" if bidirectional else "forward",
        **({"linear_before_reset": 1} if kind == "GRU" else {}),
    )
    op_type = "ReduceSum" if bidirectional else "Squeeze"
    attributes = {"keepdims": 0} if bidirectional else {}
    shape = (x.shape[0], 1, width)
    return [net.node(op_type, f"{at}/rows", [rows, net.integers([1])], shape, **attributes), *last]


def _weights(net: Builder, at: str, directions: int, gates: int, width: int, features: int) -> list[Tensor]:
    """Those of the input, of the state, and the biases."""
    return [
        net.weight(f"{at}/weight", (directions, gates * width, features)),
        net.weight(f"{at}/recurrence", (directions, gates * width, width)),
        net.weight(f"{at}/bias", (directions, 2 * gates * width), 0.0),
    ]


FAMILIES = {
    "lstm": Family(
        lstm,
        "Zaremba et al. 2014, arXiv:1409.2329 (large, Penn Treebank)",
        {
            "sequence": Parameter(35, high=16384),
            "layers": Parameter(2, high=64),
            "width": Parameter(1500),
            "vocabulary": Parameter(10_000, high=2**24),
            "nodes": choice("layers", "cells"),
        },
    ),
    "deepspeech2": Family(
        deepspeech2,
        "Amodei et al. 2015, arXiv:1512.02595, in the size of MLPerf training v0.5",
        {
            "frames": Parameter(400, low=16, high=16384),
            "layers": Parameter(5, high=64),
            "width": Parameter(800),
            "cell": choice("lstm", "gru"),
        },
    ),
    "seq2seq": Family(
        seq2seq,
        "Luong et al. 2015, arXiv:1508.04025 (4 layers of 1000, attention general)",
        {
            "source": Parameter(32, high=16384),
            "target": Parameter(32, high=16384),
            "layers": Parameter(4, high=64),
            "width": Parameter(1000),
            "vocabulary": Parameter(50_000, high=2**24),
        },
    ),
}
