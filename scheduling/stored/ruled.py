"""The rules of a schedule file that leaves places, and perhaps the order, to them."""

from __future__ import annotations

from scheduling.errors import ScheduleError, UnsupportedDecision
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules
from scheduling.schedule_file import StoredRules
from scheduling.stored.names import ORDERS, SCOPES, WEIGHTS
from scheduling.timeline.packing import Packing


def stored_rules(evaluator: Evaluator, stored: StoredRules, packing: Packing | None) -> Rules:
    """The rules of a file; `packing` are its steps, where it has any. Raises ScheduleError for a word or a tensor that
    is not known."""
    numbers = {tensor.name: number for number, tensor in enumerate(evaluator.network.tensors)}
    for name in stored.dram_tensors:
        if name not in numbers:
            raise ScheduleError(
                f"rules.dram_tensors: network {evaluator.network.name} has no tensor {name!r}"
            )
    return Rules(
        order=_code("order", stored.order, ORDERS),
        scopes=_code("scopes", stored.scopes, SCOPES),
        weights=_code("weights", stored.weights, WEIGHTS),
        prefetch=stored.prefetch,
        spilled=tuple(sorted({numbers[name] for name in stored.dram_tensors})),
        packing=packing,
    )


def _code(key: str, word: str, codes: dict[str, int]) -> int:
    if word not in codes:
        raise UnsupportedDecision(
            f"rules.{key}: {word!r} is not supported, expected one of {', '.join(codes)}"
        )
    return codes[word]
