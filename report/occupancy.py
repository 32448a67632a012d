"""What lies in the LLB while the steps of a schedule run."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.legality.arrangements import llb_items
from scheduling.lowering.tables import Ints
from scheduling.timeline.arrangement import Arrangement


def llb_bytes_in_use(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement) -> Ints:
    """Bytes of tensors and resident weights in the LLB while each instance runs (N,)."""
    change = np.zeros(int(plan.when[-1]) + 2, np.int64)
    for item in llb_items(evaluator, choices, plan):
        change[item.begin] += item.size_bytes
        change[item.end + 1] -= item.size_bytes
    return np.cumsum(change)[plan.when]
