"""Inner memories in machine files: those of the reference machines, what is refused and how the message reads."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from hwmodel.machines.machine import Machine, MachineError, load_machine

REFERENCE = Path(__file__).parents[3] / "configs/machines/meta_prototype_df.yaml"
SINGLE_CORE = ("meta_prototype", "tpu_like", "edge_tpu_like", "ascend_like", "tesla_npu_like")
KIB = 1024


@pytest.mark.parametrize("name", [*SINGLE_CORE, *(f"{name}_df" for name in SINGLE_CORE)])
def test_reference_machines_share_mac_and_dram_figures(name: str) -> None:
    machine = load_machine(name)
    assert (machine.cores, machine.peak_macs_per_cycle, machine.energy.mac_pj) == (1, 1024, 0.04)
    assert machine.memories.llb is None
    assert machine.links.dram.read_bytes_per_cycle == 8
    assert machine.energy.dram_read_pj_per_byte * 8 == 700
    assert machine.energy.dram_write_pj_per_byte * 8 == 750
    assert any("accumulator" in line for line in machine.assumed)
    assert machine.levels is not None
    assert Machine.model_validate(machine.model_dump()) == machine


def test_addresses_begin_with_the_inner_buffers() -> None:
    machine = load_machine("meta_prototype_df")
    assert machine.l1_bytes == (64 + 1024) * KIB
    assert machine.weights_bytes == (32 + 1024) * KIB
    table = machine.table()
    assert (table.l1_bytes, table.weights_bytes) == (machine.l1_bytes, machine.weights_bytes)
    assert (table.l1_first_bytes, table.l1_inner_bytes) == (64 * KIB, 64 * KIB)
    two = load_machine("ascend_like_df").table()
    assert (two.l1_first_bytes, two.l1_inner_bytes) == (8 * KIB, 264 * KIB)
    none = load_machine("tpu_like").table()
    assert (none.l1_first_bytes, none.l1_inner_bytes, none.l1_bytes) == (0, 0, 2048 * KIB)


def test_part_of_a_word_costs_its_share() -> None:
    levels = load_machine("meta_prototype_df").levels
    assert levels is not None
    weights = next(level for level in levels.inner if level.name == "weight_buffer")
    assert weights.read_pj_per_byte == pytest.approx(17.2 / 64)
    assert weights.write_pj_per_byte == pytest.approx(28.4 / 64)


REGISTERS = {"operands": ["outputs"], "bytes": 2, "word_bits": 16, "read_pj": 1, "write_pj": 1}
BUFFER = {**REGISTERS, "ports": 2}


def changed(path: str, value: Any) -> str:
    """The reference file with one value changed; a number in the path picks from a list, one past its end adds."""
    data = yaml.safe_load(REFERENCE.read_text(encoding="utf-8"))
    part = data
    *keys, last = (int(key) if key.isdigit() else key for key in path.split("."))
    for key in keys:
        part = part[key]
    if isinstance(part, list) and last == len(part):
        part.append(value)
    else:
        part[last] = value
    return yaml.safe_dump(data)


BAD = [
    ("levels.colour", 1, "levels.colour is 1, but no such key is known"),
    ("levels.buffers.0.word_bits", 0, "levels.buffers.0.word_bits is 0, expected at least 8"),
    ("levels.buffers.0.word_bits", 12, "levels.buffers.0.word_bits is 12, expected a multiple of 8"),
    ("levels.buffers.0.bytes", 0, "levels.buffers.0.bytes is 0, expected at least 1"),
    ("levels.buffers.0.ports", 3, "levels.buffers.0.ports is 3, expected 1 or 2"),
    ("levels.buffers.0.read_pj", -1, "levels.buffers.0.read_pj is -1, expected at least 0"),
    (
        "levels.buffers.0.operands",
        ["sums"],
        "levels.buffers.0.operands.0 is 'sums', expected 'inputs', 'weights' or 'outputs'",
    ),
    (
        "levels.buffers.0.operands",
        ["weights", "inputs"],
        "levels.buffers.0.operands is ['weights', 'inputs'], expected weights alone, or inputs and outputs",
    ),
    (
        "levels.registers.0.operands",
        ["inputs", "outputs"],
        "levels.registers.0.operands is ['inputs', 'outputs'], expected one, since registers hold one",
    ),
    (
        "levels.buffers.0.bytes",
        2 << 20,
        "levels.buffers: weight_buffer has 2097152 bytes, expected at most memories.weights.bytes = 1048576",
    ),
    (
        "levels.buffers.1.bytes",
        2 << 20,
        "levels.buffers: activation_buffer has 2097152 bytes, expected at most memories.l1.bytes = 1048576",
    ),
    (
        "levels.buffers.2",
        {**BUFFER, "name": "small", "operands": ["weights"]},
        "levels.buffers: weight_buffer has 32768 bytes, expected at most those of small outside it = 2",
    ),
    (
        "levels.buffers.1.name",
        "weight_buffer",
        "levels.name 'weight_buffer' is taken, expected a name for each level",
    ),
    ("levels.buffers.1.name", "l1", "levels.name 'l1' is taken, expected a name for each level"),
    (
        "levels.registers",
        [],
        "levels.registers has none for outputs, expected one that holds a partial sum",
    ),
    (
        "levels.registers.2",
        {**REGISTERS, "name": "more"},
        "levels.registers are sum_registers and more for outputs, expected at most one",
    ),
    (
        "levels.sum_bytes",
        4,
        "levels.registers: sum_registers has 2 bytes, expected at least sum_bytes = 4",
    ),
]


@pytest.mark.parametrize(("path", "value", "message"), BAD)
def test_levels_that_make_no_sense_are_refused(path: str, value: Any, message: str, tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text(changed(path, value), encoding="utf-8")
    with pytest.raises(MachineError) as error:
        load_machine(file)
    assert str(error.value) == f"{file}: {message}"
