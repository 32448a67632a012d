"""Training: MaskablePPO on the instances of a configuration, with evaluations, checkpoints and resuming."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sb3_contrib import MaskablePPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import DummyVecEnv
from tqdm import tqdm

from agents.checkpoint import read_checkpoint, restore, write_checkpoint
from agents.config import TrainingConfig
from agents.inference import Policy, decode
from agents.instances import Instance, Turns, held_out_instances, training_instances
from agents.policy import CandidatePolicy
from agents.policy_file import save_policy
from env.schedule_env import ScheduleEnv

POLICY = "policy.safetensors"
CHECKPOINT = "checkpoint.safetensors"


class TurnsEnv(ScheduleEnv):
    """The environment of training: says how each schedule compares with the best heuristic's."""

    def __init__(self, turns: Turns) -> None:
        super().__init__(choose=turns)
        self._turns = turns

    def step(self, action: Any) -> tuple[Any, float, bool, bool, dict[str, Any]]:
        """As in ScheduleEnv."""
        result = super().step(action)
        if result[2]:
            assert self._turns.current is not None
            result[4]["gain"] = math.log(self._turns.current.reference() / result[4]["cost"])
            result[4]["episode"] = {
                "r": 10 * math.log(1 / result[4]["relative_to_default"]),
                "l": self._steps,
            }
        return result


def train(
    config: TrainingConfig,
    seed: int,
    out: Path,
    resume: Path | None = None,
    instances: list[Instance] | None = None,
    progress: bool = True,
) -> dict[str, Any]:
    """Train one policy; writes checkpoints, TensorBoard events and `policy.safetensors` to `out`.

    Returns the training record that the policy file holds too. Raises TrainingError where the configuration names what
    there is not, or `resume` is no checkpoint of it.
    """
    torch.set_num_threads(1)
    started = time.perf_counter()
    out.mkdir(parents=True, exist_ok=True)
    if instances is None:
        instances = training_instances(config)
    held_out = held_out_instances(config)
    model = make_model(config, seed, instances, out)
    spent = 0.0
    if resume is not None:
        spent = restore(model, read_checkpoint(resume), str(resume))
    watch = _Watch(config, seed, out, held_out, progress, spent)
    total = config.ppo.total_steps
    if model.num_timesteps < total:
        model.learn(total - model.num_timesteps, callback=watch, reset_num_timesteps=False, tb_log_name="ppo")
    assert model.env is not None
    model.env.close()
    score, costs = watch.evaluate(model)
    record = {
        "seed": seed,
        "steps": model.num_timesteps,
        "seconds": round(spent + time.perf_counter() - started, 1),
        "phases": list(config.phases),
        "score": score,
        "held_out": costs,
        "config": config.model_dump(mode="json"),
    }
    (out / POLICY).write_bytes(save_policy(_scorer(model), record))
    return record


def make_model(config: TrainingConfig, seed: int, instances: list[Instance], out: Path | None) -> MaskablePPO:
    """The learner on its environments; each begins at another place in the list of instances."""
    ppo = config.ppo
    each = config.instances.episodes_each

    def make(k: int) -> ScheduleEnv:
        start = (k * len(instances)) // ppo.environments
        return TurnsEnv(Turns(instances, start, each))

    makers: list[Callable[[], Any]] = [partial(make, k) for k in range(ppo.environments)]
    first, last = ppo.learning_rate
    return MaskablePPO(
        CandidatePolicy,
        DummyVecEnv(makers),
        learning_rate=lambda left: last + (first - last) * left,
        n_steps=ppo.rollout_steps,
        batch_size=ppo.batch_size,
        n_epochs=ppo.epochs,
        gamma=1.0,
        gae_lambda=ppo.gae_lambda,
        clip_range=ppo.clip_range,
        ent_coef=ppo.entropy[0],
        vf_coef=ppo.value_coefficient,
        policy_kwargs={"hidden": ppo.hidden},
        tensorboard_log=None if out is None else str(out / "tensorboard"),
        seed=seed,
        device="cpu",
    )


def _scorer(model: MaskablePPO) -> Any:
    assert isinstance(model.policy, CandidatePolicy)
    return model.policy.scorer


class _Watch(BaseCallback):
    """Entropy schedule, progress bar, evaluations and checkpoints."""

    def __init__(
        self,
        config: TrainingConfig,
        seed: int,
        out: Path,
        held_out: list[Instance],
        progress: bool,
        spent: float,
    ) -> None:
        super().__init__()
        self._config, self._seed, self._out, self._held_out = config, seed, out, held_out
        self._gains: deque[float] = deque(maxlen=400)
        self._bar = tqdm(
            total=config.ppo.total_steps,
            desc=f"seed {seed}",
            unit=" steps",
            disable=not progress,
            mininterval=1,
        )
        self._spent, self._started = spent, time.perf_counter()
        self._evaluated = self._saved = 0

    def _on_training_start(self) -> None:
        self._bar.update(self.model.num_timesteps)
        self._evaluated = self._saved = self.model.num_timesteps

    def _on_step(self) -> bool:
        for info in self.locals["infos"]:
            if "gain" in info:
                self._gains.append(info["gain"])
        return True

    def _on_rollout_end(self) -> None:
        model, ppo = self.model, self._config.ppo
        assert isinstance(model, MaskablePPO)
        done = min(1.0, model.num_timesteps / ppo.total_steps)
        model.ent_coef = ppo.entropy[0] + (ppo.entropy[1] - ppo.entropy[0]) * done
        gain = float(np.mean(self._gains)) if self._gains else 0.0
        self.logger.record("rollout/faster_than_best_heuristic", math.exp(gain))
        self._bar.update(model.num_timesteps - self._bar.n)
        self._bar.set_postfix_str(f"{math.exp(gain):.3f}x the best heuristic")
        if model.num_timesteps - self._evaluated >= self._config.evaluate_every:
            self._evaluated = model.num_timesteps
            score, _ = self.evaluate(model)
            self.logger.record("held_out/faster_than_best_heuristic", math.exp(-score))
            self._bar.write(
                f"{model.num_timesteps} steps: held out {math.exp(-score):.4f}x the best heuristic"
            )
        if model.num_timesteps - self._saved >= self._config.checkpoint_every:
            self._saved = model.num_timesteps
            spent = self._spent + time.perf_counter() - self._started
            write_checkpoint(self._out / CHECKPOINT, model, self._seed, spent)

    def _on_training_end(self) -> None:
        self._bar.close()
        spent = self._spent + time.perf_counter() - self._started
        assert isinstance(self.model, MaskablePPO)
        write_checkpoint(self._out / CHECKPOINT, self.model, self._seed, spent)

    def evaluate(self, model: MaskablePPO) -> tuple[float, dict[str, float]]:
        """Mean log(cost / best heuristic's) of greedy decodes on what is held out, and the ratios."""
        policy = Policy(_scorer(model), {"training": {"phases": list(self._config.phases)}})
        ratios: dict[str, float] = {}
        for instance in self._held_out:
            problem = instance.episodes().builder.problem
            ratios[instance.name] = problem.cost(*decode(policy, problem, beam=1)) / instance.reference()
            instance.rest()
        return float(np.mean(np.log(list(ratios.values())))), ratios
