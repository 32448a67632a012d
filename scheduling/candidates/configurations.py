"""Kernel configurations: every way to run one sub-graph at a given split, and the fastest of them by exhaustive search.

The first part of Morpheus: how a kernel is unrolled and tiled as a decision of its own. A configuration is a binding
(ways over batch, rows and output channels), pieces and their axis, the rule that orders instructions, and whether
weights run ahead. The exhaustive search is the oracle that rules and the learned ranker are compared with.
"""

from __future__ import annotations

from itertools import product
from typing import NamedTuple

import numpy as np

from hwmodel.compiled import compiled
from hwmodel.machines.machine_table import MachineTable
from scheduling.candidates.estimate import ESTIMATE_FIELDS, Estimate, estimate
from scheduling.choice import CHANNELS, COLUMNS, ROWS, RULE_SCALE, Choice, choice_of
from scheduling.evaluator import Evaluator
from scheduling.lowering.tables import Ints, NetworkTable
from scheduling.lowering.tiling import LEGAL
from scheduling.timeline.isolated import isolated

PIECES = (1, 2, 3, 4, 6, 8, 12, 14, 16, 28)
ORDER_RULES = tuple(RULE_SCALE * a // 4 for a in (1, 2, 4, 8, 20))
"""a of the order rule: a quarter, a half, 1, 2 and 5."""

OVERLAP = Choice._fields.index("overlap")


class Configurations(NamedTuple):
    """N legal configurations of one sub-graph at one split."""

    choices: Ints  # (N, fields of Choice)
    estimates: Ints  # (N, fields of Estimate)

    def choice(self, index: int) -> Choice:
        """One of them."""
        return Choice(*self.choices[index].tolist())


def configurations(evaluator: Evaluator, given: Choice) -> Configurations:
    """All legal configurations of a sub-graph at its split; `given` says which layers, and how they are split."""
    cores = evaluator.machine.cores
    ways = [w for w in product(_divisors(cores), repeat=3) if cores % (w[0] * w[1] * w[2]) == 0]
    variants = [
        (pieces, axis, rule, overlap)
        for pieces, axis, rule, overlap in product(PIECES, (ROWS, CHANNELS, COLUMNS), ORDER_RULES, (1, 0))
        # One piece has no axis, and its layers one order.
        if pieces > 1 or (axis == ROWS and rule == RULE_SCALE)
    ]
    tried = np.array(
        [
            given._replace(
                ways_batch=batch, ways_rows=rows, ways_channels=channels,
                pieces=pieces, axis=axis, rule=rule, overlap=overlap,
            )
            for (batch, rows, channels), (pieces, axis, rule, overlap) in product(ways, variants)
        ],
        np.int64,
    )  # fmt: skip
    return legal_choices(evaluator, tried)


def legal_choices(evaluator: Evaluator, choices: Ints) -> Configurations:
    """Those of (N, fields of Choice) of which every kind of instance can be lowered; none may stream columns."""
    estimates = _estimates(evaluator.table, evaluator.machine_table, choices)
    legal = estimates[:, 0] == LEGAL
    return Configurations(np.ascontiguousarray(choices[legal]), np.ascontiguousarray(estimates[legal]))


def _divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]


@compiled
def _estimates(net: NetworkTable, m: MachineTable, choices: Ints) -> Ints:
    """(N, fields of Estimate); consecutive choices that differ in `overlap` alone are estimated once."""
    found = np.empty((choices.shape[0], ESTIMATE_FIELDS), np.int64)
    for a in range(choices.shape[0]):
        c = choices[a]
        if (
            a > 0
            and c[OVERLAP] != choices[a - 1, OVERLAP]
            and (c[:OVERLAP] == choices[a - 1, :OVERLAP]).all()
        ):
            found[a] = found[a - 1]
            continue
        e = estimate(net, m, choice_of(c))
        for column in range(ESTIMATE_FIELDS):
            found[a, column] = e[column]
    return found


def times(evaluator: Evaluator, choices: Ints) -> Ints:
    """(N,) cycles of each configuration on an empty machine, or of the DRAM link where that is more."""
    return np.asarray(isolated(evaluator.table, evaluator.machine_table, choices).max(axis=1))


def fastest(evaluator: Evaluator, given: Choice) -> tuple[Choice, int]:
    """The oracle: every configuration timed, the fastest one and its cycles."""
    found = configurations(evaluator, given)
    cycles = times(evaluator, found.choices)
    best = int(cycles.argmin())
    return found.choice(best), int(cycles[best])


FEATURES = (
    "cycles", "matrix", "vector", "dma", "dram", "fill", "footprint", "weights", "ways_batch", "ways_rows",
    "ways_channels", "cores_used", "pieces", "along_channels", "along_columns", "rule", "overlap", "layers",
    "weights_over_buffer",
)  # fmt: skip
"""Names of the columns of `features`. Times are logarithms over the least estimate of the sub-graph."""


def features(evaluator: Evaluator, found: Configurations) -> np.ndarray:
    """(N, FEATURES) float32: what a ranker sees of each configuration; ratios only, so machines are comparable."""
    machine = evaluator.machine_table
    choice = dict(zip(Choice._fields, found.choices.T.astype(np.float64), strict=True))
    own = dict(zip(Estimate._fields, found.estimates.T.astype(np.float64), strict=True))
    least = max(1.0, own["cycles"].min(initial=np.inf))
    cores = max(1.0, np.log2(machine.cores))
    ways = [np.log2(choice[f"ways_{axis}"]) / cores for axis in ("batch", "rows", "channels")]
    shared = own["weight_bytes"] / choice["ways_channels"]
    columns = [
        *(
            np.log(np.maximum(own[name], 1.0) / least)
            for name in ("cycles", "matrix", "vector", "dma", "dram")
        ),
        own["fill"] / own["cycles"],
        own["l1_bytes"] / machine.l1_bytes,
        np.log1p(own["weight_bytes"] / max(1, machine.weights_bytes)),
        *ways,
        sum(ways),
        np.log2(choice["pieces"]),
        (choice["axis"] == CHANNELS).astype(np.float64),
        (choice["axis"] == COLUMNS).astype(np.float64),
        np.log2(choice["rule"] / RULE_SCALE),
        choice["overlap"],
        np.log2(choice["stop"] - choice["first"]),
        (shared > machine.weights_bytes).astype(np.float64),
    ]
    return np.stack(columns, axis=1).astype(np.float32)
