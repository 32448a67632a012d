"""Trains the ranker of kernel configurations: `python -m agents.configurations --out FILE`.

Instances are runs of layers of generated networks (`agents.generate`) on the shipped machine and variants of it, each
at a random split. Every configuration of a run, or a sample of them, is timed; the ranker learns the logarithm of the
time over the fastest one's (clipped: how bad a bad one is does not matter) and which is the fastest.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import save
from torch import nn

from agents.generate import FAMILIES, generate
from hwmodel.machines.machine import load_machine
from scheduling.candidates.configurations import FEATURES, configurations, features, times
from scheduling.candidates.ranker import FORMAT, KEY
from scheduling.choice import Choice
from scheduling.evaluator import Evaluator

HIDDEN = 32
MOST_TIMED = 160
"""Configurations of an instance that are timed; of more, a random sample."""

CLIP = 1.0
SHARPNESS = 30.0
"""Of the distribution over configurations that the ranker is to match: exp(-SHARPNESS x log time)."""


class Sample(NamedTuple):
    """Features (N, FEATURES) and logarithms of times over the least (N,)."""

    inputs: torch.Tensor
    targets: torch.Tensor


def samples(count: int, seed: int) -> list[Sample]:
    """Timed runs of layers of random networks."""
    random = np.random.default_rng(seed)
    found: list[Sample] = []
    while len(found) < count:
        batch = int(random.choice([1, 2, 4, 8]))
        network = generate(str(random.choice(FAMILIES)), int(random.integers(1 << 30)), batch)
        factors = {key: float(random.choice([0.5, 1.0, 2.0])) for key in ("l1", "dram_bandwidth", "launch")}
        evaluator = Evaluator(network, load_machine("stcp920").varied(**factors))
        for _ in range(12):
            layers = len(network.layers)
            first = int(random.integers(layers))
            length = 1 if random.random() < 0.5 else int(random.integers(2, 9))
            split = int(random.choice([s for s in (1, 2, 4, 8) if batch % s == 0]))
            sample = _sample(evaluator, random, Choice(first, min(layers, first + length), split))
            if sample is not None:
                found.append(sample)
    return found[:count]


def _sample(evaluator: Evaluator, random: np.random.Generator, given: Choice) -> Sample | None:
    all_of = configurations(evaluator, given)
    if len(all_of.choices) < 4:
        return None
    seen = features(evaluator, all_of)
    picked = np.arange(len(seen))
    if len(picked) > MOST_TIMED:  # half of them those that the estimate likes best
        likely = np.argsort(all_of.estimates[:, 1], kind="stable")
        rest = random.choice(likely[MOST_TIMED // 2 :], MOST_TIMED - MOST_TIMED // 2, replace=False)
        picked = np.concatenate((likely[: MOST_TIMED // 2], rest))
    cycles = times(evaluator, np.ascontiguousarray(all_of.choices[picked]))
    logs = np.log(cycles / cycles.min())
    return Sample(torch.from_numpy(seen[picked]), torch.from_numpy(logs.astype(np.float32)))


def train(found: list[Sample], epochs: int, seed: int) -> nn.Sequential:
    """A ranker trained on samples."""
    torch.manual_seed(seed)
    net = nn.Sequential(
        nn.Linear(len(FEATURES), HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, HIDDEN),
        nn.ReLU(),
        nn.Linear(HIDDEN, 1),
    )
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    steps = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, epochs)
    order = np.random.default_rng(seed)
    for _ in range(epochs):
        for start in range(0, len(found), 16):
            batch = [found[i] for i in order.permutation(len(found))[start : start + 16]]
            scores = (
                net(torch.cat([s.inputs for s in batch])).squeeze(-1).split([len(s.inputs) for s in batch])
            )
            loss = torch.zeros(())
            for score, sample in zip(scores, batch, strict=True):
                wanted = torch.softmax(-SHARPNESS * sample.targets, dim=0)
                loss = loss - (wanted * torch.log_softmax(-SHARPNESS * score, dim=0)).sum()
                loss = loss + 10 * ((score - score.mean()) - _centred(sample.targets)).square().mean()
            optimizer.zero_grad()
            (loss / len(batch)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        steps.step()
    return net


def _centred(targets: torch.Tensor) -> torch.Tensor:
    clipped = targets.clamp(max=CLIP)
    return clipped - clipped.mean()


def excess(net: nn.Sequential, found: list[Sample]) -> float:
    """Geometric mean over samples of the time of the ranker's first configuration over the fastest one's, less 1."""
    with torch.no_grad():
        logs = [float(s.targets[net(s.inputs).squeeze(-1).argmin()]) for s in found]
    return float(np.exp(np.mean(logs)) - 1)


def ranker_file(net: nn.Sequential, record: dict[str, object]) -> bytes:
    """The bytes of a ranker file; `record` says how it was trained."""
    linear = [layer for layer in net if isinstance(layer, nn.Linear)]
    tensors = {}
    for number, layer in enumerate(linear):
        tensors[f"{number}.weight"], tensors[f"{number}.bias"] = layer.weight.detach(), layer.bias.detach()
    header = {"format": FORMAT, "features": list(FEATURES), "training": record}
    return save(tensors, {KEY: json.dumps(header, sort_keys=True)})


def main() -> None:
    """Train on generated layers, and say how far the choice is from the fastest on ones that were left out."""
    parser = argparse.ArgumentParser(
        prog="configurations", description="Train the ranker of kernel configurations."
    )
    parser.add_argument(
        "--samples", type=int, default=600, metavar="N", help="instances to train on (default %(default)s)"
    )
    parser.add_argument(
        "--held-out", type=int, default=100, metavar="N", help="instances left out (default %(default)s)"
    )
    parser.add_argument(
        "--epochs", type=int, default=60, metavar="N", help="passes over them (default %(default)s)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="of instances and weights")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("configs/rankers/configurations.safetensors"),
        metavar="FILE",
        help="where the ranker goes (default %(default)s)",
    )
    options = parser.parse_args()
    torch.set_num_threads(1)
    found = samples(options.samples + options.held_out, options.seed)
    known, held_out = found[: options.samples], found[options.samples :]
    net = train(known, options.epochs, options.seed)
    record = {key: getattr(options, key) for key in ("samples", "held_out", "epochs", "seed")}
    record["excess"] = round(excess(net, held_out), 4)
    options.out.write_bytes(ranker_file(net, record))
    print(
        f"{options.out}: the first choice takes {100 * excess(net, known):.2f} % longer than the fastest on "
        f"{len(known)} samples, {100 * excess(net, held_out):.2f} % on {len(held_out)} left out"
    )


if __name__ == "__main__":
    main()
