"""DLRM, recommendation from dense and sparse features (Naumov et al. 2019, arXiv:1906.00091), sized as MLPerf's.

MLPerf's model has 26 tables of 128 numbers a row, 188 million rows in all. Timing does not depend on the rows, and
running does not need them, so `rows` cuts every table short by default; `rows=40000000` builds the published ones.
"""

from __future__ import annotations

import onnx

from graph.models.builder import Builder, Tensor
from graph.models.parameters import Family, Parameter

_DENSE = 13
# Rows of the tables of Criteo Terabyte at MLPerf's limit of 40 million.
_ROWS = (
    *(39884406, 39043, 17289, 7420, 20263, 3, 7120, 1543, 63, 38532951, 2953546, 403346, 10),
    *(2208, 11938, 155, 4, 976, 14, 39979771, 25641295, 39664984, 585935, 12972, 108, 36),
)
_BOTTOM = (512, 256)
_TOP = (1024, 1024, 512, 256)


def dlrm(*, rows: int, tables: int, width: int, lookups: int, scale: float) -> onnx.ModelProto:
    """The click probability (1, 1) of float features `dense` (1, 13) and int64 indices `sparse0` ... (1, lookups).

    `width` is the size of a table's row, `scale` multiplies the widths of the hidden layers. Several lookups in
    one table are added up. Dense vector and rows interact by the dot products of all pairs.
    """
    net = Builder("dlrm")
    dense = net.input("dense", 1, _DENSE)
    sparse = [net.input(f"sparse{index}", 1, lookups, integers=True) for index in range(tables)]
    bottom = _mlp(net, dense, "bottom", [*_scaled(_BOTTOM, scale), width])
    parts = [net.reshape(bottom, "interaction/dense", 1, width)]
    for index, ids in enumerate(sparse):
        row = net.embedding(ids, f"table{index}", min(rows, _ROWS[index]), width)
        if lookups > 1:
            axes = net.integers([1])
            row = net.node("ReduceSum", f"table{index}/sum", [row, axes], (1, 1, width), keepdims=1)
        parts.append(row)
    pairs = _pairs(net, net.concat(parts, "interaction/vectors"))
    x = _mlp(net, net.concat([bottom, pairs], "interaction"), "top", _scaled(_TOP, scale))
    return net.model(net.unary("Sigmoid", net.dense(x, "top/last", 1), "probability"))


def _mlp(net: Builder, x: Tensor, at: str, widths: list[int]) -> Tensor:
    for index, width in enumerate(widths):
        x = net.relu(net.dense(x, f"{at}/{index}", width), f"{at}/{index}/relu")
    return x


def _pairs(net: Builder, vectors: Tensor) -> Tensor:
    """Dot products of each vector with the ones before it: (1, N, D) to (1, N (N - 1) / 2)."""
    count = vectors.shape[1]
    swapped = net.transpose(vectors, "interaction/swapped", 0, 2, 1)
    products = net.matmul(vectors, swapped, "interaction/products")
    flat = net.node("Flatten", "interaction/flat", [products], (1, count * count), axis=1)
    below = net.integers([row * count + column for row in range(count) for column in range(row)])
    return net.node("Gather", "interaction/pairs", [flat, below], (1, below.shape[0]), axis=1)


def _scaled(widths: tuple[int, ...], scale: float) -> list[int]:
    return [max(1, round(width * scale)) for width in widths]


FAMILIES = {
    "dlrm": Family(
        dlrm,
        "Naumov et al. 2019, arXiv:1906.00091; tables and layers of MLPerf",
        {
            "rows": Parameter(10_000, high=40_000_000),
            "tables": Parameter(len(_ROWS), high=len(_ROWS)),
            "width": Parameter(128, high=4096),
            "lookups": Parameter(1, high=1024),
            "scale": Parameter(1.0, low=1 / 64, high=16),
        },
    )
}
