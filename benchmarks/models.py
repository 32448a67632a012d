"""Every model by name: its size, import time, whether all strategies schedule it, and its error against onnxruntime.

`python -m benchmarks models`. Sizes and strategies are those of the full model at batch 1; kernels are executed, and
compared, of a narrow version where the full one would take minutes.
"""

from __future__ import annotations

import argparse
import os
import time

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from agents.inference import decode, load_policy
from env.problems import make_problem
from graph.counts import macs_per_image, weight_elements_total
from graph.errors import ModelError
from graph.importer import load_model
from graph.network import Network
from graph.zoo import zoo_names
from hwmodel.machine import Machine, load_machine
from report.verify import verify
from scheduling.choice import Choice
from scheduling.errors import IllegalSchedule
from scheduling.evaluator import Rules
from scheduling.objective import Objective
from scheduling.problem import Problem
from scheduling.program import build_program, program_weights
from scheduling.strategies import DEFAULT, STRATEGIES

NAMES = tuple(name for name in DEFAULT if name in STRATEGIES)
"""Strategies that are run: the usual ones that keep the file's order of layers."""

EXECUTED = ("layerwise", "graphturbo", "dp", "learned")
"""Strategies whose kernels are executed."""

NARROW = {
    "bert_base": "bert_base:layers=2,width=128,heads=4,vocabulary=1000",
    "bert_large": "bert_large:layers=2,width=128,heads=4,vocabulary=1000",
    "conformer": "conformer:frames=96,layers=2,width=32",
    "deepspeech2": "deepspeech2:frames=24,layers=2,width=16",
    "dmcnn_vd": "dmcnn_vd:rows=48,columns=64,width=16",
    "fsrcnn": "fsrcnn:rows=48,columns=64",
    "gpt": "gpt:layers=2,width=128,heads=4,vocabulary=1000",
    "lstm": "lstm:sequence=8,width=64,vocabulary=1000",
    "mc_cnn": "mc_cnn:rows=48,columns=64,width=16",
    "nasnet_cifar": "nasnet_cifar:cells=1,filters=8",
    "nasnet_mobile": "nasnet_mobile:size=64,cells=1,filters=16",
    "randwire": "randwire:channels=16,nodes=12,size=64",
    "resnet18": "resnet18:size=64,width=0.25",
    "resnet34": "resnet34:size=64,width=0.25",
    "resnet50_v1": "resnet50_v1:size=64,width=0.25",
    "resnet101": "resnet101:size=64,width=0.25",
    "resnext29": "resnext29:cardinality=4,width=16",
    "mobilenet_v2": "mobilenet_v2:size=96,width=0.5",
    "seq2seq": "seq2seq:source=6,target=6,layers=2,width=32,vocabulary=200",
    "unet": "unet:rows=64,columns=64,width=16",
    "vit_b16": "vit_b16:size=64,layers=2,width=128,heads=4,hidden=256",
}


def main() -> None:
    """Print a row for each model."""
    parser = argparse.ArgumentParser(prog="models")
    parser.add_argument("names", nargs="*", default=[], metavar="NAME", help="default: all")
    parser.add_argument("--machine", default="stcp920", metavar="NAME")
    parser.add_argument(
        "--budget", type=int, default=20, help="simulated schedules for each search (default 20)"
    )
    options = parser.parse_args()
    machine = load_machine(options.machine)
    print(f"{'model':14} {'nodes':>6} {'layers':>6} {'GMAC':>8} {'weights M':>9} {'largest MB':>10} {'import s':>8} "
          f"{'schedules':>9} {'s':>6} {'fp32 error':>10} {'fp16 error':>10}  executed")  # fmt: skip
    for name in options.names or zoo_names():
        try:
            print(row(name, machine, options.budget), flush=True)
        except (ModelError, IllegalSchedule) as error:
            print(f"{name:14} {error}", flush=True)


def row(name: str, machine: Machine, budget: int) -> str:
    """One line of the table."""
    started = time.perf_counter()
    model = load_model(name, weights=False)
    seconds = time.perf_counter() - started
    network = model.network
    started = time.perf_counter()
    legal = len(schedules(make_problem(network, machine), budget))
    spent = time.perf_counter() - started
    executed = NARROW.get(name, name)
    worst = errors(executed, machine, budget)
    return (
        f"{name:14} {len(model.folded.nodes):6} {len(network.layers):6} {macs_per_image(network) / 1e9:8.3f} "
        f"{weight_elements_total(network) / 1e6:9.2f} {largest_bytes(network, machine) / 1e6:10.2f} {seconds:8.2f} "
        f"{f'{legal}/{len(NAMES) + 1}':>9} {spent:6.1f} {worst[0]:10.1e} {worst[1]:10.1e}  {executed}"
    )


def schedules(problem: Problem, budget: int) -> dict[str, tuple[tuple[Choice, ...], Rules]]:
    """Choices and rules of every strategy and of the learned policy; each was simulated and is legal."""
    problem = Problem(problem.evaluator, problem.space, Objective.LATENCY, budget, 0)
    found = {name: STRATEGIES[name](problem) for name in NAMES}
    found["learned"] = decode(load_policy(), problem)
    for choices, rules in found.values():
        problem.evaluator.evaluate(choices, rules)
    return found


def errors(name: str, machine: Machine, budget: int) -> tuple[float, float]:
    """Largest fp32 and fp16 error of the kernels of EXECUTED at batch 2."""
    model = load_model(name, batch=2)
    problem = make_problem(model.network, machine)
    evaluator = problem.evaluator
    worst = (0.0, 0.0)
    seen = set()
    found = schedules(problem, budget)
    for choices, rules in (found[name] for name in EXECUTED):
        if (choices, rules) in seen:
            continue
        seen.add((choices, rules))
        program = build_program(evaluator, choices, evaluator.arrange(choices, rules))
        result = verify(model, program, machine, program_weights(model.network))
        if not result.passed:
            print(f"{name}: {result}")
        native = 0.0 if result.native is None else result.native.max_relative_error
        worst = (max(worst[0], result.fp32.max_relative_error), max(worst[1], native))
    return worst


def largest_bytes(network: Network, machine: Machine) -> int:
    """Bytes of the inputs and the output of the layer that needs most, one image, without weights."""
    tensors = network.tensors
    return machine.element_bytes * max(
        sum(tensors[t].elements for t in {*layer.inputs, layer.output}) for layer in network.layers
    )


if __name__ == "__main__":
    main()
