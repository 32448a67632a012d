"""Schedules a network on a machine from the command line."""

import sys


def main() -> int:
    """Say that the command does not exist yet."""
    print("not built yet")
    return 2


if __name__ == "__main__":
    sys.exit(main())
