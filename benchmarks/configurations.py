"""The learned choice of kernel configurations against the rule, the estimate and exhaustive search.

`python -m benchmarks.configurations`: single layers and default sub-graphs of named networks, none of which
the ranker was trained on. Times are isolated kernel times over the fastest configuration's, geometric means.
"""

from __future__ import annotations

import math
import time
from typing import NamedTuple

import numpy as np

from benchmarks import _command
from env.problems import make_problem
from scheduling.candidates.configurations import configurations, features, times
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.ranker import Ranker, shipped_ranker
from scheduling.candidates.space import PIECES, survey
from scheduling.choice import CHOICE_FIELDS, Choice
from scheduling.problem import Problem

CYCLES = CHOICE_FIELDS + 1
TIMED = 6
COLUMNS = ("rule", "estimate", "ranker", f"ranker, {TIMED} timed")


class Found(NamedTuple):
    """Of one sub-graph: times over the least by COLUMNS, configurations, seconds of ranking and of timing all."""

    ratios: tuple[float, ...]
    number: int
    ranking_s: float
    exhaustive_s: float


def main() -> None:
    """Print a line for each network and kind of sub-graph."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument(
        "--networks",
        nargs="+",
        default=["resnet50", "inception_v1", "mobilenet_v2", "bert_base"],
        metavar="NAME",
    )
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument("--batch", type=int, default=4)
    parser.add_argument(
        "--most", type=int, default=40, help="sub-graphs of each kind, evenly spread (default 40)"
    )
    options = parser.parse_args()
    ranker = shipped_ranker()
    heads = " ".join(f"{name:>16} {'best':>5}" for name in COLUMNS)
    print(
        f"{'network':16} {'sub-graphs':12} {'of':>3} {'configurations':>14} {heads} {'ranking ms':>10} {'all ms':>8}"
    )
    for name in options.networks:
        problem = make_problem(name, options.machine, options.batch)
        layers = problem.space.layers
        kinds = {
            "single": [Choice(layer, layer + 1) for layer in range(layers)],
            "default": [c for c in Defaults(problem.space).complete(()) if c.stop - c.first > 1],
        }
        for kind, given in kinds.items():
            picked = given[:: -(-len(given) // options.most)] if given else []
            found = [one for choice in picked if (one := measure(problem, choice, ranker)) is not None]
            if found:
                print(row(name, kind, found), flush=True)


def row(name: str, kind: str, found: list[Found]) -> str:
    """Geometric means, and how often the fastest was chosen."""
    cells = []
    for column in range(len(COLUMNS)):
        ratios = [one.ratios[column] for one in found]
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        cells.append(f"{mean:16.3f} {sum(ratio == 1.0 for ratio in ratios) / len(ratios):5.0%}")
    count = sum(one.number for one in found) / len(found)
    ranking, exhaustive = (
        1e3 * sum(s) / len(found) for s in zip(*((f[2], f[3]) for f in found), strict=True)
    )
    return f"{name:16} {kind:12} {len(found):3} {count:14.0f} {' '.join(cells)} {ranking:10.1f} {exhaustive:8.1f}"


def measure(problem: Problem, given: Choice, ranker: Ranker) -> Found | None:
    """One sub-graph; None where its split leaves no choice, or the rule has none at this split."""
    evaluator = problem.evaluator
    own = np.array([given.split_batch], np.int64)
    ruled = survey(
        evaluator.table, evaluator.machine_table, given.first, np.array([given.stop], np.int64), own, PIECES
    )
    started = time.perf_counter()
    found = configurations(evaluator, given)
    if len(found.choices) < 2 or not len(ruled):
        return None
    order = np.argsort(ranker.scores(features(evaluator, found)), kind="stable")
    middle = time.perf_counter()
    cycles = times(evaluator, found.choices)
    ended = time.perf_counter()
    rule = times(evaluator, ruled[ruled[:, CYCLES].argmin()][None, :CHOICE_FIELDS])[0]
    likely = cycles[found.estimates[:, 1].argmin()]
    chosen = (rule, likely, cycles[order[0]], cycles[order[:TIMED]].min())
    least = min(int(cycles.min()), int(rule))
    return Found(tuple(float(c / least) for c in chosen), len(cycles), middle - started, ended - middle)


if __name__ == "__main__":
    _command.run(main)
