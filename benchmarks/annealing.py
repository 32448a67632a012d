"""Speed of `annealing`: complete schedules costed a second on ResNet-50, cold and warm."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchmarks import _command
from env.problems import make_problem
from hwmodel.machines.machine import load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.problem import Simulated
from scheduling.strategies.annealing import annealing
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.simulation import Times

BATCH = 16
BLOCK = 300
BLOCKS = 6


class CountingEvaluator(Evaluator):
    """Counts the schedules that are not found among those simulated before."""

    new = 0

    def simulate(self, choices: Sequence[Choice], plan: Arrangement) -> tuple[Times, Evaluation]:
        """As Evaluator's."""
        self.new += 1
        return super().simulate(choices, plan)


def main() -> None:
    """Print schedules a second of one long run, block by block; only code is warm when it begins."""
    _command.parser(__file__, __doc__).parse_args()
    machine = load_machine("stcp920")
    warm = replace(make_problem("resnet50", machine, BATCH), budget=20)
    annealing(warm)  # compiles
    evaluator = CountingEvaluator(warm.evaluator.network, machine)
    log: list[Simulated] = []
    problem = replace(
        warm, evaluator=evaluator, space=CandidateSpace(evaluator), budget=BLOCK * BLOCKS + 1, log=log
    )
    annealing(problem)
    print(f"resnet50, batch {BATCH}, stcp920: complete schedules a second of one run of annealing")
    for block in range(BLOCKS):
        first, last = log[block * BLOCK], log[(block + 1) * BLOCK]
        rate = BLOCK / (last.at_seconds - first.at_seconds)
        print(f"  schedules {block * BLOCK + 1:5} to {(block + 1) * BLOCK:5}: {rate:7.0f} a second")
    print(f"  of {len(log)} schedules {evaluator.new} were simulated, the others had been met before")


if __name__ == "__main__":
    _command.run(main)
