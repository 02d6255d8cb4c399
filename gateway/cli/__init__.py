"""The command `gateway`. Data goes to stdout, messages and progress to stderr.

Exit codes: 0 done, 1 something failed, 2 wrong usage, 4 not found, 5 not enough balance,
7 the provider failed, 8 it goes on without us (the job's id is printed), 130 interrupted.
"""

from gateway.cli.root import main

__all__ = ["main"]
