"""What the GraphTurbo paper (OSDI'23) published about the STCP920, and the same configurations simulated.

Figures are throughput per image (or sentence, or query) over TVM on the same chip; those of the ladder were read off
a bar chart, about 0.05 accurate. A configuration's TVM row has a smaller batch per cluster than GraphTurbo's.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import numpy as np

from benchmarks._strategies import learned
from graph.importer import load_model
from hwmodel.machines.machine import Machine
from scheduling.candidates.space import CandidateSpace
from scheduling.evaluator import Evaluator
from scheduling.lowering.rows import C_ENGINE, C_HOLD, C_LATENCY, C_OP, MATRIX, OP_LAUNCH, VECTOR
from scheduling.problem import Problem, Solution
from scheduling.strategies import solve

LLB, L1, ORDER, INSTRUCTIONS = "LLB", "L1", "+ order", "+ instructions"
RUNGS = (LLB, L1, ORDER, INSTRUCTIONS)


@dataclass(frozen=True, slots=True)
class Published:
    """One of the paper's ten configurations: batches are per cluster, `tvm_rate` is per second of the whole chip,
    `rungs` are cumulative, over TVM, in the order of RUNGS; `astitch` is None where the paper has no bar."""

    label: str
    model: str
    tvm_batch: int
    batch: int
    tvm_rate: float
    rungs: tuple[float, float, float, float]
    astitch: float | None

    def batch_of(self, rung: str) -> int:
        """Per cluster, at which a rung runs."""
        return self.tvm_batch if rung in (LLB, L1) else self.batch


CONFIGURATIONS = (
    Published("ResNet-50", "resnet50", 2, 16, 1064, (0.73, 1.1, 4.28, 7.96), 0.64),
    Published("BERT, 128 tokens", "bert_base", 4, 8, 512, (1.6, 3.46, 3.46, 7.92), 2.32),
    Published("BERT, 256", "bert_base:sequence=256", 2, 4, 412, (1.0, 2.23, 3.32, 6.5), 1.27),
    Published("BERT, 384", "bert_base:sequence=384", 1, 2, 36, (2.55, 3.78, 3.87, 7.78), 3.09),
    Published("BERT, 512", "bert_base:sequence=512", 1, 2, 324, (1.1, 1.55, 3.9, 7.24), 1.05),
    Published("DLRM", "dlrm", 64, 256, 131_000, (0.85, 3.0, 3.0, 3.64), 1.82),
    Published("MobileNet-v2", "mobilenet_v2", 2, 32, 1416, (1.05, 1.1, 5.28, 8.28), 0.59),
    Published("Vision Transformer", "vit_b16", 4, 8, 40, (0.7, 16.9, 16.9, 25.0), None),
    Published("DenseNet-121", "densenet121", 4, 8, 456, (1.8, 2.5, 10.68, 18.22), 2.14),
    Published("Conformer", "conformer", 1, 3, 184, (2.55, 2.73, 2.96, 3.96), 2.36),
)

CALIBRATED = ("ResNet-50", "BERT, 128 tokens", "DLRM", "MobileNet-v2", "DenseNet-121")
"""The configurations whose final speed-ups constants may be calibrated on; the other BERTs exceed the chip's peak, and
what ViT and Conformer were is not published."""

BASELINE = "layerwise"
RUNG_STRATEGIES = {
    LLB: "llb_first",
    L1: "l1_first",
    ORDER: "graphturbo_dfs_plain",
    INSTRUCTIONS: "graphturbo",
}
"""The strategy that stands for each rung. The first two run at TVM's batch without splits."""


class Configuration:
    """A published configuration simulated on a machine; networks are imported, and strategies run, once."""

    def __init__(self, published: Published, machine: Machine) -> None:
        self.published = published
        self.machine = machine
        self._problems: dict[int, Problem] = {}
        self._solved: dict[tuple[str, int], Solution] = {}

    def problem(self, batch: int) -> Problem:
        """The network at this batch, without weights."""
        if batch not in self._problems:
            network = load_model(self.published.model, batch, weights=False).network
            evaluator = Evaluator(network, self.machine)
            self._problems[batch] = Problem(evaluator, CandidateSpace(evaluator))
        return self._problems[batch]

    def on(self, machine: Machine) -> Configuration:
        """The same networks on another machine."""
        other = Configuration(self.published, machine)
        for batch, problem in self._problems.items():
            evaluator = Evaluator(problem.evaluator.network, machine)
            other._problems[batch] = Problem(evaluator, CandidateSpace(evaluator))
        return other

    def solution(self, strategy: str, batch: int) -> Solution:
        """What a strategy, or the shipped policy as `learned`, decides."""
        if (strategy, batch) not in self._solved:
            self._solved[strategy, batch] = solve(strategy, self.problem(batch), learned(strategy))
        return self._solved[strategy, batch]

    def cycles_per_image(self, strategy: str, batch: int) -> float:
        """Simulated cycles of a cluster for one image of the batch."""
        return self.solution(strategy, batch).evaluation.cycles / batch

    def serial_cycles_per_image(self, strategy: str, batch: int) -> float:
        """The same if every instruction waited for the one before: the sum of their latencies, without what the
        system DMA does beside them."""
        solution, evaluator = self.solution(strategy, batch), self.problem(batch).evaluator
        plan = evaluator.arrange(solution.choices, solution.rules)
        templates = evaluator.templates.of(solution.choices, plan)
        return sum(int(template.lowered.rows[:, C_LATENCY].sum()) for template in templates) / batch

    def baseline_rate(self) -> float:
        """Images per second of the whole chip, layer by layer at TVM's batch."""
        cycles = self.cycles_per_image(BASELINE, self.published.tvm_batch)
        return self.machine.clusters * self.machine.clock_ghz * 1e9 / cycles

    def speed_up(self, strategy: str, batch: int, *, serial: bool = False) -> float:
        """How many times more images a second than the baseline; `serial`: no two instructions at one time."""
        baseline = self.cycles_per_image(BASELINE, self.published.tvm_batch)
        cycles = self.serial_cycles_per_image if serial else self.cycles_per_image
        return baseline / cycles(strategy, batch)

    def rung(self, name: str, *, serial: bool = False) -> float:
        """The modelled speed-up of a rung of the ladder."""
        return self.speed_up(RUNG_STRATEGIES[name], self.published.batch_of(name), serial=serial)

    def milliseconds(self, batch: int, speed_up: float = 1.0) -> float:
        """How long a cluster takes for a batch at so many times the modelled baseline's rate."""
        return 1e3 * batch * self.machine.clusters / (self.baseline_rate() * speed_up)

    def published_milliseconds(self, batch: int, speed_up: float = 1.0) -> float:
        """The same over the published rate of TVM."""
        return 1e3 * batch * self.machine.clusters / (self.published.tvm_rate * speed_up)

    def utilisation(self, strategy: str, batch: int) -> dict[int, tuple[float, float]]:
        """By rows of the maps that sub-graphs end with (a ResNet's stages), the shares of their time for which the
        matrix and the vector engine are busy, launches apart."""
        solution, evaluator = self.solution(strategy, batch), self.problem(batch).evaluator
        network = evaluator.network
        plan = evaluator.arrange(solution.choices, solution.rules)
        times, _ = evaluator.simulate(solution.choices, plan)
        advance = np.diff(np.maximum.accumulate(times.finish), prepend=0)
        sums: dict[int, list[int]] = defaultdict(lambda: [0, 0, 0])
        for step, template in enumerate(evaluator.templates.of(solution.choices, plan)):
            last = network.layers[solution.choices[plan.subgraph[step]].stop - 1]
            rows, total = template.lowered.rows, sums[network.tensors[last.output].rows]
            works = rows[:, C_OP] != OP_LAUNCH
            for place, engine in enumerate((MATRIX, VECTOR)):
                total[place] += int(rows[works & (rows[:, C_ENGINE] == engine), C_HOLD].sum())
            total[2] += int(advance[step]) - int(rows[~works, C_HOLD].sum())
        return {size: (matrix / cycles, vector / cycles) for size, (matrix, vector, cycles) in sums.items()}
