"""PostgreSQL's own programs: where they are, of which version, and how they are told of a database.

Nothing of a database's address is on a command line, where everybody on the machine could read it: the
password is in the child's environment, the rest in a file of ours.
"""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from msgspec import Struct
from sqlalchemy import URL

from gateway.backup.records import BackupError

__all__ = ["SERVICE", "Tool", "find_tool", "run_tool", "told_of"]

SETTING = "GATEWAY_PG_BIN"
PACKAGED = (("/usr/lib/postgresql", "*/bin"), ("/usr", "pgsql-*/bin"))
"""Where Debian's and Red Hat's packages have them, beside PATH."""
VERSION = re.compile(r"\(PostgreSQL\) (\d+)")
SERVICE = "gateway"
"""What a program finds the database under."""


class Tool(Struct, frozen=True, kw_only=True):
    """One of the programs."""

    path: Path
    major: int


def find_tool(name: str, least: int, env: Mapping[str, str]) -> Tool:
    """A program of a version at least so late: that very one if it is there, else the next.

    Args:
        name: pg_dump or pg_restore.
        least: PostgreSQL's major version.
        env: has PATH, and GATEWAY_PG_BIN.

    Raises:
        BackupError: there is none.
    """
    found = [tool for path in _candidates(name, env) if (tool := _asked(path)) is not None]
    fit = sorted((tool for tool in found if tool.major >= least), key=lambda tool: tool.major)
    if fit:
        return fit[0]
    seen = ", ".join(f"{tool.path} is of {tool.major}" for tool in found) or "none was found"
    where = f"in {SETTING} ({env[SETTING]})" if env.get(SETTING) else "in PATH and where packages have it"
    raise BackupError(
        f"{name} of PostgreSQL {least} or later is needed, as the server is of that version; it was looked "
        f"for {where}: {seen}. Install the client programs of PostgreSQL {least} (on Debian "
        f"postgresql-client-{least}), or set {SETTING} to their folder"
    )


def _candidates(name: str, env: Mapping[str, str]) -> list[Path]:
    if env.get(SETTING):
        path = Path(env[SETTING]) / name
        return [path] if path.is_file() else []
    in_path = shutil.which(name, path=env.get("PATH"))
    packaged = [found / name for root, bins in PACKAGED for found in Path(root).glob(bins)]
    return ([] if in_path is None else [Path(in_path)]) + [path for path in packaged if path.is_file()]


def _asked(path: Path) -> Tool | None:
    """A program with its version; None when it does not say one."""
    try:
        said = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    version = VERSION.search(said.stdout)
    return None if version is None else Tool(path=path, major=int(version[1]))


@contextmanager
def told_of(url: URL) -> Iterator[dict[str, str]]:
    """An environment that tells a program of a database, for as long as the block runs.

    Args:
        url: of `gateway.db.postgres_server.postgres_url`.
    """
    arguments = {
        "connect_timeout": "10",
        # The server that the snapshot is on, and not its standby.
        "target_session_attrs": "read-write",
        "application_name": "image-gateway backup",
        **{name: str(value) for name, value in url.get_dialect()().create_connect_args(url)[1].items()},
    }
    password = arguments.pop("password", "")
    wrong = next((name for name, value in arguments.items() if "\n" in value), None)
    if wrong is not None:
        raise BackupError(f"the database's URL has a line break in {wrong}")
    descriptor, name = tempfile.mkstemp(prefix="gateway-", suffix=".service")  # nobody else may read it
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(f"[{SERVICE}]\n")
            file.writelines(f"{key}={value}\n" for key, value in arguments.items())
        own = {"PGSERVICEFILE": name, "PGSERVICE": SERVICE, "LC_ALL": "C.UTF-8"}
        yield {**os.environ, **own, **({"PGPASSWORD": password} if password else {})}
    finally:
        Path(name).unlink()


def run_tool(tool: Tool, arguments: Sequence[str], env: Mapping[str, str], what: str) -> str:
    """Run a program to its end; what it prints.

    Args:
        tool: the program.
        arguments: without anything secret.
        env: of `told_of`.
        what: is to be done, for the error.

    Raises:
        BackupError: it failed; with its own words.
    """
    ended = subprocess.run(
        [tool.path, *arguments],
        env=dict(env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if ended.returncode:
        # The lines after an error repeat the row that is wrong.
        said = [line.partition("error: ")[2] for line in ended.stderr.splitlines() if "error: " in line]
        why = said[0] if said else f"it ended with {ended.returncode}"
        raise BackupError(f"{what}: {tool.path.name}: {why}")
    return ended.stdout
