"""Systolic arrays beside published figures: `python -m benchmarks systolic`.

ResNet-18 is what SCALE-Sim 3.0 gives for every convolution and the classifier, batch 1, one after the other and folds
not overlapping; its closed forms are the model here, so these agree to the cycle. The others are cycles of a Gemmini
array of 8 x 8 at RTL level, as ONNXim's tests quote them: there folds overlap, and the time of one tile fixes the
one constant that the machine file leaves open (`drain_cycles`); the rest follows.
"""

from __future__ import annotations

from typing import NamedTuple

from benchmarks import _command
from graph.importer import load_model
from graph.network import Network
from graph.primitives import Contraction
from hwmodel.machines.machine import Machine, load_machine
from hwmodel.timing.costs import matrix_cycles
from report.table import Column, number, render

RESNET18 = {
    ("output_stationary", 128): 274_431,
    ("weight_stationary", 128): 441_581,
    ("output_stationary", 32): 2_133_315,
    ("weight_stationary", 32): 2_855_031,
}
"""Published cycles by dataflow and side of the array."""

GEMMINI_DRAIN_CYCLES = 10
"""From the 39 cycles of one tile, of which the array's fill, stream and drain are 29."""

GEMMINI = {
    (8, 8, 8): 39,
    (8, 8, 16): 47,
    (1, 512, 1000): 66_360,
    (1, 2048, 1000): 270_431,
    (512, 512, 1024): 4_227_300,
    (512, 768, 768): 4_756_894,
    (512, 1024, 512): 4_228_207,
    (512, 1024, 3072): 25_390_266,
}
"""Published cycles of products of M x K inputs and K x N weights, by (M, K, N)."""


class Row(NamedTuple):
    """A measured figure beside the published one, in cycles."""

    what: str
    array: str
    measured: int
    published: int

    @property
    def deviation(self) -> float:
        """Of the measured figure, as a share of the published one."""
        return self.measured / self.published - 1


def systolic_machine(side: int, dataflow: str, overlap_folds: bool, drain_cycles: int = 0) -> Machine:
    """The machine `systolic_128` with another square array."""
    data = load_machine("systolic_128").model_dump()
    data["name"] = f"systolic_{side}"
    data["matrix"] |= {
        "systolic": {"rows": side, "columns": side, "dataflow": dataflow, "overlap_folds": overlap_folds},
        "convolution": "im2col",
        "issue_cycles": 0,
        "drain_cycles": drain_cycles,
    }
    return Machine.model_validate(data)


def contraction_cycles(network: Network, machine: Machine) -> int:
    """Cycles of all contractions of a network, each whole and by itself."""
    table, total = machine.table(), 0
    for layer in network.layers:
        anchor, output = layer.anchor, network.tensors[layer.output]
        if isinstance(anchor, Contraction):
            channels, inputs = anchor.out_channels // anchor.groups, anchor.in_channels // anchor.groups
            extents = (network.batch, output.rows, output.columns, channels, inputs, anchor.taps)
            total += anchor.groups * matrix_cycles(table, *extents)
    return total


def rows() -> list[Row]:
    """All figures that are compared."""
    network = load_model("resnet18", 1, weights=False).network
    found = []
    for (dataflow, side), published in RESNET18.items():
        machine = systolic_machine(side, dataflow, overlap_folds=False)
        array = f"{side} x {side} {dataflow.replace('_', ' ')}"
        found.append(Row("ResNet-18", array, contraction_cycles(network, machine), published))
    gemmini = systolic_machine(8, "weight_stationary", overlap_folds=True, drain_cycles=GEMMINI_DRAIN_CYCLES)
    table = gemmini.table()
    for (m, k, n), published in GEMMINI.items():
        cycles = matrix_cycles(table, 1, 1, m, n, k, 1) + table.matrix_drain
        found.append(Row(f"{m} x {k} x {n}", "8 x 8 weight stationary, overlapping", cycles, published))
    return found


def main() -> None:
    """Print the table."""
    _command.parser(__file__, __doc__).parse_args()
    columns = (
        Column("what", left=True),
        Column("array", left=True),
        Column("cycles"),
        Column("published"),
        Column("deviation %"),
    )
    cells = [
        [row.what, row.array, number(row.measured), number(row.published), f"{100 * row.deviation:+.2f}"]
        for row in rows()
    ]
    print(render(columns, cells))


if __name__ == "__main__":
    _command.run(main)
