"""Policy files: safetensors with a JSON header. Nothing is unpickled, ever.

The header names the features in order and their version, the sizes of the network and how it was trained. A file
that does not match this version's features is refused.
"""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from agents.errors import PolicyError
from agents.scorer import Scorer
from env.building import DEFAULT_PHASES, PHASES
from env.features import CANDIDATE, FEATURES_VERSION, GLOBAL

FORMAT = "oncore-policy-1"
KEY = "oncore"
MOST_BYTES = 16 * 1024 * 1024
MOST_HIDDEN = 1024


def save_policy(scorer: Scorer, record: dict[str, Any]) -> bytes:
    """The bytes of a policy file; `record` says how it was trained."""
    header = {
        "format": FORMAT,
        "features_version": FEATURES_VERSION,
        "candidate_features": list(CANDIDATE),
        "context_features": list(GLOBAL),
        "hidden": scorer.hidden,
        "training": record,
    }
    tensors = {name: value.detach().contiguous() for name, value in sorted(scorer.state_dict().items())}
    return save_tensors(tensors, {KEY: json.dumps(header, sort_keys=True)})


def read_policy(path: Path) -> tuple[Scorer, dict[str, Any]]:
    """The network of a policy file and its header. Raises PolicyError with one line."""
    try:
        if path.stat().st_size > MOST_BYTES:
            raise PolicyError(f"{path}: is larger than {MOST_BYTES} bytes, so it is no policy")
        data = path.read_bytes()
    except OSError as error:
        raise PolicyError(f"{path}: cannot be read ({error.strerror})") from error
    return parse_policy(data, str(path))


def parse_policy(data: bytes, shown: str) -> tuple[Scorer, dict[str, Any]]:
    """The same for the bytes of a file called `shown`."""
    header = _header(data, shown)
    if header.get("format") != FORMAT:
        raise PolicyError(f"{shown}: format is {header.get('format')!r}, expected {FORMAT!r}")
    if header.get("features_version") != FEATURES_VERSION:
        raise PolicyError(
            f"{shown}: was trained on features version {header.get('features_version')!r}, "
            f"this oncore has version {FEATURES_VERSION}: train it again"
        )
    for key, names in (("candidate_features", CANDIDATE), ("context_features", GLOBAL)):
        if header.get(key) != list(names):
            raise PolicyError(f"{shown}: {key} are not those of this version: train it again")
    hidden = header.get("hidden")
    if not isinstance(hidden, int) or isinstance(hidden, bool) or not 1 <= hidden <= MOST_HIDDEN:
        raise PolicyError(f"{shown}: hidden is {hidden!r}, expected 1 to {MOST_HIDDEN}")
    _check_training(header.get("training"), shown)
    try:
        tensors = load_tensors(data)
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise PolicyError(f"{shown}: is not a whole safetensors file ({error})") from error
    scorer = Scorer(len(CANDIDATE), len(GLOBAL), hidden)
    expected = scorer.state_dict()
    if set(tensors) != set(expected):
        raise PolicyError(f"{shown}: holds other tensors than a policy has")
    for name, value in tensors.items():
        if value.shape != expected[name].shape or value.dtype != torch.float32:
            raise PolicyError(
                f"{shown}: {name} is {value.dtype} {tuple(value.shape)}, "
                f"expected float32 {tuple(expected[name].shape)}"
            )
        if not bool(torch.isfinite(value).all()):
            raise PolicyError(f"{shown}: {name} has values that are not finite")
    scorer.load_state_dict(tensors)
    scorer.eval()
    return scorer, header


def _check_training(record: object, shown: str) -> None:
    """The record is for people, but for the phases that the policy decides, which may be left out."""
    if not isinstance(record, dict):
        raise PolicyError(f"{shown}: training is {record!r:.80}, expected the record of a training")
    phases = record.get("phases", list(DEFAULT_PHASES))
    if not isinstance(phases, list) or not phases or not all(phase in PHASES for phase in phases):
        raise PolicyError(
            f"{shown}: training.phases are {phases!r:.80}, expected some of {', '.join(PHASES)}"
        )


def _header(data: bytes, shown: str) -> dict[str, Any]:
    """The JSON header, read without trusting the file."""
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > len(data) - 8:
            raise ValueError("is cut off")
        metadata = json.loads(data[8 : 8 + length])["__metadata__"]
        header = json.loads(metadata[KEY])
    except (struct.error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise PolicyError(f"{shown}: is not an oncore policy file") from error
    if not isinstance(header, dict):
        raise PolicyError(f"{shown}: is not an oncore policy file")
    return header
