"""Training settings, read from a YAML file and checked: unknown keys and impossible values are refused."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from agents.errors import TrainingError
from configs.reading import read_yaml
from env.building import DEFAULT_PHASES

SEEDS = 1 << 32
"""Random generators take seeds below this."""

Positive = Annotated[int, Field(ge=1)]
Natural = Annotated[int, Field(ge=0)]
Seed = Annotated[int, Field(ge=0, lt=SEEDS)]
Factor = Annotated[float, Field(gt=0, le=64)]
Fraction = Annotated[float, Field(ge=0, le=1)]


class Part(BaseModel):
    """A part of the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Ppo(Part):
    """MaskablePPO; rates fall linearly from the first to the last value."""

    total_steps: Positive
    environments: Positive = 8
    rollout_steps: Annotated[int, Field(ge=2)] = 256
    batch_size: Annotated[int, Field(ge=2)] = 512
    epochs: Positive = 4
    learning_rate: tuple[Factor, Annotated[float, Field(ge=0)]] = (1e-3, 1e-4)
    entropy: tuple[Fraction, Fraction] = (0.01, 0.0)
    gae_lambda: Fraction = 0.95
    clip_range: Factor = 0.2
    value_coefficient: Factor = 0.5
    hidden: Positive = 64


class Generated(Part):
    """Networks from agents.generate: `count` of them, seeds counted from `seed`."""

    count: Natural
    seed: Natural = 0


class Instances(Part):
    """What is trained on. Each instance is a network with a batch and a machine, both drawn with `seed`, its attention
    in one of those numbers of groups of heads that cut it."""

    machine: str = "stcp920"
    zoo: tuple[str, ...]
    zoo_variants: Positive = 2
    generated: Generated
    batches: Annotated[tuple[Positive, ...], Field(min_length=1)]
    head_groups: Annotated[tuple[Positive, ...], Field(min_length=1)] = (1,)
    machine_factors: dict[str, Annotated[tuple[Factor, ...], Field(min_length=1)]]
    nominal: Fraction = 0.4
    seed: Natural = 0
    episodes_each: Positive = 16


class HeldOut(Part):
    """What training never sees and evaluations are made on."""

    networks: Annotated[tuple[str, ...], Field(min_length=1)]
    batches: Annotated[tuple[Positive, ...], Field(min_length=1)]
    machines: Annotated[tuple[dict[str, Factor], ...], Field(min_length=1)] = ({},)


class TrainingConfig(Part):
    """One training configuration."""

    seeds: Annotated[tuple[Seed, ...], Field(min_length=1)]
    parallel: Positive = 1
    phases: tuple[Literal["subgraphs", "instances", "instructions"], ...] = DEFAULT_PHASES  # type: ignore[assignment]
    objective: Literal["latency", "off_core", "energy", "edp"] = "latency"
    ppo: Ppo
    instances: Instances
    held_out: HeldOut
    evaluate_every: Positive
    checkpoint_every: Positive


def load_config(path: Path) -> TrainingConfig:
    """Settings of a file. Raises TrainingError with one line that names the file, the key and what is wrong."""
    try:
        data = read_yaml(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read ({error.strerror})") from error
    except (UnicodeDecodeError, yaml.YAMLError) as error:
        raise TrainingError(f"{path}: is not YAML: {' '.join(str(error).split())}") from error
    try:
        config = TrainingConfig.model_validate(data)
    except ValidationError as error:
        problems = error.errors(include_url=False)
        first = next((p for p in problems if p["type"] == "extra_forbidden"), problems[0])
        key = ".".join(str(part) for part in first["loc"]) or "the file"
        raise TrainingError(f"{path}: {key}: {first['msg']}") from error
    if not config.instances.zoo and not config.instances.generated.count:
        raise TrainingError(
            f"{path}: instances: zoo is empty and generated.count is 0, expected some networks"
        )
    if len(set(config.seeds)) < len(config.seeds):
        raise TrainingError(f"{path}: seeds are {list(config.seeds)}, expected each once")
    both = sorted(set(config.instances.zoo) & set(config.held_out.networks))
    if both:
        raise TrainingError(f"{path}: held_out.networks: {', '.join(both)} would be trained on too")
    return config
