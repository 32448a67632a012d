"""The errors of this package, each a ValueError with a message for whoever wrote the file at fault."""


class MachineError(ValueError):
    """A machine's description is wrong; the message names the key, the value and the file."""


class KernelError(ValueError):
    """A program or a kernel file is wrong; the message names the place."""
