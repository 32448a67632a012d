"""Multi-head attention and feed-forward layers, shared by the transformers (Vaswani et al. 2017)."""

from __future__ import annotations

from graph.models.builder import Builder, Tensor


def split_heads(net: Builder, x: Tensor, name: str, heads: int, *, keys: bool = False) -> Tensor:
    """(1, S, D) as (1, heads, S, D / heads), or with the last two axes swapped for keys."""
    sequence, width = x.shape[1:]
    parts = net.reshape(x, f"{name}/split", sequence, heads, width // heads)
    return net.transpose(parts, f"{name}/heads", 0, 2, *((3, 1) if keys else (1, 3)))


def weigh(
    net: Builder, scores: Tensor, values: Tensor, name: str, *, scale: float, mask: Tensor | None = None
) -> Tensor:
    """Softmax of scaled and masked scores (1, heads, S, T), times values (1, heads, T, d), as (1, S, D)."""
    scores = net.mul(scores, net.number(scale), f"{name}/scaled")
    if mask is not None:
        scores = net.add(scores, mask, f"{name}/masked")
    context = net.matmul(net.softmax(scores, f"{name}/softmax"), values, f"{name}/context")
    heads, sequence, depth = context.shape[1:]
    rows = net.transpose(context, f"{name}/rows", 0, 2, 1, 3)
    return net.reshape(rows, f"{name}/joined", sequence, heads * depth)


def attention(net: Builder, x: Tensor, name: str, heads: int, mask: Tensor | None = None) -> Tensor:
    """Self-attention of (1, S, D); `mask` is added to the scores."""
    width = x.shape[2]
    query = split_heads(net, net.linear(x, f"{name}/query", width), f"{name}/query", heads)
    key = split_heads(net, net.linear(x, f"{name}/key", width), f"{name}/key", heads, keys=True)
    value = split_heads(net, net.linear(x, f"{name}/value", width), f"{name}/value", heads)
    scores = net.matmul(query, key, f"{name}/scores")
    joined = weigh(net, scores, value, name, scale=(width // heads) ** -0.5, mask=mask)
    return net.linear(joined, f"{name}/output", width)


def feed_forward(net: Builder, x: Tensor, name: str, width: int, *, tanh: bool = False) -> Tensor:
    """Two linear layers with a Gelu between them, by Erf or by Tanh."""
    inner = net.linear(x, f"{name}/expand", width)
    active = (net.gelu_by_tanh if tanh else net.gelu)(inner, f"{name}/gelu")
    return net.linear(active, f"{name}/reduce", x.shape[2])


def first_rows(net: Builder, name: str, rows: int, used: int, width: int) -> Tensor:
    """The first `used` rows of a table of learned positions."""
    table = net.weight(f"{name}/table", (rows, width))
    return net.slice(table, name, {0: 0}, {0: used}) if used < rows else table
