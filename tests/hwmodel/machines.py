"""Machines that tests make out of those that ship."""

from hwmodel.machine import Machine, load_machine


def without_llb(machine: Machine) -> Machine:
    """The same machine without a last-level buffer, and so without a system DMA."""
    data = machine.model_dump()
    data["name"] = f"{machine.name}-without-llb"
    data["memories"]["llb"] = data["links"]["llb"] = data["system_dma"] = None
    data["energy"]["llb_read_pj_per_byte"] = data["energy"]["llb_write_pj_per_byte"] = None
    return Machine.model_validate(data)


def machine_called(name: str) -> Machine:
    """A machine that ships by its name, or the same without its last-level buffer by `NAME-without-llb`."""
    shipped = name.removesuffix("-without-llb")
    return load_machine(name) if shipped == name else without_llb(load_machine(shipped))
