"""What calibrating the STCP920's assumed constants would bring: `python -m benchmarks calibration`.

Each constant is varied alone over its plausible range; then one after the other takes the value with the least mean
squared log error of the final speed-ups over all calibrated configurations together, round after round until none
changes. No constant is fitted to one model or one rung. Nothing is written: the machine file holds what was decided
(docs/results.md).
"""

from __future__ import annotations

import math

from benchmarks._graphturbo import CALIBRATED, CONFIGURATIONS, INSTRUCTIONS, RUNGS, Configuration
from hwmodel.machines.machine import Machine, load_machine

RANGES: dict[str, tuple[tuple[str, ...], tuple[int, ...]]] = {
    "launch_cycles": (("launch_cycles",), (20_000, 30_000, 45_000, 65_000)),
    "vector.cycles.exp, div": (("vector.cycles.exp", "vector.cycles.div"), (2, 4, 8, 16)),
    "vector.cycles.move": (("vector.cycles.move",), (1, 2)),
    "dma.startup_cycles": (("dma.startup_cycles", "system_dma.startup_cycles"), (16, 64, 256, 512)),
    "links.dram bytes per cycle": (
        ("links.dram.read_bytes_per_cycle", "links.dram.write_bytes_per_cycle"),
        (24, 27, 29),
    ),
}
"""Constants that no source gives exactly, their keys in the machine file, and the values that are plausible: launch as
inferred from published run times; exp and div slower than the rest; the accumulator is read as float32, at half the
lanes at worst; DRAM sustains 80 to 97 % of its 29.85 GB/s."""

Values = dict[str, int]

PUBLISHED = [p.rungs[RUNGS.index(INSTRUCTIONS)] for p in CONFIGURATIONS if p.label in CALIBRATED]


class Calibration:
    """The calibrated configurations with any values of the constants; nothing is simulated twice."""

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        self.shipped = {name: _value(machine, keys[0]) for name, (keys, _) in RANGES.items()}
        self._models = [Configuration(p, machine) for p in CONFIGURATIONS if p.label in CALIBRATED]
        self._known: dict[tuple[int, ...], tuple[list[float], float]] = {}
        for model in self._models:
            model.rung(INSTRUCTIONS)  # imports its networks

    def simulated(self, values: Values) -> tuple[list[float], float]:
        """Final speed-ups of all models, and cycles of the first one's whole batch."""
        key = tuple(values.values())
        if key not in self._known:
            machine = _with(self.machine, values)
            models = [model.on(machine) for model in self._models]
            first = models[0].published.batch
            speed_ups = [model.rung(INSTRUCTIONS) for model in models]
            self._known[key] = speed_ups, first * models[0].cycles_per_image("graphturbo", first)
        return self._known[key]

    def error(self, values: Values) -> float:
        """Mean squared log error of the final speed-ups."""
        found, _ = self.simulated(values)
        squares = [math.log(mine / theirs) ** 2 for mine, theirs in zip(found, PUBLISHED, strict=True)]
        return sum(squares) / len(squares)

    def line(self, name: str, values: Values) -> str:
        """One row of the tables."""
        found, cycles = self.simulated(values)
        figures = " ".join(f"{each:7.2f}" for each in found)
        return f"{name:28} {values[name]:7,} {figures} {self.error(values):9.3f} {cycles / 1e6:7.2f}"

    def best(self) -> Values:
        """The least error, one constant after the other until none changes."""
        best = dict(self.shipped)
        changed = True
        while changed:
            changed = False
            for name, (_, choices) in RANGES.items():
                errors = {value: self.error({**best, name: value}) for value in choices}
                least = min(errors, key=errors.__getitem__)
                if errors[least] < errors[best[name]]:
                    best[name], changed = least, True
        return best


def main() -> None:
    """Print each constant alone, then all together."""
    calibration = Calibration(load_machine("stcp920"))
    print("Final speed-ups, mean squared log error, ms of 16 images of ResNet-50. Each constant alone:")
    print(f"{'':36}", *(f"{label[:7]:>7}" for label in CALIBRATED), "    error      ms")
    print(f"{'published':36}", *(f"{value:7.2f}" for value in PUBLISHED), "          7.33-7.57")
    for name, (_, choices) in RANGES.items():
        for value in choices:
            print(calibration.line(name, {**calibration.shipped, name: value}), flush=True)
    best = calibration.best()
    print("\nAll together, least error:")
    print("; ".join(f"{name} {calibration.shipped[name]:,} -> {value:,}" for name, value in best.items()))
    print(calibration.line("launch_cycles", best))


def _value(machine: Machine, key: str) -> int:
    value: object = machine
    for part in key.split("."):
        value = getattr(value, part)
    if not isinstance(value, int):
        raise TypeError(f"{key} is {value!r}, expected a whole number")
    return value


def _with(machine: Machine, values: Values) -> Machine:
    """The machine with other constants."""
    data = machine.model_dump()
    for name, value in values.items():
        for key in RANGES[name][0]:
            *path, last = key.split(".")
            part = data
            for step in path:
                part = part[step]
            part[last] = value
    return Machine.model_validate(data)


if __name__ == "__main__":
    main()
