"""Speed of the environment: complete random masked episodes a second, ResNet-50 at batch 16, sub-graph phase."""

from __future__ import annotations

from time import perf_counter

import gymnasium
import numpy as np

import env
from benchmarks import _command
from env.schedule_env import ScheduleEnv

BLOCK = 100
BLOCKS = 10


def main() -> None:
    """Print episodes a second, cold and after 500 episodes."""
    _command.parser(__file__, __doc__).parse_args()
    made = gymnasium.make(
        env.ID, network="resnet50", batch=16, phases=("subgraphs",), disable_env_checker=True
    ).unwrapped
    assert isinstance(made, ScheduleEnv)
    rng = np.random.default_rng(0)
    episode(made, rng)  # compiles
    print("resnet50, batch 16, stcp920: complete random masked episodes a second, sub-graph phase")
    for block in range(BLOCKS):
        started = perf_counter()
        steps = sum(episode(made, rng) for _ in range(BLOCK))
        seconds = perf_counter() - started
        print(
            f"  episodes {block * BLOCK + 1:4} to {(block + 1) * BLOCK:4}: {BLOCK / seconds:6.1f} a second"
            f" ({steps / BLOCK:.1f} steps each)",
            flush=True,
        )


def episode(made: ScheduleEnv, rng: np.random.Generator) -> int:
    """One episode; returns its steps."""
    made.reset()
    steps = 0
    done = False
    while not done:
        offered = np.flatnonzero(made.action_masks())
        _, _, terminated, truncated, _ = made.step(offered[rng.integers(len(offered))])
        done = terminated or truncated
        steps += 1
    return steps


if __name__ == "__main__":
    _command.run(main)
