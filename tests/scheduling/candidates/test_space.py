"""Candidates that are surveyed together, against each one estimated by itself."""

from __future__ import annotations

import pytest

from graph.importer import load_model
from hwmodel.machines.machine import Machine, load_machine
from scheduling.candidates.estimate import estimate
from scheduling.candidates.space import GIVE_UP_AFTER, PIECES, SPLITS_EACH, CandidateSpace, bindings, survey
from scheduling.choice import RULE_SCALE, Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.tiling import LEGAL

MACHINES = {
    "half the memories": load_machine("stcp920").varied(l1=0.5, llb=0.5),
    "an eighth of l1": load_machine("stcp920").varied(l1=0.125),
    "32 cores": load_machine("ascend_multi"),
    "inner buffers": load_machine("ascend_like_df"),
}


def one_by_one(space: CandidateSpace, first: int, stops: list[int]) -> list[list[int]]:
    """What `survey` is to find, ordered by split, pieces and stop."""
    evaluator, splits = space.evaluator, space.splits.tolist()
    cores, batch = evaluator.machine.cores, evaluator.network.batch
    fit = dict.fromkeys(((stop, tuple(form)) for stop in stops for form in PIECES.tolist()), 0)
    found = []
    for split in splits:
        batch_ways = max(w for w in range(1, min(batch // split, cores) + 1) if cores % w == 0)
        groups: dict[int, list[tuple[int, int]]] = {}
        for row_ways, channel_ways, group in bindings(cores // batch_ways).tolist():
            groups.setdefault(group, []).append((row_ways, channel_ways))
        for form in PIECES.tolist():
            axis, pieces, flight = form
            failures = 0
            for stop in stops:
                if fit[stop, tuple(form)] == SPLITS_EACH:
                    continue
                rule = max(RULE_SCALE, RULE_SCALE * (stop - first + 2) // flight) if flight else RULE_SCALE
                best = None
                for ways in groups.values():
                    for way in ways:
                        choice = Choice(first, stop, split, 1, batch_ways, *way, pieces, axis, rule)
                        figures = estimate(evaluator.table, evaluator.machine_table, choice)
                        if figures.status == LEGAL and (best is None or figures.cycles < best[1].cycles):
                            best = choice, figures
                    if best is not None:
                        break
                if best is None:
                    failures += 1
                    if failures == GIVE_UP_AFTER:
                        break
                    continue
                failures = 0
                fit[stop, tuple(form)] += 1
                found.append([*best[0], *best[1]])
    return found


@pytest.mark.parametrize("machine", MACHINES.values(), ids=MACHINES)
def test_a_survey_finds_what_single_estimates_say(machine: Machine) -> None:
    space = CandidateSpace(Evaluator(load_model("squeezenet", batch=4, weights=False).network, machine))
    evaluator = space.evaluator
    surveyed = 0
    for first in (0, 5, 12):
        stops = space.stops(first)
        found = survey(evaluator.table, evaluator.machine_table, first, stops, space.splits, PIECES)
        assert found.tolist() == one_by_one(space, first, stops.tolist())
        surveyed += len(found)
    assert surveyed > 20
