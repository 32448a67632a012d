"""Core groups: kernels on some of the cores, and which of them run side by side where a machine lets them."""
