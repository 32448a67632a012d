"""The instruction set, programs of it, and the kernel folders that they are stored in."""
