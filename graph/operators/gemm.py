"""Gemm: alpha * A B + beta * C with an activation A and constants B and C."""

from __future__ import annotations

import numpy as np

from graph.effects import Affine, Effect
from graph.operation import Anchored, Operation
from graph.operators.dense import dense


def gemm(operation: Operation) -> Anchored:
    """A Contraction, followed by alpha and the bias."""
    operation.require("transA", 0)
    weight = operation.weight(1)
    if weight.ndim != 2:
        raise operation.error(f"input 1 has {weight.ndim} dimensions; expected 2")
    weight = weight if operation.integer("transB", 0) else weight.T
    effects: list[Effect] = []
    alpha, beta = operation.number("alpha", 1.0), operation.number("beta", 1.0)
    if alpha != 1:
        effects.append(Affine(scale=alpha))
    bias = operation.optional_constant(2)
    if bias is not None:
        outputs = weight.shape[0]
        if bias.size not in (1, outputs) or bias.shape[-1:] not in ((), (1,), (outputs,)):
            raise operation.error(f"input 2 has shape {list(bias.shape)}; expected [{outputs}] or one number")
        vector = np.broadcast_to(bias.reshape(-1).astype(np.float64) * beta, (outputs,))
        effects.append(Affine(shift=vector))
    return dense(operation, weight, tuple(effects))
