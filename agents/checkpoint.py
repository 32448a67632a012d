"""Checkpoints: weights and optimizer as safetensors, counters as JSON in the header; nothing is unpickled."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from sb3_contrib import MaskablePPO

from agents.config import SEEDS
from agents.errors import TrainingError
from agents.policy import CandidatePolicy
from env.features import FEATURES_VERSION

FORMAT = "oncore-checkpoint-1"
MOMENTS = ("exp_avg", "exp_avg_sq", "step")

Checkpoint = tuple[dict[str, Any], dict[str, torch.Tensor]]


def write_checkpoint(path: Path, model: MaskablePPO, seed: int, seconds: float) -> None:
    """Write the state of a training; an interrupted write leaves the earlier file as it was."""
    policy = model.policy
    assert isinstance(policy, CandidatePolicy)
    tensors = {f"scorer.{name}": value for name, value in policy.scorer.state_dict().items()}
    state = policy.optimizer.state_dict()["state"]
    for index, moments in state.items():
        for name in MOMENTS:
            tensors[f"optimizer.{index}.{name}"] = (
                moments[name].reshape(-1) if name == "step" else moments[name]
            )
    header = {
        "format": FORMAT,
        "features_version": FEATURES_VERSION,
        "seed": seed,
        "steps": model.num_timesteps,
        "updates": model._n_updates,
        "seconds": seconds,
    }
    part = path.with_suffix(".part")
    save_file({k: v.contiguous() for k, v in tensors.items()}, part, {"oncore": json.dumps(header)})
    part.replace(path)


def read_checkpoint(path: Path) -> Checkpoint:
    """Header and tensors of a checkpoint. Raises TrainingError with one line."""
    try:
        with safe_open(path, "pt") as file:
            header = json.loads((file.metadata() or {})["oncore"])
        tensors = load_file(path)
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror or error})") from error
    except (SafetensorError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrainingError(f"{path}: is not a checkpoint") from error
    if not isinstance(header, dict) or header.get("format") != FORMAT:
        raise TrainingError(f"{path}: is not a checkpoint of this version")
    if header.get("features_version") != FEATURES_VERSION:
        raise TrainingError(f"{path}: was made with other features: start again")
    if not isinstance(header.get("seed"), int):
        raise TrainingError(f"{path}: seed is {header.get('seed')!r}, expected a whole number")
    return header, tensors


def restore(model: MaskablePPO, checkpoint: Checkpoint, shown: str) -> float:
    """Give a fresh learner the state of a checkpoint; returns the seconds that were spent before.

    Random numbers go on from a seed made of the training's and the steps, so environments do not repeat themselves.
    Raises TrainingError where the checkpoint is of another network or holds what no training wrote.
    """
    header, tensors = checkpoint
    policy = model.policy
    assert isinstance(policy, CandidatePolicy)
    weights = {k.removeprefix("scorer."): v for k, v in tensors.items() if k.startswith("scorer.")}
    state = policy.optimizer.state_dict()
    found: dict[int, dict[str, torch.Tensor]] = {}
    try:
        for key, value in tensors.items():
            if key.startswith("optimizer."):
                _, index, name = key.split(".")
                found.setdefault(int(index), {})[name] = value.reshape(()) if name == "step" else value
        policy.scorer.load_state_dict(weights)
        policy.optimizer.load_state_dict({"state": found, "param_groups": state["param_groups"]})
        model.num_timesteps = int(header["steps"])
        model._n_updates = int(header["updates"])
        seconds = float(header["seconds"])
        model.set_random_seed((int(header["seed"]) * 1_000_003 + model.num_timesteps) % SEEDS)
    except (RuntimeError, ValueError, KeyError, TypeError) as error:
        raise TrainingError(f"{shown}: does not fit this configuration") from error
    return seconds
