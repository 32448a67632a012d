"""The scorer as a policy of sb3-contrib's MaskablePPO."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from gymnasium import spaces
from numpy.typing import NDArray
from sb3_contrib.common.maskable.distributions import MaskableDistribution
from sb3_contrib.common.maskable.policies import MaskableMultiInputActorCriticPolicy
from stable_baselines3.common.type_aliases import PyTorchObs, Schedule

from agents.scorer import HIDDEN, Scorer

Masks = NDArray[np.bool_] | torch.Tensor | None


class CandidatePolicy(MaskableMultiInputActorCriticPolicy):
    """Scores candidates with one network; actor and critic share what they know of the context."""

    def __init__(
        self,
        observation_space: spaces.Dict,
        action_space: spaces.Space[Any],
        lr_schedule: Schedule,
        hidden: int = HIDDEN,
        **settings: Any,
    ) -> None:
        self.hidden = hidden
        super().__init__(observation_space, action_space, lr_schedule, **settings)

    def _build(self, lr_schedule: Schedule) -> None:
        space = self.observation_space
        assert isinstance(space, spaces.Dict)
        candidates, context = space["candidates"], space["context"]
        assert candidates.shape is not None and context.shape is not None
        self.scorer = Scorer(candidates.shape[-1], context.shape[-1], self.hidden)
        settings = dict(self.optimizer_kwargs)
        self.optimizer = self.optimizer_class(self.scorer.parameters(), lr=lr_schedule(1), **settings)  # type: ignore[call-arg]

    def _score(self, obs: PyTorchObs, masks: Masks) -> tuple[MaskableDistribution, torch.Tensor]:
        assert isinstance(obs, dict)
        logits, values = self.scorer(obs["candidates"], obs["context"])
        distribution = self.action_dist.proba_distribution(action_logits=logits)
        if masks is not None:
            distribution.apply_masking(masks)
        return distribution, values.unsqueeze(-1)

    def forward(
        self,
        obs: Any,
        deterministic: bool = False,
        action_masks: Masks = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Actions, values and log probabilities."""
        distribution, values = self._score(obs, action_masks)
        actions = distribution.get_actions(deterministic=deterministic)
        return actions, values, distribution.log_prob(actions)

    def evaluate_actions(
        self, obs: Any, actions: torch.Tensor, action_masks: Masks = None
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor | None]:
        """Values, log probabilities of actions, and entropies."""
        distribution, values = self._score(obs, action_masks)
        return values, distribution.log_prob(actions), distribution.entropy()

    def get_distribution(self, obs: PyTorchObs, action_masks: Masks = None) -> MaskableDistribution:
        """Distribution over the candidates."""
        return self._score(obs, action_masks)[0]

    def predict_values(self, obs: PyTorchObs) -> torch.Tensor:
        """Values, (B, 1)."""
        return self._score(obs, None)[1]
