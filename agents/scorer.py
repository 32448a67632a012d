"""The network: it scores every candidate from its own features and what all candidates have in common.

The weights do not depend on how many candidates there are, so one policy serves every network and machine.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import nn
from torch.nn import functional

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
        each, together = self.describe(candidates)
        shared = self._share(together, context)
        return self._logits(each, shared), _run(self.value, shared).squeeze(-1)

    def describe(self, candidates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What the network makes of `candidates` (B, A, F) in whatever context: of each (B, A, H), and of all together
        (B, 2 H)."""
        exists = candidates[..., :1] > 0.5
        each = torch.relu(_run(self.candidate, candidates))
        count = exists.sum(dim=1).clamp(min=1)
        mean = (each * exists).sum(dim=1) / count
        most = torch.where(exists, each, 0.0).amax(dim=1)
        return each, torch.cat((mean, most), dim=-1)

    def score_described(
        self, each: torch.Tensor, together: torch.Tensor, context: torch.Tensor
    ) -> torch.Tensor:
        """Logits (B, A) of candidates that `describe` has seen, in a `context` (B, G)."""
        return self._logits(each, self._share(together, context))

    def _share(self, together: torch.Tensor, context: torch.Tensor) -> torch.Tensor:
        return torch.relu(_run(self.context, torch.cat((together, context), dim=-1)))

    def _logits(self, each: torch.Tensor, shared: torch.Tensor) -> torch.Tensor:
        beside = shared.unsqueeze(1).expand(-1, each.shape[1], -1)
        return _run(self.score, torch.cat((each, beside), dim=-1)).squeeze(-1)


def _mlp(inputs: int, hidden: int, outputs: int, last_gain: float = 2**0.5) -> nn.Sequential:
    first, last = nn.Linear(inputs, hidden), nn.Linear(hidden, outputs)
    for layer, gain in ((first, 2**0.5), (last, last_gain)):
        nn.init.orthogonal_(layer.weight, gain)
        nn.init.zeros_(layer.bias)
    return nn.Sequential(first, nn.ReLU(), last)


def _run(mlp: nn.Sequential, inputs: torch.Tensor) -> torch.Tensor:
    """What `_mlp` makes, called without the modules' hooks: they take longer than the sums of so small a network."""
    first, last = cast(nn.Linear, mlp[0]), cast(nn.Linear, mlp[2])
    hidden = torch.relu(functional.linear(inputs, first.weight, first.bias))
    return functional.linear(hidden, last.weight, last.bias)
