"""All instances of a schedule: their order, their places in shared memory, and their time."""
