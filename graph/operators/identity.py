"""Identity, and Dropout at inference: nothing happens."""

from __future__ import annotations

from graph.operation import Operation, View


def identity(operation: Operation) -> View:
    """The input under another name."""
    training = operation.optional_constant(2)
    if training is not None and bool(training.any()):
        raise operation.error("training_mode is true; expected a model exported for inference")
    return View(operation.value())
