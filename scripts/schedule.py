"""Schedules a network on a machine from the command line; docs/command-line.md describes it.

Heavy modules are imported where they are needed, so that --list and errors come at once.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

from scripts.options import Options, parse

DONE, FAILED, BAD_INPUT, INTERRUPTED = 0, 1, 2, 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command and return its exit status: 0 done, 1 verification failed, 2 bad input."""
    options = parse(arguments)
    from agents.errors import PolicyError
    from graph.errors import ModelError
    from hwmodel.errors import KernelError, MachineError
    from report.output import OutputError
    from scheduling.errors import ScheduleError
    from scripts.errors import InputError, VerificationError

    try:
        if options is None:
            from scripts.listing import listing

            print(listing(), end="")
        else:
            _run(options)
    except (VerificationError, KernelError) as error:
        print(f"oncore: verification failed: {error}; nothing was written", file=sys.stderr)
        return FAILED
    except (InputError, MachineError, ModelError, OutputError, PolicyError, ScheduleError) as error:
        print(f"oncore: error: {error}", file=sys.stderr)
        return BAD_INPUT
    except OSError as error:
        print(f"oncore: error: {error.filename or 'output'}: {error.strerror}", file=sys.stderr)
        return BAD_INPUT
    except KeyboardInterrupt:
        print("oncore: interrupted", file=sys.stderr)
        return INTERRUPTED
    return DONE


def _run(options: Options) -> None:
    from scripts.running import run

    run(
        options,
        show=lambda text: print(text, flush=True),
        progress=lambda text: print(text, file=sys.stderr, flush=True),
    )


if __name__ == "__main__":
    sys.exit(main())
