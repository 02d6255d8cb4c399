"""The command `gateway`. Data goes to stdout, messages and progress to stderr.

Exit codes: 0 done, 1 something failed, 2 wrong usage, 4 not found, 5 not enough balance,
7 the provider failed, 8 it goes on without us (the job's id is printed), 130 interrupted.
"""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line."""
    if sys.argv[1:2] == ["health"]:
        # A container's health check runs it every few seconds: what the other commands need takes a second.
        from gateway.cli.health import main as run
    else:
        from gateway.cli.root import main as run
    run()
