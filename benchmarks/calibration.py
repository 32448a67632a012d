"""What calibrating the STCP920's assumed constants would bring: `python -m benchmarks calibration`.

Each constant is varied alone over its plausible range; then one after the other takes the value with the least mean
squared log error of the final speed-ups over all calibrated configurations together, round after round until none
changes. No constant is fitted to one model or one rung. Nothing is written: the machine file holds what was decided
(docs/results.md).

`python -m benchmarks.calibration --needed` goes far beyond what is plausible: how near each model comes by each
constant alone, and what becomes of ResNet-50 there. `--grid` simulates all combinations of the three constants that
matter.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass

from benchmarks import _command
from benchmarks._graphturbo import CALIBRATED, CONFIGURATIONS, INSTRUCTIONS, RUNGS, Configuration
from hwmodel.machines.machine import Machine, load_machine
from report.table import Column, number, render


@dataclass(frozen=True, slots=True)
class Constant:
    """Keys of the machine file that are one constant, the values that are plausible, and others that are not."""

    keys: tuple[str, ...]
    plausible: tuple[int, ...]
    far: tuple[int, ...] = ()


LAUNCH, STARTUP, DRAM_RATE = "launch_cycles", "dma.startup_cycles", "links.dram bytes per cycle"
CONSTANTS = {
    LAUNCH: Constant(("launch_cycles",), (20_000, 30_000, 45_000, 65_000), (5_000, 10_000, 130_000, 260_000)),
    "vector.cycles.exp, div": Constant(("vector.cycles.exp", "vector.cycles.div"), (2, 4, 8, 16), (64,)),
    "vector.cycles.move": Constant(("vector.cycles.move",), (1, 2), (4, 8)),
    "vector.cycles of add, max, move, mul": Constant(
        tuple(f"vector.cycles.{kind}" for kind in ("add", "max", "move", "mul")), (1,), (2, 3, 4)
    ),
    "matrix.issue_cycles": Constant(("matrix.issue_cycles",), (0, 16, 64), (128, 256, 512)),
    "matrix.drain_cycles": Constant(("matrix.drain_cycles",), (0, 64, 256), (512, 1024)),
    STARTUP: Constant(
        ("dma.startup_cycles", "system_dma.startup_cycles"), (16, 64, 128, 256, 512), (1024, 2048)
    ),
    "dma.bytes_per_cycle": Constant(("dma.bytes_per_cycle",), (32, 64), (16,)),
    "memories.dram.latency_cycles": Constant(("memories.dram.latency_cycles",), (0, 100, 200), (400, 800)),
    DRAM_RATE: Constant(
        ("links.dram.read_bytes_per_cycle", "links.dram.write_bytes_per_cycle"), (24, 27, 29), (13, 16, 20)
    ),
    "links.llb bytes per cycle": Constant(
        ("links.llb.read_bytes_per_cycle", "links.llb.write_bytes_per_cycle"), (256,), (64, 128)
    ),
}
"""Constants that no source gives exactly, or whose published figure is a peak. Plausible are: a launch as inferred from
published run times; exp and div slower than the rest; the accumulator, float32, read at half the lanes at worst; up to
64 cycles to issue an instruction; a DRAM latency as LPDDR4 has it, in or beside the start-up; DRAM that sustains 80 to
97 % of its 29.85 GB/s."""

Values = dict[str, int]

PUBLISHED = [p.rungs[RUNGS.index(INSTRUCTIONS)] for p in CONFIGURATIONS if p.label in CALIBRATED]

RESNET_MS = (7.33, 7.57)
"""Published milliseconds of 16 images on a cluster."""


@dataclass(frozen=True, slots=True)
class Simulated:
    """Final speed-ups of all models with some constants, and milliseconds of ResNet-50's 16 images."""

    speed_ups: tuple[float, ...]
    milliseconds: float

    @property
    def errors(self) -> list[float]:
        """Log errors of the speed-ups."""
        return [math.log(mine / theirs) for mine, theirs in zip(self.speed_ups, PUBLISHED, strict=True)]

    @property
    def error(self) -> float:
        """Mean squared log error."""
        return sum(error**2 for error in self.errors) / len(self.errors)

    @property
    def inside(self) -> int:
        """How many models are within 25 %."""
        return sum(abs(math.expm1(error)) <= 0.25 for error in self.errors)

    def per_cent(self, model: int) -> str:
        """A model's deviation."""
        return f"{100 * math.expm1(self.errors[model]):+.0f}"

    @property
    def cells(self) -> list[str]:
        """Of a row of the tables."""
        return [
            *(number(each, 2) for each in self.speed_ups),
            number(self.error, 3),
            str(self.inside),
            number(self.milliseconds, 2),
        ]


class Calibration:
    """The calibrated configurations with any values of the constants; nothing is simulated twice."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.shipped = {name: _value(machine, each.keys[0]) for name, each in CONSTANTS.items()}
        self._models = [Configuration(p, machine) for p in CONFIGURATIONS if p.label in CALIBRATED]
        self._known: dict[tuple[int, ...], Simulated] = {}
        for model in self._models:
            model.rung(INSTRUCTIONS)  # imports its networks

    def simulated(self, changed: Values) -> Simulated:
        """All models with these constants, and the others as they are shipped."""
        values = {**self.shipped, **changed}
        key = tuple(values.values())
        if key not in self._known:
            machine = _with(
                self.machine, {name: value for name, value in values.items() if value != self.shipped[name]}
            )
            models = [model.on(machine) for model in self._models]
            batch = models[0].published.batch
            cycles = batch * models[0].cycles_per_image("graphturbo", batch)
            speed_ups = tuple(model.rung(INSTRUCTIONS) for model in models)
            self._known[key] = Simulated(speed_ups, cycles / machine.clock_ghz / 1e6)
        return self._known[key]

    def best(self) -> Values:
        """The least error, one constant after the other until none changes."""
        best = dict(self.shipped)
        changed = True
        while changed:
            changed = False
            for name, constant in CONSTANTS.items():
                errors = {value: self.simulated({**best, name: value}).error for value in constant.plausible}
                least = min(errors, key=errors.__getitem__)
                if errors[least] < errors[best[name]]:
                    best[name], changed = least, True
        return best


COLUMNS = [
    *(Column(label) for label in CALIBRATED),
    Column("error"),
    Column("within\n25 %"),
    Column("ResNet-50\nms"),
]


def main() -> None:
    """Print each constant alone, then all together; or what `--needed` and `--grid` say."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument(
        "--needed", action="store_true", help="how near each model comes by each constant alone"
    )
    parser.add_argument(
        "--grid", action="store_true", help="all combinations of launch, DMA start-up and DRAM rate"
    )
    options = parser.parse_args()
    calibration = Calibration(load_machine("stcp920"))
    if options.needed:
        print(_needed(calibration))
    if options.grid:
        print(_grid(calibration))
    if not (options.needed or options.grid):
        print(_plausible(calibration))


def _plausible(calibration: Calibration) -> str:
    """Each constant alone, and the least error of all together."""
    published = [*(number(each, 2) for each in PUBLISHED), "", "", "{:g}-{:g}".format(*RESNET_MS)]
    rows = [["published", "", *published], ["shipped", "", *calibration.simulated({}).cells]]
    for name, constant in CONSTANTS.items():
        for value in constant.plausible:
            if value != calibration.shipped[name]:
                rows.append([name, number(value), *calibration.simulated({name: value}).cells])
    best = calibration.best()
    rows.append(["least error of all together", "", *calibration.simulated(best).cells])
    changed = [
        f"{name} {number(value)}" for name, value in best.items() if value != calibration.shipped[name]
    ]
    table = render([Column("constant", left=True), Column("value"), *COLUMNS], rows)
    head = "Final speed-ups, mean squared log error, milliseconds of 16 images of ResNet-50 on a cluster"
    return f"{head}\n\n{table}\nAll together: {', '.join(changed) or 'as shipped'}."


def _needed(calibration: Calibration) -> str:
    """By constant and model: the value, plausible or not, that brings its final speed-up nearest to the published one,
    the deviation that is left, and ResNet-50's deviation and milliseconds there."""
    first, *others = range(len(CALIBRATED))
    rows = []
    for name, constant in CONSTANTS.items():
        values = (*constant.plausible, *constant.far)
        cells = []
        for model in others:
            value, found = min(
                ((value, calibration.simulated({name: value})) for value in values),
                key=lambda pair: abs(pair[1].errors[model]),
            )
            mark = "" if value in constant.plausible else "!"
            cells.append(
                f"{number(value)}{mark}: {found.per_cent(model)}; {found.per_cent(first)}, "
                f"{number(found.milliseconds, 2)}"
            )
        rows.append([name, number(calibration.shipped[name]), *cells])
    columns = [Column("constant", left=True), Column("shipped")]
    columns += [Column(CALIBRATED[model], left=True) for model in others]
    head = (
        "The value of one constant that brings a model nearest (! not plausible): its deviation, %; ResNet-50's "
        "deviation, %, and milliseconds there"
    )
    return f"{head}\n\n{render(columns, rows)}"


def _grid(calibration: Calibration) -> str:
    """All combinations of three constants; those with the least error, with the most models inside, and with the most
    inside of those that leave ResNet-50 within 10 % of its published milliseconds."""
    names = (LAUNCH, STARTUP, DRAM_RATE)
    ranges = [CONSTANTS[name].plausible for name in names]
    found = []
    for values in itertools.product(*ranges):
        found.append((values, calibration.simulated(dict(zip(names, values, strict=True)))))
    near = [each for each in found if each[1].milliseconds <= 1.1 * RESNET_MS[1]]
    chosen = {
        "least error": min(found, key=lambda each: each[1].error),
        "most within 25 %": min(found, key=lambda each: (-each[1].inside, each[1].error)),
        "most, ResNet-50's ms within 10 %": min(near, key=lambda each: (-each[1].inside, each[1].error)),
    }
    rows = [[what, *map(number, values), *each.cells] for what, (values, each) in chosen.items()]
    columns = [Column("combination", left=True), Column("launch"), Column("DMA\nstart-up"), Column("DRAM")]
    return f"Of {len(found)} combinations\n\n{render([*columns, *COLUMNS], rows)}"


def _value(machine: Machine, key: str) -> int:
    value: object = machine
    for part in key.split("."):
        value = getattr(value, part, None)
    if value is None and key == "memories.dram.latency_cycles":
        return 0  # DRAM has no keys of its own
    if not isinstance(value, int):
        raise TypeError(f"{key} is {value!r}, expected a whole number")
    return value


def _with(machine: Machine, values: Values) -> Machine:
    """The machine with other constants."""
    data = machine.model_dump()
    for name, value in values.items():
        for key in CONSTANTS[name].keys:
            *path, last = key.split(".")
            part = data
            for step in path:
                part[step] = part[step] or {}
                part = part[step]
            part[last] = value
    return Machine.model_validate(data)


if __name__ == "__main__":
    _command.run(main)
