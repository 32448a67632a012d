"""The network: it scores every candidate from its own features and what all candidates have in common.

The weights do not depend on how many candidates there are, so one policy serves every network and machine.
"""

from __future__ import annotations

import torch
from torch import nn

HIDDEN = 64


class Scorer(nn.Module):
    """Logits (B, A) and values (B,) of observations. Column 0 of a candidate is 1 where it exists."""

    def __init__(self, features: int, context: int, hidden: int = HIDDEN) -> None:
        super().__init__()
        self.hidden = hidden
        self.candidate = _mlp(features, hidden, hidden)
        self.context = _mlp(2 * hidden + context, hidden, hidden)
        self.score = _mlp(2 * hidden, hidden, 1, last_gain=0.1)
        self.value = _mlp(hidden, hidden, 1, last_gain=1.0)

    def forward(self, candidates: torch.Tensor, context: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """`candidates` (B, A, F), `context` (B, G)."""
        exists = candidates[..., :1] > 0.5
        each = torch.relu(self.candidate(candidates))
        count = exists.sum(dim=1).clamp(min=1)
        mean = (each * exists).sum(dim=1) / count
        most = torch.where(exists, each, 0.0).amax(dim=1)
        shared = torch.relu(self.context(torch.cat((mean, most, context), dim=-1)))
        beside = shared.unsqueeze(1).expand(-1, candidates.shape[1], -1)
        logits = self.score(torch.cat((each, beside), dim=-1)).squeeze(-1)
        return logits, self.value(shared).squeeze(-1)


def _mlp(inputs: int, hidden: int, outputs: int, last_gain: float = 2**0.5) -> nn.Sequential:
    first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    for layer, gain in ((first, 2**0.5), (last, last_gain)):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), last)
