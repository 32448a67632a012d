"""What system copies are for."""

from __future__ import annotations

from scheduling.evaluator import Evaluator
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.system_copies import SystemCopies


def copy_layers(evaluator: Evaluator, plan: Arrangement, copies: SystemCopies) -> list[int]:
    """The layer that each system copy is for: that of its weights; that which made the tensor that it moves; of a graph
    input, the first one that reads it."""
    found = []
    for layer, move in zip(copies.layer.tolist(), copies.move.tolist(), strict=True):
        if layer >= 0:
            found.append(layer)
            continue
        tensor = int(plan.moves.tensor[move])
        made_by = int(evaluator.table.producer[tensor])
        layers = evaluator.network.layers
        readers = (number for number, reader in enumerate(layers) if tensor in reader.inputs)
        found.append(made_by if made_by >= 0 else next(readers))
    return found
