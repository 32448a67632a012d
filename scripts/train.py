"""Trains a policy: `python -m scripts.train --config configs/training/default.yaml`.

Without --seed all seeds of the configuration are trained, each in a process of its own that shares the candidate
tables, and the median one by held-out score is copied to --ship.
With --seed one is trained; --resume goes on from a checkpoint, with its seed.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

# Before torch is imported: idle OpenMP threads sleep instead of spinning.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

from agents.checkpoint import read_checkpoint
from agents.config import SEEDS, TrainingConfig, load_config
from agents.errors import TrainingError
from agents.instances import Instance, held_out_instances, training_instances, warm
from agents.training import POLICY, train
from scheduling.errors import ScheduleError

RECORD = "record.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 2 bad input."""
    options = _parser().parse_args(arguments)
    try:
        config = load_config(options.config)
        seed = _seed(options)
        if seed is None:
            return _all_seeds(config, options)
        _one_seed(config, seed, options.out, options.resume, None)
    except (TrainingError, ScheduleError) as error:
        print(f"train: {error}", file=sys.stderr)
        return 2
    except OSError as error:
        print(f"train: {error.filename or options.out}: {error.strerror}", file=sys.stderr)
        return 2
    return 0


def _seed(options: argparse.Namespace) -> int | None:
    """The seed to train, None for all; that of the checkpoint where one is resumed, since the folder is named by it."""
    seed: int | None = options.seed
    if seed is not None and not 0 <= seed < SEEDS:
        raise TrainingError(f"--seed is {seed}, expected 0 to {SEEDS - 1}")
    if options.resume is None:
        return seed
    resumed = int(read_checkpoint(options.resume)[0]["seed"])
    if seed not in (None, resumed):
        raise TrainingError(f"{options.resume}: is a checkpoint of seed {resumed}, not of --seed {seed}")
    return resumed


def _one_seed(
    config: TrainingConfig, seed: int, out: Path, resume: Path | None, instances: list[Instance] | None
) -> None:
    folder = out / f"seed{seed}"
    record = train(config, seed, folder, resume, instances)
    (folder / RECORD).write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(f"{folder / POLICY}: held-out score {record['score']:.4f} after {record['seconds']:.0f} s")


def _all_seeds(config: TrainingConfig, options: argparse.Namespace) -> int:
    """Train the seeds, so many at a time; ship the median one."""
    instances = training_instances(config)
    held_out_instances(config)  # what is wrong there is found before anything is trained
    warm(instances, config.parallel)
    context = multiprocessing.get_context("fork")
    waiting = list(config.seeds)
    running: list[Any] = []
    failed = False
    while waiting or running:
        while waiting and len(running) < config.parallel:
            process = context.Process(
                target=_one_seed, args=(config, waiting.pop(0), options.out, None, instances)
            )
            process.start()
            running.append(process)
        for process in running:
            process.join(1.0)
        failed |= any(process.exitcode for process in running if process.exitcode is not None)
        running = [process for process in running if process.exitcode is None]
    if failed:
        print("train: a seed failed, so nothing is shipped", file=sys.stderr)
        return 2
    scores: list[tuple[float, int]] = []
    for seed in config.seeds:
        record = json.loads((options.out / f"seed{seed}" / RECORD).read_text(encoding="utf-8"))
        scores.append((record["score"], seed))
        print(f"seed {seed}: held-out score {record['score']:.4f} (log of cost over the best heuristic's)")
    _, median = sorted(scores)[len(scores) // 2]
    data = (options.out / f"seed{median}" / POLICY).read_bytes()
    options.ship.parent.mkdir(parents=True, exist_ok=True)
    part = options.ship.with_suffix(".part")  # the policy that ships is replaced by a whole one or not at all
    part.write_bytes(data)
    part.replace(options.ship)
    print(f"seed {median} is the median: {options.ship} ({len(data)} bytes)")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="train",
        description="Train a scheduling policy: all seeds of a configuration, or one.",
        epilog="docs/training.md describes the configuration and what is written.",
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        type=Path,
        default=Path("configs/training/default.yaml"),
        metavar="FILE",
        help="settings (default %(default)s)",
    )
    parser.add_argument("--seed", type=int, metavar="N", help="train this seed only, and ship nothing")
    parser.add_argument("--resume", type=Path, metavar="CHECKPOINT", help="go on from this checkpoint")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("build/training"),
        metavar="DIR",
        help="gets a folder for each seed (default %(default)s)",
    )
    parser.add_argument(
        "--ship",
        type=Path,
        default=Path("configs/policies/default.safetensors"),
        metavar="FILE",
        help="where the median policy of all seeds goes (default %(default)s)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
