"""Energy: counts times the machine's table."""

from __future__ import annotations

from hwmodel.machines.machine import Machine
from hwmodel.timing.counts import NO_INNER, Counts, InnerCounts

# Each count and what one of it costs. Energies ship as assumed figures, so ratios say more than sums.
_PRICES = {
    "dram_read_bytes": "dram_read_pj_per_byte",
    "dram_write_bytes": "dram_write_pj_per_byte",
    "llb_read_bytes": "llb_read_pj_per_byte",
    "llb_write_bytes": "llb_write_pj_per_byte",
    "exchange_bytes": "exchange_pj_per_byte",
    "macs": "mac_pj",
    "vector_operations": "vector_op_pj",
    "l1_read_bytes": "l1_read_pj_per_byte",
    "l1_write_bytes": "l1_write_pj_per_byte",
    "weights_read_bytes": "weights_read_pj_per_byte",
    "weights_write_bytes": "weights_write_pj_per_byte",
    "accumulator_read_bytes": "accumulator_read_pj_per_byte",
    "accumulator_write_bytes": "accumulator_write_pj_per_byte",
}


def energy_parts_pj(counts: Counts, machine: Machine) -> dict[str, float]:
    """Picojoules of each count, by its name in Counts; nothing for a memory that the machine lacks."""
    prices = {name: getattr(machine.energy, price) for name, price in _PRICES.items()}
    return {name: 0.0 if price is None else getattr(counts, name) * price for name, price in prices.items()}


def inner_parts_pj(inner: InnerCounts, machine: Machine) -> dict[str, float]:
    """Picojoules of each inner memory, by its name; nothing where nothing is counted."""
    if machine.levels is None or not inner.read_bytes:
        return {}
    return {
        level.name: read * level.read_pj_per_byte + written * level.write_pj_per_byte
        for level, read, written in zip(
            machine.levels.inner, inner.read_bytes, inner.write_bytes, strict=True
        )
    }


def energy_pj(counts: Counts, machine: Machine, inner: InnerCounts = NO_INNER) -> float:
    """Picojoules of everything counted; leakage is not modelled."""
    return float(
        sum(energy_parts_pj(counts, machine).values()) + sum(inner_parts_pj(inner, machine).values())
    )
