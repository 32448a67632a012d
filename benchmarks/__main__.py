"""Runs the benchmarks: all of them in the order of their names, or those named on the command line."""

import pkgutil
import subprocess
import sys

import benchmarks


def main(wanted: list[str]) -> int:
    """Run each benchmark in a process of its own, so that none warms up another; return the worst status."""
    names = sorted(m.name for m in pkgutil.iter_modules(benchmarks.__path__) if not m.name.startswith("_"))
    if unknown := [name for name in wanted if name not in names]:
        print(f"no such benchmark: {', '.join(unknown)}; there are: {', '.join(names)}", file=sys.stderr)
        return 2
    status = 0
    for name in wanted or names:
        print(f"== {name}", flush=True)
        status = max(status, abs(subprocess.run([sys.executable, "-m", f"benchmarks.{name}"]).returncode))
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
