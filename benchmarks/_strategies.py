"""Names of strategies as arguments of benchmarks, and the shipped policy as a strategy."""

from __future__ import annotations

import argparse
from collections.abc import Mapping

from scheduling.errors import ScheduleError
from scheduling.problem import Decide
from scheduling.strategies import COMPOSED, name_parts, strategy_names

LEARNED = "learned"

ALL = (*strategy_names(), *COMPOSED, LEARNED)
"""What tables show where nobody says which."""


def strategy_name(text: str) -> str:
    """A strategy, LEARNED among them, maybe with refinements."""
    try:
        name_parts(text, (LEARNED,))
    except ScheduleError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text


def learned(name: str) -> Mapping[str, Decide]:
    """The shipped policy's decode as a strategy, for `solve`, where the name needs it."""
    if name_parts(name, (LEARNED,))[0] != LEARNED:
        return {}
    # torch takes seconds to import.
    from functools import partial

    from agents.inference import decode, load_policy

    return {LEARNED: partial(decode, load_policy())}
