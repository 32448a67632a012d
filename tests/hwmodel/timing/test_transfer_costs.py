"""Cycles and bytes of transfers, by hand on `tiny`."""

import math

import pytest

from hwmodel.errors import KernelError
from hwmodel.machines.machine import load_machine
from hwmodel.programs.isa import Op, SystemCopy
from hwmodel.timing.counts import Counts
from hwmodel.timing.instruction_cost import copy_cost, instruction_cost
from hwmodel.timing.resources import resource_name
from tests.hwmodel.machine_variants import with_bursts, with_dram, without_llb
from tests.hwmodel.made_programs import box, instruction, view, window
from tests.hwmodel.timing.instructions import (
    DRAM,
    LLB,
    SHAPE,
    STCP,
    SYMBOLS,
    TINY,
    cost,
    dma,
    gathered,
    load,
    store,
)


def test_what_the_keys_of_dram_change_in_transfers() -> None:
    """The queue is held until the last byte is there, the link only while bytes cross it."""
    slow = with_dram(TINY, sustained=0.9, latency_cycles=100)
    rows = {"rows": 1, "row_bytes": 72, "dst_addr": 0, "src_offset": 0, "src_row_stride": 72}
    from_dram = cost(Op.LOADW, (0,), rows, {"src_symbol": DRAM}, machine=slow)
    assert from_dram[:2] == (120, {"core 0 dma": 120, "dram read": 20})
    from_llb = cost(Op.LOADW, (0,), rows, {"src_symbol": LLB}, machine=slow)
    assert from_llb[:2] == (9, {"core 0 dma": 9, "llb read": 5})
    assert from_dram[2] == cost(Op.LOADW, (0,), rows, {"src_symbol": DRAM})[2]  # the same bytes
    copies = with_dram(STCP, sustained=0.9, latency_cycles=100)  # 24.3 bytes a cycle
    for to_dram in (False, True):
        found = copy_cost(copies, SystemCopy(0, 0, 0, 2430, to_dram=to_dram))
        assert found.latency_cycles == 64 + 100 + 100
        assert sorted(hold for _, hold in found.holds) == [10, 100, 264]


def test_transfers_by_hand() -> None:
    both = (0, 1)
    apart = cost(Op.LOAD, both, load(DRAM, (0, 256)))
    assert apart == (128, dma(128, dram_read=128), Counts(dram_read_bytes=512, l1_write_bytes=512))
    shared = cost(Op.LOAD, both, load(DRAM, 0))
    assert shared == (64, dma(64, dram_read=64), Counts(dram_read_bytes=256, l1_write_bytes=512))
    near = cost(Op.LOAD, both, load(LLB, 0))
    assert near == (32, dma(32, llb_read=16), Counts(llb_read_bytes=256, l1_write_bytes=512))
    mixed = cost(Op.LOAD, both, load((DRAM, LLB), 0))
    assert mixed[:2] == (64, dma(64, dram_read=64, llb_read=16))
    assert mixed[2] == Counts(dram_read_bytes=256, llb_read_bytes=256, l1_write_bytes=512)
    one = cost(Op.LOAD, (1,), load(DRAM, 0))
    assert one[:2] == (64, {"core 1 dma": 64, "dram read": 64})
    stored = cost(Op.STORE, both, store(LLB, 0))
    assert stored == (32, dma(32, llb_write=32), Counts(llb_write_bytes=512, l1_read_bytes=512))


def test_a_store_on_a_shared_link_holds_the_link_of_reads() -> None:
    assert cost(Op.STORE, (0,), store(DRAM, 0), machine=STCP)[1] == {"core 0 dma": 69, "dram read": 5}


def test_idle_cores_go_through_their_queues_too() -> None:
    some = cost(Op.LOAD, (0, 1), load((DRAM, LLB), 0), {"rows": (2, 0)})
    assert some == (64, dma(64, dram_read=64), Counts(dram_read_bytes=256, l1_write_bytes=256))
    none = cost(Op.LOAD, (0, 1), load(DRAM, 0), {"rows": 0}, machine=STCP)
    assert none == (64, {"core 0 dma": 64, "core 1 dma": 64, "dram read": 0}, Counts())


def test_bursts_by_hand() -> None:
    """Bursts of 64 bytes on `tiny`, 4 bytes a cycle: what is contiguous in DRAM is rounded up, nothing else."""
    bursts = with_bursts(TINY, 64)
    # 1 x 2 x 4 x 8 elements, all of a tensor: one run of 256 bytes.
    assert cost(Op.LOAD, (0,), load(DRAM, 0), machine=bursts) == cost(Op.LOAD, (0,), load(DRAM, 0))
    # Of rows of 8 columns 4: two runs of 128 bytes. Of 9 channels 8: eight runs of 32 bytes, a burst each.
    assert cost(Op.LOAD, (0,), load(DRAM, 0), {"src_row_stride": 256}, machine=bursts)[1]["dram read"] == 64
    apart = cost(Op.LOAD, (0,), load(DRAM, 0), {"src_col_stride": 36, "src_row_stride": 144}, machine=bursts)
    counts = Counts(dram_read_bytes=512, l1_write_bytes=256)
    assert apart == (128, {"core 0 dma": 128, "dram read": 128}, counts)
    # One row of 3 columns: 96 bytes, two bursts; the core's queue alone would take 12 cycles.
    short = cost(Op.STORE, (0,), store(DRAM, 0), {"rows": 1, "columns": 3}, machine=bursts)
    counts = Counts(dram_write_bytes=128, l1_read_bytes=96)
    assert short == (32, {"core 0 dma": 32, "dram write": 32}, counts)
    near = cost(Op.STORE, (0,), store(LLB, 0), {"rows": 1, "columns": 3}, machine=bursts)
    assert near[2] == Counts(llb_write_bytes=96, l1_read_bytes=96)
    # Weights of 4 channels, 36 of the 72 bytes of each; then all of them, 288 bytes: five bursts.
    fields = {
        "rows": 4,
        "row_bytes": 36,
        "dst_addr": 0,
        "src_symbol": 0,
        "src_offset": 0,
        "src_row_stride": 72,
    }
    assert cost(Op.LOADW, (0,), fields, machine=bursts)[2].dram_read_bytes == 4 * 64
    assert cost(Op.LOADW, (0,), fields, {"row_bytes": 72}, machine=bursts)[2].dram_read_bytes == 5 * 64
    # Eight gathered rows of 32 bytes lie anywhere.
    assert cost(Op.GATHER, (1,), gathered(), machine=bursts)[2].dram_read_bytes == 8 * 64
    copied = copy_cost(with_bursts(STCP, 64), SystemCopy(0, 0, 0, 2700))
    assert copied.counts == Counts(dram_read_bytes=43 * 64, llb_write_bytes=2700)


@pytest.mark.parametrize(
    ("columns", "channels", "bytes_moved", "cycles"),
    [(56, 24, 21_504, 7_168), (56, 8, 114_688, 38_230), (10, 24, 4_096, 1_366)],
)
def test_bursts_of_the_documentation(columns: int, channels: int, bytes_moved: int, cycles: int) -> None:
    """16 rows of a tensor of 56 columns and 24 channels on edge_tcm: bursts of 128 bytes at 3 bytes a cycle."""
    shape = (1, 16, columns, channels)
    fields = {**box(shape), **view("dst", 0, shape[1:], 1), **window("src", DRAM, 0, (16, 56, 24), 1)}
    latency, holds, counts = cost(Op.LOAD, (0,), fields, machine=load_machine("edge_tcm"))
    assert (counts.dram_read_bytes, counts.l1_write_bytes) == (bytes_moved, math.prod(shape))
    assert holds["dram read"] == cycles
    assert latency == 500 + max(cycles, -(-math.prod(shape) // 16))


def test_weight_loads_by_hand() -> None:
    fields = {
        "rows": 4,
        "row_bytes": 36,
        "dst_addr": 0,
        "src_symbol": 0,
        "src_offset": 0,
        "src_row_stride": 72,
    }
    counts = Counts(dram_read_bytes=144, weights_write_bytes=288)
    assert cost(Op.LOADW, (0, 1), fields) == (36, dma(36, dram_read=36), counts)
    apart = cost(Op.LOADW, (0, 1), fields, {"src_offset": (0, 36)})
    assert apart[:2] == (72, dma(72, dram_read=72))


def test_broadcasts_by_hand() -> None:
    fields = {**box(SHAPE), **view("src", 0, SHAPE[1:], 4)}
    gather = cost(Op.BROADCAST, (0, 1), fields, {"targets": (2, 1)})
    ports = {f"core {core} exchange {way}": 32 for core in (0, 1) for way in ("in", "out")}
    counts = Counts(exchange_bytes=512, l1_read_bytes=512, l1_write_bytes=512)
    assert gather == (32, dma(32) | ports, counts)
    alone = cost(Op.BROADCAST, (0, 1), fields, {"targets": (3, 0)})
    counts = Counts(exchange_bytes=256, l1_read_bytes=256, l1_write_bytes=256)
    assert alone == (32, dma(32) | {"core 0 exchange out": 32, "core 1 exchange in": 32}, counts)
    many = cost(Op.BROADCAST, tuple(range(8)), fields, {"targets": 255}, machine=STCP)
    assert many[0] == 64 + 7 * 128 // 64  # seven parts come in
    assert many[1]["core 3 exchange out"] == 2
    assert many[1]["core 3 exchange in"] == 14
    assert many[2] == Counts(exchange_bytes=56 * 128, l1_read_bytes=8 * 128, l1_write_bytes=56 * 128)
    # To another place: core 0 to itself and core 1, whose port gets 256 bytes; what stays is no exchange.
    elsewhere = cost(Op.BROADCAST, (0, 1), fields, view("dst", 1024, SHAPE[1:], 4), {"targets": (3, 0)})
    counts = Counts(exchange_bytes=256, l1_read_bytes=256, l1_write_bytes=512)
    ports = {"core 0 exchange out": 32, "core 0 exchange in": 32, "core 1 exchange in": 32}
    assert elsewhere == (32, dma(32) | ports, counts)
    nothing = cost(Op.BROADCAST, (0, 1), fields, {"targets": 0}, machine=STCP)
    assert nothing == (64, {"core 0 dma": 64, "core 1 dma": 64}, Counts())


def test_gathers_by_hand() -> None:
    """No two cores are known to read the same rows, and each pixel has an index of two elements."""
    one = cost(Op.GATHER, (1,), gathered())
    counts = Counts(dram_read_bytes=256, l1_write_bytes=256, l1_read_bytes=64)
    assert one == (64, {"core 1 dma": 64, "dram read": 64}, counts)
    counts = Counts(dram_read_bytes=512, l1_write_bytes=512, l1_read_bytes=128)
    assert cost(Op.GATHER, (0, 1), gathered()) == (128, dma(128, dram_read=128), counts)
    half = cost(Op.GATHER, (0, 1), gathered((2, 0)))
    assert half == (64, dma(64, dram_read=64), one[2])
    near = cost(Op.GATHER, (0, 1), gathered(), {"src_symbol": LLB})
    assert near[:2] == (32, dma(32, llb_read=32))
    assert cost(Op.GATHER, (0,), gathered(), machine=STCP)[1] == {"core 0 dma": 64 + 5, "dram read": 5}


def test_no_transfer_reaches_an_llb_that_is_not_there() -> None:
    fields = (box((1, 1, 1, 4)), view("dst", 0, (1, 1, 4), 4), window("src", LLB, 0, (1, 1, 4), 4))
    load = instruction(Op.LOAD, (0,), *fields)
    assert instruction_cost(TINY, SYMBOLS, load).counts.llb_read_bytes == 16
    with pytest.raises(KernelError, match="src_symbol: the machine has no LLB"):
        instruction_cost(without_llb(TINY), SYMBOLS, load)


def test_system_copies_by_hand() -> None:
    found = copy_cost(STCP, SystemCopy(0, 0, 0, 2700))
    holds = {resource_name(i, 8): hold for i, hold in found.holds}
    assert holds == {"system dma": 164, "dram read": 100, "llb write": 11}
    assert (found.latency_cycles, found.counts) == (164, Counts(dram_read_bytes=2700, llb_write_bytes=2700))
    found = copy_cost(STCP, SystemCopy(0, 0, 0, 2700, to_dram=True))
    holds = {resource_name(i, 8): hold for i, hold in found.holds}
    assert holds == {
        "system dma": 164,
        "dram read": 100,
        "llb read": 11,
    }  # both ways of DRAM are one resource
    assert (found.latency_cycles, found.counts) == (164, Counts(llb_read_bytes=2700, dram_write_bytes=2700))
    with pytest.raises(KernelError, match="tiny has no system DMA"):
        copy_cost(TINY, SystemCopy(0, 0, 0, 4))
    with pytest.raises(KernelError, match="size_bytes: -4 is negative"):
        copy_cost(STCP, SystemCopy(0, 0, 0, -4))
