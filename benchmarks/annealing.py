"""Speed of `annealing`: complete schedules costed a second on ResNet-50, cold and warm."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace

from benchmarks import _command
from env.problems import make_problem
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from scheduling.candidates.space import CandidateSpace
from scheduling.choice import Choice
from scheduling.evaluator import Evaluation, Evaluator
from scheduling.problem import Simulated
from scheduling.rules import DEFAULT_RULES, Rules
from scheduling.strategies.annealing import annealing
from scheduling.timeline.arrangement import Arrangement
from scheduling.timeline.simulation import Times

BATCH = 16
BLOCK = 300
BLOCKS = 6


class WatchedEvaluator(Evaluator):
    """Counts the schedules that are not found among those simulated before, and notes the processor time after each
    schedule."""

    def __init__(self, network: Network, machine: Machine) -> None:
        super().__init__(network, machine)
        self.new = 0
        self.processor_seconds: list[float] = []

    def evaluate(self, choices: Sequence[Choice], rules: Rules = DEFAULT_RULES) -> Evaluation:
        """As Evaluator's."""
        found = super().evaluate(choices, rules)
        self.processor_seconds.append(time.process_time())
        return found

    def simulate(self, choices: Sequence[Choice], plan: Arrangement) -> tuple[Times, Evaluation]:
        """As Evaluator's."""
        self.new += 1
        return super().simulate(choices, plan)


def main() -> None:
    """Print schedules a second of one long run, block by block; only code is warm when it begins.

    Beside other work the rate by the clock says little, that by processor time more.
    """
    _command.parser(__file__, __doc__).parse_args()
    machine = load_machine("stcp920")
    warm = replace(make_problem("resnet50", machine, BATCH), budget=20)
    annealing(warm)  # compiles
    evaluator = WatchedEvaluator(warm.evaluator.network, machine)
    log: list[Simulated] = []
    problem = replace(
        warm, evaluator=evaluator, space=CandidateSpace(evaluator), budget=BLOCK * BLOCKS + 1, log=log
    )
    annealing(problem)
    print(f"resnet50, batch {BATCH}, stcp920: complete schedules a second of one run of annealing")
    seconds = (
        ("by the clock", [noted.at_seconds for noted in log]),
        ("of processor time", evaluator.processor_seconds),
    )
    for block in range(BLOCKS):
        first, last = block * BLOCK, (block + 1) * BLOCK
        rates = ", ".join(f"{BLOCK / (at[last] - at[first]):5.0f} {kind}" for kind, at in seconds)
        print(f"  schedules {first + 1:5} to {last:5}: {rates}")
    print(f"  of {len(log)} schedules {evaluator.new} were simulated, the others had been met before")


if __name__ == "__main__":
    _command.run(main)
