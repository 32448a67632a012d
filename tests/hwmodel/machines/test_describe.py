"""What `describe` prints of a machine, and the picture of its roofline, by hand."""

from pathlib import Path
from xml.etree import ElementTree

import pytest

from hwmodel.__main__ import main
from hwmodel.machines.describe import balance_points, describe, peak_macs_per_second
from hwmodel.machines.machine import load_machine, machine_names
from hwmodel.machines.roofline import BOTTOM, HEIGHT, LEFT, TOP, roofline
from tests.hwmodel.machine_variants import with_dram, without_llb


def test_tiny_in_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Two cores of 16 MACs at 1 GHz: 32 MACs a cycle over 4 bytes of DRAM, 16 of the LLB, and 2 x 8 of the queues."""
    assert main(["describe", "tiny"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for expected in (
        "matrix      16 MACs a cycle and core, 0.032 TMAC/s in all",
        "            unrolled: 4 out pixels x 4 out channels; taps one by one",
        "            0.008 T operations/s in all where one takes a cycle: move add mul max exp div reduce",
        "L1          4 KiB a core",
        "DRAM read   4 bytes a cycle, 4 GB/s a cluster",
        "LLB write   16 bytes a cycle, 16 GB/s a cluster",
        "system DMA  none",
        "            0 cycles to issue, 0 to drain",
        "launch      10 cycles, 0.01 microseconds; one kernel at a time",
        "balance     8 MACs a byte of DRAM, 4 GB/s in all",
        "            2 MACs a byte of LLB, 16 GB/s in all",
        "            2 MACs a byte of DMA of all cores, 16 GB/s in all",
        "energy      1 pJ a MAC, 1 pJ a vector operation",
        "            100 pJ a byte read of DRAM, 100 written",
        "            10 pJ a byte read of LLB, 10 written",
        "            1 pJ a byte read of accumulator, 1 written",
        "            2 pJ a byte from core to core",
        "assumed     everything, since no such machine exists",
    ):
        assert expected in lines


def test_every_machine_is_described_with_all_that_it_assumes() -> None:
    for name in machine_names():
        machine = load_machine(name)
        page = describe(machine)
        assert all(figure in page for figure in machine.assumed)
        assert len(page.splitlines()) > 18


def test_stcp920_has_its_published_peak_and_bandwidth() -> None:
    machine = load_machine("stcp920")
    assert 2 * peak_macs_per_second(machine) == pytest.approx(128e12, rel=0.05)
    dram = balance_points(machine)[0]
    assert (dram.link, dram.bytes_per_cycle) == ("DRAM", 4 * 27)
    assert dram.macs_per_byte == pytest.approx(8 * 2048 / 27)


def test_dram_that_sustains_less_than_its_peak_and_answers_late() -> None:
    machine = with_dram(load_machine("tiny"), sustained=0.9, latency_cycles=100)
    lines = describe(machine).splitlines()
    for expected in (
        "DRAM        100 cycles to the first byte, 0.1 microseconds",
        "DRAM write  4 bytes a cycle, 4 GB/s a cluster",
        "            sustained: 0.9 of these, 3.6 bytes a cycle of reads, 3.6 of writes",
        "balance     8.889 MACs a byte of DRAM, 3.6 GB/s in all",
    ):
        assert expected in lines


def test_a_systolic_array_and_no_llb() -> None:
    array = "systolic array of 128 x 128, weight stationary, folds overlapping; taps by im2col"
    assert array in describe(load_machine("systolic_128"))
    machine = without_llb(load_machine("tiny"))
    assert "LLB         none\n" in describe(machine)
    assert [point.link for point in balance_points(machine)] == ["DRAM", "DMA of all cores"]


def test_inner_memories_with_their_words_ports_and_energies() -> None:
    """26.56 pJ for a word of 64 bytes are 0.415 pJ a byte."""
    lines = describe(load_machine("meta_prototype_df")).splitlines()
    for expected in (
        "L1          1 MiB a core, words of 1024 bits, 2 ports",
        "inner       sum_registers: outputs, 2 bytes for each in use, words of 16 bits",
        "inner       activation_buffer: inputs and outputs, 64 KiB a core, words of 512 bits, 2 ports",
        "            0.415 pJ a byte read of activation_buffer, 0.4813 written",
        "            0.01 pJ a byte read of weight_registers, 0.01 written",
    ):
        assert expected in lines


def test_only_kernels_side_by_side_have_barriers() -> None:
    assert "barrier     1380 cycles, 1 microsecond" in describe(load_machine("rammer_v100")).splitlines()
    assert "barrier" not in describe(load_machine("stcp920"))


Line = tuple[str, list[tuple[float, float]]]


def drawn(figure: str) -> list[Line]:
    """Width and points of all lines of a figure."""
    return [
        (
            line.attrib["stroke-width"],
            [(float(x), float(y)) for x, y in (point.split(",") for point in line.attrib["points"].split())],
        )
        for line in ElementTree.fromstring(figure).iter("{http://www.w3.org/2000/svg}polyline")
    ]


def test_a_roofline_rises_with_each_memory_and_is_flat_at_the_peak(tmp_path: Path) -> None:
    """In logarithmic axes all slopes are alike, and each ends where the flat line is."""
    assert main(["describe", "stcp920", "--svg", str(tmp_path / "roof.svg")]) == 0
    lines = drawn((tmp_path / "roof.svg").read_text(encoding="utf-8"))
    (flat, *rest) = [points for width, points in lines if width == "2"]
    assert flat[0][1] == flat[1][1]
    slopes = [line for line in rest if line[0][1] != line[1][1]]
    assert len(slopes) == 3
    assert all(end[1] == flat[0][1] for _, end in slopes)
    steepness = [(start[1] - end[1]) / (end[0] - start[0]) for start, end in slopes]
    assert steepness == pytest.approx([steepness[0]] * 3, rel=0.01)


@pytest.mark.parametrize("name", machine_names())
def test_no_roofline_leaves_its_figure(name: str) -> None:
    points = [point for _, line in drawn(roofline(load_machine(name))) for point in line]
    assert all(x >= LEFT and TOP <= y <= HEIGHT - BOTTOM for x, y in points)
