"""Layers side by side on a V100-sized machine, beside Rammer's published times: `python -m benchmarks rammer`.

One layer at a time, waves with barriers, and waves with waits, at batch 1; the gain of waits over one at a time, and
the same on a machine whose launches cost nothing, so that only running side by side is left. The published figures
are those of a V100 (Rammer, OSDI'20). The names say where the networks differ from its own.
"""

from __future__ import annotations

import time

from benchmarks import _command
from env.problems import make_problem
from graph.importer import load_model
from graph.network import Network
from hwmodel.machines.machine import Machine, load_machine
from scheduling.errors import IllegalSchedule
from scheduling.strategies import solve

PUBLISHED: dict[str, tuple[float, float] | None] = {
    "resnext29": (10.94, 4.63),
    "nasnet_cifar": (2.97, 1.74),
    "alexnet": (0.96, 0.96),
    "deepspeech2:frames=48,width=200": (7.89, 4.69),
    "lstm:sequence=100,layers=10,width=256,nodes=cells": (29.71, 4.73),
    "seq2seq:width=256": (9.27, 3.66),
    "randwire": None,
}
"""Milliseconds of one operator at a time and of Rammer, by the network that is scheduled here."""

HEADER = (
    f"{'':50} {'layers':>6} {'base ms':>8} {'barriers':>8} {'waits':>8} {'gain':>6} {'no launch':>9} "
    f"{'launches':>8} {'published ms':>14} {'gain':>6} {'s':>6}"
)


def main() -> None:
    """Print a row for each network."""
    parser = _command.parser(__file__, __doc__)
    parser.add_argument("networks", nargs="*", default=list(PUBLISHED), metavar="NAME")
    parser.add_argument("--machine", default="rammer_v100", metavar="NAME")
    options = parser.parse_args()
    machine = load_machine(options.machine)
    solve("rammer", make_problem(load_model("squeezenet", 1, weights=False).network, machine))  # compiles
    print(HEADER)
    for name in options.networks:
        try:
            print(row(name, load_model(name, 1, weights=False).network, machine), flush=True)
        except IllegalSchedule as error:
            print(f"{name:50} {error}", flush=True)


def row(name: str, network: Network, machine: Machine) -> str:
    """One line of the table."""
    started = time.perf_counter()
    found = {
        each: solve(each, make_problem(network, machine))
        for each in ("rammer_base", "rammer_barriers", "rammer")
    }
    seconds = time.perf_counter() - started
    free = machine.model_copy(update={"launch_cycles": 0})
    alone, beside = (
        solve(each, make_problem(network, free)).evaluation.cycles for each in ("rammer_base", "rammer")
    )
    base, barriers, waits = (found[each].evaluation.cycles / machine.clock_ghz / 1e6 for each in found)
    packing = found["rammer"].rules.packing
    launches = len(network.layers) if packing is None else len(packing.steps)
    published = PUBLISHED.get(name)
    figures = f"{'':>14} {'':>6}"
    if published is not None:
        figures = f"{published[0]:6.2f} ->{published[1]:5.2f} {published[0] / published[1]:6.2f}"
    return (
        f"{name:50} {len(network.layers):6} {base:8.3f} {barriers:8.3f} {waits:8.3f} {base / waits:6.2f} "
        f"{alone / beside:9.2f} {launches:8} {figures} {seconds:6.1f}"
    )


if __name__ == "__main__":
    _command.run(main)
