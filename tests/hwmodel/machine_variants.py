"""Machines that tests make out of those that ship."""

from hwmodel.machines.machine import Machine, load_machine


def without_llb(machine: Machine) -> Machine:
    """The same machine without a last-level buffer, and so without a system DMA."""
    data = machine.model_dump()
    data["name"] = f"{machine.name}-without-llb"
    data["memories"]["llb"] = data["links"]["llb"] = data["system_dma"] = None
    data["energy"]["llb_read_pj_per_byte"] = data["energy"]["llb_write_pj_per_byte"] = None
    return Machine.model_validate(data)


def with_bursts(machine: Machine, burst_bytes: int) -> Machine:
    """The same machine with DRAM bursts of so many bytes."""
    return with_dram(machine, burst_bytes=burst_bytes).model_copy(update={"name": f"{machine.name}-bursts"})


def with_dram(machine: Machine, **figures: float) -> Machine:
    """The same machine with other figures of DRAM: keys of `links.dram` and `memories.dram`."""
    data = machine.model_dump()
    data["name"] = f"{machine.name}-dram"
    memory = {
        name: figures.pop(name) for name in ("bytes", "burst_bytes", "latency_cycles") if name in figures
    }
    data["memories"]["dram"] = {**(data["memories"]["dram"] or {}), **memory}
    data["links"]["dram"] |= figures
    return Machine.model_validate(data)


def with_llb_bytes(machine: Machine, llb_bytes: int) -> Machine:
    """The same machine with a last-level buffer of another size."""
    llb = machine.memories.llb
    if llb is None:
        raise ValueError(f"{machine.name} has no LLB")
    memories = machine.memories.model_copy(update={"llb": llb.model_copy(update={"bytes": llb_bytes})})
    return machine.model_copy(update={"memories": memories})


def with_systolic(
    machine: Machine, rows: int, columns: int, dataflow: str, *, overlap_folds: bool, convolution: str
) -> Machine:
    """The same machine with a systolic array."""
    data = machine.model_dump()
    data["name"] = f"{machine.name}-{dataflow}"
    array = {"rows": rows, "columns": columns, "dataflow": dataflow, "overlap_folds": overlap_folds}
    data["matrix"] |= {"unrolling": None, "macs": None, "systolic": array, "convolution": convolution}
    return Machine.model_validate(data)


_VARIANTS = {
    "without-llb": without_llb,
    "bursts": lambda machine: with_bursts(machine, 32),
    "slow-dram": lambda machine: with_dram(machine, sustained=0.7, latency_cycles=90),
    "output-stationary": lambda machine: with_systolic(
        machine, 8, 4, "output_stationary", overlap_folds=True, convolution="per_tap"
    ),
    "weight-stationary": lambda machine: with_systolic(
        machine, 4, 8, "weight_stationary", overlap_folds=False, convolution="im2col"
    ),
    "input-stationary": lambda machine: with_systolic(
        machine, 8, 4, "input_stationary", overlap_folds=True, convolution="im2col"
    ),
}


def machine_called(name: str) -> Machine:
    """A machine that ships by its name, or a variant by `NAME-without-llb`, `NAME-output-stationary` and so on."""
    shipped, _, variant = name.partition("-")
    machine = load_machine(shipped)
    return _VARIANTS[variant](machine) if variant else machine
