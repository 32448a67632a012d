"""Concat along any dimension, of activations and constants."""

from __future__ import annotations

from graph.layering.operation import Operation
from graph.layering.values import Value
from graph.operators.pieces import concatenated


def concat(operation: Operation) -> Value:
    """A Concat along the channels or rows; with one input, nothing but another name."""
    values = operation.tensors()
    axis = operation.axis(values[0], operation.integer("axis", 1))
    return concatenated(operation, values, axis)
