"""Attention in groups of heads as kernels: groups are sub-graphs of their own, and what they compute is right."""

from itertools import pairwise

from graph.head_groups import with_head_groups
from graph.importer import load_model
from hwmodel.machines.machine import load_machine
from report.verify import verify
from scheduling.candidates.defaults import Defaults
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.emission.program import build_program, program_weights
from scheduling.evaluator import Evaluator
from scheduling.rules import Rules


def test_a_sub_graph_for_each_group_of_heads_is_right() -> None:
    """Each group in two slices of the batch, its keys and values on core; the other layers as by default."""
    model = with_head_groups(load_model("bert_base:sequence=4,layers=1,width=16,heads=2,vocabulary=20", 2), 2)
    machine = load_machine("stcp920")
    evaluator = Evaluator(model.network, machine)
    names = [layer.name for layer in model.network.layers]
    bounds = sorted(
        {
            0,
            len(names),
            *(
                edge
                for group in ("/heads0", "/heads1")
                for found in [[i for i, name in enumerate(names) if name.endswith(group)]]
                for edge in (found[0], found[-1] + 1)
            ),
        }
    )
    choices = []
    for first, stop in pairwise(bounds):
        if names[first].rpartition("/")[2] in ("heads0", "heads1"):
            choices.append(Choice(first, stop, split_batch=2))
            continue
        found = Defaults(CandidateSpace(evaluator)).choice(first, stop)
        assert found is not None
        choices.append(found)
    program = build_program(evaluator, tuple(choices), evaluator.arrange(tuple(choices), Rules()))
    assert verify(model, program, machine, program_weights(model.network)).passed
