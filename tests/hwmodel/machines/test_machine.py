"""Machine files: those that ship, what is refused and how the message reads, variants."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml
from pydantic import BaseModel, ValidationError

from graph.primitives import VectorClass
from hwmodel.machines.describe import describe
from hwmodel.machines.machine import Machine, MachineError, load_machine, machine_names
from hwmodel.machines.machine_table import MachineTable
from hwmodel.timing.costs import matrix_cycles
from hwmodel.timing.resources import (
    DMA,
    LLB_READ,
    dram_write,
    engine,
    exchange_in,
    exchange_out,
    link,
    llb_write,
    resource_count,
    resource_name,
)
from tests.hwmodel.machine_variants import without_llb

TINY = Path(__file__).parents[3] / "configs/machines/tiny.yaml"
PAGE = Path(__file__).parents[3] / "docs/machines.md"


def test_the_machines_that_ship() -> None:
    assert {"stcp920", "tiny"} <= set(machine_names())
    for name in machine_names():
        machine = load_machine(name)
        assert machine.name == name
        assert machine.description
        assert (
            machine.matrix.macs is not None or machine.matrix.systolic is not None
        )  # an unrolling has a limit
        assert all(type(value) is int for value in machine.table())


def test_tiny_is_as_documented() -> None:
    assert load_machine("tiny").table() == MachineTable(
        cores=2,
        element_bytes=4,
        f_pixels=4,
        f_rows=1,
        f_columns=1,
        f_out_channels=4,
        f_in_channels=1,
        im2col=0,
        streamed=0,
        fold_fill=0,
        fold_least=0,
        matrix_issue=0,
        matrix_drain=0,
        lanes=4,
        dma_bytes=8,
        dma_startup=0,
        sdma_bytes=0,
        sdma_startup=0,
        l1_bytes=4096,
        l1_first_bytes=0,
        l1_inner_bytes=0,
        weights_bytes=1024,
        accumulator_bytes=1024,
        llb_bytes=32768,
        dram_read=4,
        dram_write=4,
        dram_period=1,
        dram_shared=0,
        dram_burst=1,
        dram_latency=0,
        llb_read=16,
        llb_write=16,
        llb_shared=0,
        exchange=8,
        launch=10,
    )


def test_stcp920_has_the_published_figures() -> None:
    machine = load_machine("stcp920")
    chip = machine.clusters * machine.cores * machine.peak_macs_per_cycle * machine.clock_ghz
    assert 2 * chip / 1000 == pytest.approx(128, rel=0.05)  # TFLOPS
    table = machine.table()
    assert (table.l1_bytes, table.weights_bytes, table.llb_bytes) == (1 << 20, 1 << 18, 8 << 20)
    assert table.dram_read == table.dram_write == 27
    assert table.dram_shared == 1
    assert machine.vector.cycles[VectorClass.EXP] == 4
    assert any("energy" in line for line in machine.assumed)


def test_a_machine_is_a_value() -> None:
    machine = load_machine("tiny")
    assert machine == load_machine(TINY) == load_machine(str(TINY))
    assert hash(machine) == hash(load_machine(TINY))
    with pytest.raises(ValidationError):
        machine.cores = 3


NULL = object()


def changed(path: str, value: Any) -> str:
    """The file of `tiny` with one value changed; None removes the key, NULL makes it null."""
    data = yaml.safe_load(TINY.read_text(encoding="utf-8"))
    part = data
    *keys, last = path.split(".")
    for key in keys:
        part = part[key]
    if value is None:
        del part[last]
    else:
        part[last] = None if value is NULL else value
    return yaml.safe_dump(data)


BAD = [
    ("colour", "red", "colour is 'red', but no such key is known"),
    ("memories.l2", {"bytes": 4}, "memories.l2 is {'bytes': 4}, but no such key is known"),
    ("matrix.unrolling.out_cols", 4, "matrix.unrolling.out_cols is 4, but no such key is known"),
    ("matrix.convolution", None, "matrix.convolution is missing"),
    ("matrix.convolution", "winograd", "matrix.convolution is 'winograd', expected 'per_tap' or 'im2col'"),
    ("matrix.macs", 15, "matrix.unrolling makes 16 MACs a cycle, expected at most macs = 15"),
    ("matrix.systolic", {"rows": 4}, "matrix.systolic.columns is missing (and 2 more)"),
    ("matrix.unrolling", None, "matrix.unrolling is missing, expected it or systolic"),
    ("clock_ghz", None, "clock_ghz is missing"),
    ("vector.cycles.exp", None, "vector.cycles.exp is missing"),
    ("system_dma", None, "system_dma is missing"),
    ("cores", 0, "cores is 0, expected at least 1"),
    ("cores", 100000, "cores is 100000, expected at most 1024"),
    ("cores", 2.0, "cores is 2.0, expected a whole number"),
    ("cores", True, "cores is True, expected a whole number"),
    ("cores", "two", "cores is 'two', expected a whole number"),
    ("memories.l1.bytes", -4, "memories.l1.bytes is -4, expected at least 1"),
    ("memories.l1.bytes", 1 << 70, f"memories.l1.bytes is {1 << 70}, expected at most {1 << 40}"),
    ("memories.llb.bytes", 64, "memories.llb.bytes is 64, expected at least l1.bytes = 4096"),
    ("memories.dram", {"bytes": 4096}, "memories.dram.bytes is 4096, expected at least llb.bytes = 32768"),
    ("memories.dram", {"burst_bytes": 48}, "memories.dram.burst_bytes is 48, expected a power of two"),
    ("memories.dram", {"burst_bytes": 0}, "memories.dram.burst_bytes is 0, expected at least 1"),
    ("memories.l1.bytes", "4 KiB", "memories.l1.bytes is '4 KiB', expected a whole number"),
    ("memories.l1", {"kib": 4}, "memories.l1.kib is 4, but no such key is known (and 1 more)"),
    ("clock_mhz", 1000, "clock_mhz is 1000, but no such key is known"),
    ("dma.bytes_per_cycle", 0, "dma.bytes_per_cycle is 0, expected at least 1"),
    ("links.llb.write_bytes_per_cycle", 0, "links.llb.write_bytes_per_cycle is 0, expected at least 1"),
    ("links.exchange.bytes_per_cycle", 0, "links.exchange.bytes_per_cycle is 0, expected at least 1"),
    ("vector.lanes", 0, "vector.lanes is 0, expected at least 1"),
    ("matrix.unrolling.out_channels", 0, "matrix.unrolling.out_channels is 0, expected at least 1"),
    ("memories.l1", 4096, "memories.l1 is 4096, expected a mapping of keys to values"),
    ("links.dram.shared", "no idea", "links.dram.shared is 'no idea', expected true or false"),
    ("links.dram.read_bytes_per_cycle", 0, "links.dram.read_bytes_per_cycle is 0, expected at least 1"),
    ("links.dram.sustained", 0, "links.dram.sustained is 0, expected more than 0"),
    ("links.dram.sustained", 1.5, "links.dram.sustained is 1.5, expected at most 1"),
    (
        "links.dram.sustained",
        0.0004,
        "links.dram.sustained is 0.0004, expected a share in thousandths, such as 0.905",
    ),
    ("links.llb.sustained", 0.9, "links.llb.sustained is 0.9, but no such key is known"),
    ("memories.dram", {"latency_cycles": -1}, "memories.dram.latency_cycles is -1, expected at least 0"),
    (
        "memories.dram",
        {"latency_cycles": 1.5},
        "memories.dram.latency_cycles is 1.5, expected a whole number",
    ),
    ("clock_ghz", 0, "clock_ghz is 0, expected at least 1e-06"),
    ("clock_ghz", 1e300, "clock_ghz is 1e+300, expected at most 1000"),
    ("energy.mac_pj", 1e300, "energy.mac_pj is 1e+300, expected at most 1e+09"),
    ("clock_ghz", float("nan"), "clock_ghz is nan, expected a finite number"),
    ("clock_ghz", "fast", "clock_ghz is 'fast', expected a number"),
    ("energy.mac_pj", -1.0, "energy.mac_pj is -1.0, expected at least 0"),
    ("element", "fp64", "element is 'fp64', expected 'fp16', 'fp32' or 'int8'"),
    ("dma.queues", 2, "dma.queues is 2, expected 1, since more queues are not supported yet"),
    ("launch_cycles", -1, "launch_cycles is -1, expected at least 0"),
    ("name", "", "name is '', expected some text"),
    ("name", 7, "name is 7, expected text"),
    ("assumed", "all", "assumed is 'all', expected a list"),
    ("memories.llb", NULL, "links.llb is given, expected none where memories.llb is null"),
    ("links.llb", NULL, "links.llb is missing, expected one beside memories.llb"),
    (
        "energy.llb_read_pj_per_byte",
        NULL,
        "energy.llb_read_pj_per_byte is missing, expected one beside memories.llb",
    ),
    (
        "matrix.unrolling.out_rows",
        2,
        "matrix.unrolling.out_pixels is 4, expected none beside out_rows and out_columns",
    ),
]


@pytest.mark.parametrize("key, value, message", BAD)
def test_a_wrong_file_is_refused_in_one_line(key: str, value: Any, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text(changed(key, value), encoding="utf-8")
    with pytest.raises(MachineError) as caught:
        load_machine(path)
    assert str(caught.value) == f"{path}: {message}"


@pytest.mark.parametrize(
    "text, message",
    [
        (b"name: [", "is not YAML: "),
        (b"name: a\nname: b\n", "found the key 'name' twice"),
        (b"a: \xff", "is not UTF-8 text (byte 3)"),
        (b"", "holds None, expected a mapping of keys to values"),
        (b"- 1\n- 2\n", "holds [1, 2], expected a mapping of keys to values"),
        (b"a: !!python/object/apply:os.getcwd []", "is not YAML: "),
        (b"[" * 600 + b"]" * 600, "is not YAML: "),
        (b"name: x\n", "description is missing (and 15 more)"),
    ],
)
def test_a_file_that_is_no_machine(text: bytes, message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_bytes(text)
    with pytest.raises(MachineError) as caught:
        load_machine(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"none\.yaml: cannot be read \(No such file"):
        load_machine(tmp_path / "none.yaml")
    with pytest.raises(MachineError, match="cannot be read"):
        load_machine(tmp_path)
    with pytest.raises(MachineError, match=r"no machine is called 'tinny', expected .*stcp920.* or a path"):
        load_machine("tinny")


def test_a_machine_without_llb() -> None:
    machine = without_llb(load_machine("stcp920"))
    table = machine.table()
    assert all(type(value) is int for value in table)
    assert (table.llb_bytes, table.llb_read, table.llb_write, table.llb_shared) == (0, 0, 0, 0)
    with pytest.raises(
        MachineError, match=r"^stcp920-without-llb: cannot vary 'llb', since memories.llb is null$"
    ):
        machine.varied(llb=2.0)
    data = machine.model_dump()
    data["system_dma"] = {"bytes_per_cycle": 64, "startup_cycles": 0}
    with pytest.raises(
        ValidationError, match=r"system_dma is given, expected none where memories\.llb is null"
    ):
        Machine.model_validate(data)


def test_a_variant_says_what_it_varies() -> None:
    machine = load_machine("stcp920")
    varied = machine.varied(l1=0.5, dram_bandwidth=0.5, llb=0.25)
    assert varied.name == "stcp920-l1x0.5-dram_bandwidthx0.5-llbx0.25"
    assert (varied.memories.l1.bytes, varied.memories.llb.bytes) == (1 << 19, 2 << 20)
    assert varied.links.dram.read_bytes_per_cycle == varied.links.dram.write_bytes_per_cycle == 13
    assert (
        varied.table()._replace(l1_bytes=1 << 20, llb_bytes=8 << 20, dram_read=27, dram_write=27)
        == machine.table()
    )
    assert machine.varied(launch=0.00001).launch_cycles == 0
    assert machine.varied(lanes=0.00001).vector.lanes == 1
    assert machine.varied(cores=2).cores == 16


@pytest.mark.parametrize(
    "factors, message",
    [
        ({"l3": 2.0}, "stcp920: cannot vary 'l3', expected one of cores, lanes, l1"),
        ({"l1": 0.0}, "stcp920: factor of l1 is 0.0, expected a positive number"),
        ({"l1": float("inf")}, "stcp920: factor of l1 is inf, expected a positive number"),
        ({"llb": 0.1}, "stcp920-llbx0.1: memories.llb.bytes is 838860, expected at least l1.bytes = 1048576"),
    ],
)
def test_an_impossible_variant_is_refused(factors: dict[str, float], message: str) -> None:
    with pytest.raises(MachineError) as caught:
        load_machine("stcp920").varied(**factors)
    assert str(caught.value).startswith(message)


def test_every_resource_has_a_number_and_a_name() -> None:
    for cores in (1, 2, 8):
        names = [resource_name(i, cores) for i in range(resource_count(cores))]
        assert len(set(names)) == len(names)
    assert resource_name(engine(1, DMA), 2) == "core 1 dma"
    assert resource_name(link(2, LLB_READ), 2) == "llb read"
    assert resource_name(exchange_out(2, 1), 2) == "core 1 exchange out"
    assert exchange_in(2, 1) == resource_count(2) - 1
    for index in (-1, resource_count(2)):
        with pytest.raises(IndexError, match="has 0 to 14"):
            resource_name(index, 2)


def test_a_shared_link_has_one_resource() -> None:
    table = load_machine("stcp920").table()
    assert resource_name(dram_write(table), 8) == "dram read"
    assert resource_name(llb_write(table), 8) == "llb write"
    assert resource_name(dram_write(table._replace(dram_shared=0)), 8) == "dram write"
    assert resource_name(llb_write(table._replace(llb_shared=1)), 8) == "llb read"


def test_the_example_of_the_documentation_is_a_machine(tmp_path: Path) -> None:
    """The page's file is read, its lines of `describe` are those printed, and its arithmetic holds."""
    page = PAGE.read_text(encoding="utf-8")
    path = tmp_path / "my_npu.yaml"
    path.write_text(page.split("```yaml\n")[1].split("```")[0], encoding="utf-8")
    machine = load_machine(path)
    said = page.split("among other lines,\n\n")[1].split("\n\n")[0].splitlines()
    printed = describe(machine).splitlines()
    assert len(said) == 4
    assert all(line.removeprefix("    ") in printed for line in said)
    table = machine.table()
    assert matrix_cycles(table, 1, 56, 56, 64, 64, 9) == 2 * 225_792
    assert "225,792 cycles" in page
    assert 2 * 56 * 56 * 64 * table.element_bytes / table.dram_read == 100_352
    assert "100,352 cycles" in page


def keys(model: type[BaseModel]) -> Iterator[str]:
    """Names of all keys of a part and its parts."""
    for name, field in model.model_fields.items():
        yield name
        for part in (field.annotation, *get_args(field.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield from keys(part)


def test_the_documentation_names_every_key() -> None:
    page = PAGE.read_text(encoding="utf-8")
    names = set(keys(Machine))
    assert {"overlap_folds", "read_bytes_per_cycle", "in_channels", "l1_read_pj_per_byte"} <= names
    energies = {
        f"{memory}_{way}_pj_per_byte"
        for memory in ("weights", "accumulator", "llb", "dram")
        for way in ("read", "write")
    }
    assert [name for name in sorted(names - energies) if name not in page] == []
