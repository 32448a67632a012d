"""Names for the slices of a timeline, which programs themselves do not have."""

from __future__ import annotations

from collections.abc import Sequence

from graph.network import Network
from hwmodel.programs.isa import Op, Program
from report.decisions import first_node, last_node
from report.trace import Labels
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator
from scheduling.lowering.rows import C_OP, C_TENSOR
from scheduling.templates import Template
from scheduling.timeline.arrangement import Arrangement


def labels(evaluator: Evaluator, choices: Sequence[Choice], plan: Arrangement, program: Program) -> Labels:
    """Steps by sub-graph, instance and nodes; instructions by the tensor that they load, compute or store."""
    templates = evaluator.templates.of(choices, plan)
    steps, instructions = [], {}
    rows = zip(plan.subgraph.tolist(), plan.instance.tolist(), templates, program.steps, strict=True)
    for subgraph, instance, template, launch in rows:
        choice = choices[subgraph]
        nodes = f"{first_node(evaluator.network, choice)} .. {last_node(evaluator.network, choice)}"
        of = f", instance {instance} of {choice.instances}" if choice.instances > 1 else ""
        steps.append(f"sub-graph {subgraph}{of}: {nodes}")
        if launch.kernel not in instructions:
            instructions[launch.kernel] = _tensors(evaluator.network, template)
    return Labels(steps, instructions)


def _tensors(network: Network, template: Template) -> list[str]:
    lowered = template.lowered
    local = lowered.geometry.tensor.tolist()
    return [
        "" if op == Op.LAUNCH else network.tensors[local[tensor]].name
        for op, tensor in zip(lowered.rows[:, C_OP].tolist(), lowered.rows[:, C_TENSOR].tolist(), strict=True)
    ]
