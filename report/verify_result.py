"""What a verification found, apart from `report.verify` so that reading it needs no onnxruntime."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Check:
    """A run in one arithmetic: max|out - ref| / max|ref| of the compared tensor where it is the most beside its limit.

    `storage_error` is what the same tensor shows where layers are computed in float32 and only stored in fp16; it is
    known where the tolerance comes from it.
    """

    arithmetic: str
    max_relative_error: float
    tolerance: float
    worst_tensor: str
    tensors: int
    storage_error: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance."""
        return self.max_relative_error <= self.tolerance


@dataclass(frozen=True, slots=True)
class Verification:
    """The check in fp32 arithmetic and, on an fp16 machine, the one in the machine's own."""

    fp32: Check
    native: Check | None

    @property
    def checks(self) -> tuple[Check, ...]:
        """All that was run."""
        return (self.fp32,) if self.native is None else (self.fp32, self.native)

    @property
    def passed(self) -> bool:
        """Whether every check passed."""
        return all(check.passed for check in self.checks)

    @property
    def max_relative_error(self) -> float:
        """The largest error of all checks."""
        return max(check.max_relative_error for check in self.checks)

    @property
    def sentence(self) -> str:
        """The largest differences, for people."""
        return f"Largest difference to onnxruntime: {', '.join(map(_words, self.checks))}."


def _words(check: Check) -> str:
    limit = f"{check.tolerance:.0e}"
    if check.storage_error is not None:
        limit = f"{check.tolerance:.1e}, since storing in fp16 alone gives {check.storage_error:.1e}"
    return (
        f"{check.max_relative_error:.1e} in {check.arithmetic} arithmetic (limit {limit}, "
        f"{check.tensors} tensors, worst {check.worst_tensor})"
    )
