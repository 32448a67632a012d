"""Loops."""

from __future__ import annotations

from tests.graph.drawing import Drawing
from tests.graph.drawn.registry import draws


@draws("LSTM", "GRU", "RNN")
def loop(d: Drawing, name: str) -> tuple[str, ...]:
    gates, states = {"LSTM": (4, 2), "GRU": (3, 1), "RNN": (1, 1)}[name]
    steps, features, hidden = d.sizes(3, 1, 4)
    direction = d.pick("forward", "reverse", "bidirectional")
    ways = 2 if direction == "bidirectional" else 1
    x = d.b.node("Transpose", d.x(steps, features), perm=[1, 0, 2])
    bias = d.b.random(ways, 2 * gates * hidden) if d.pick(True, False) else ""
    inputs = [x, d.b.random(ways, gates * hidden, features), d.b.random(ways, gates * hidden, hidden), bias]
    given = d.pick("", "input")
    if given:
        first = [d.b.node("Transpose", d.x(ways, hidden), perm=[1, 0, 2]) for _ in range(states)]
        inputs += ["", *first]
    late: dict[str, object] = d.optional(linear_before_reset=1) if name == "GRU" else {}
    if name == "RNN":
        late = {"activations": [d.pick("Tanh", "Relu")] * ways}
    found = d.b.nodes_of(name, 1 + states, *inputs, hidden_size=hidden, direction=direction, **late)
    rows = d.b.node("Transpose", found[0], perm=[2, 0, 1, 3])
    return (rows, *(d.b.node("Transpose", final, perm=[1, 0, 2]) for final in found[1:]))
