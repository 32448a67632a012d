"""`stitch`: layers without matrix work are stitched into one kernel, every other layer is a kernel of its own.

After AStitch (ASPLOS'22), a compiler of memory-bound operators: it joins all that lie between compute-bound ones,
whatever their shapes, and leaves those (convolutions, matrix products) to library kernels, which are the borders.

Decides groups only; the rest is as in `layerwise`: kernels in order, tensors between them through DRAM, nothing
loaded ahead. Inferred: compute-bound is what needs the matrix engine (its element-wise steps are part of the layer
here, as in `layerwise`); operators are stitched along the order of the layers; where a run does not fit L1 as it is,
it takes the smallest split of the batch that fits; the global memory of the original is DRAM.
"""

from __future__ import annotations

from scheduling.choice import Choice
from scheduling.problem import Problem
from scheduling.rules import Rules
from scheduling.strategies.joining import join
from scheduling.strategies.layerwise import RULES, layerwise


def stitch(problem: Problem) -> tuple[tuple[Choice, ...], Rules]:
    """Memory-bound layers stitched into kernels, compute-bound ones alone, through DRAM."""
    compute_bound = problem.evaluator.table.is_matrix

    def memory_bound(first: int, stop: int) -> Choice | None:
        return None if compute_bound[first:stop].any() else problem.space.smallest_split(first, stop)

    return join(layerwise(problem)[0], memory_bound), RULES
