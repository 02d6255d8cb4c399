"""`gateway health`: what a container's health check runs, where there is no curl."""

import http.client
import sys
from pathlib import Path
from urllib.parse import urlsplit

import msgspec
import rich_click as click

from gateway.settings import LOCAL, Settings, SettingsError, load_settings

__all__ = ["health", "main"]

PATIENCE_S = 5.0


@click.command()
@click.option("--live", is_flag=True, help="Ask whether the process lives, not whether it can serve.")
@click.option("--engine", is_flag=True, help="Ask the engine: the one of GATEWAY_ENGINE, or this machine's.")
@click.option("--data-dir", type=click.Path(path_type=Path), help="With --engine: folder of its engine.json.")
def health(live: bool, engine: bool, data_dir: Path | None) -> None:
    """Ask the gateway, worker or engine of this machine how it is: one line, and exit code 0 or 1."""
    if engine:
        well, line = _of_engine(data_dir)
    else:
        well, line = _of_gateway(load_settings(), "/health/live" if live else "/health/ready")
    click.echo(line)
    sys.exit(0 if well else 1)


def main() -> None:
    """Run this command alone, of the process's arguments, without what the others need."""
    try:
        health.main(sys.argv[2:], prog_name="gateway health")
    except SettingsError as error:
        click.echo(f"error: {error}", err=True)
        sys.exit(1)


def _of_gateway(settings: Settings, path: str) -> tuple[bool, str]:
    """Whether the process at this machine's port is well, and the line that says so."""
    url = urlsplit(settings.local_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=PATIENCE_S)
    try:
        # By a name that it always answers to.
        connection.request("GET", path, headers={"Host": "localhost"})
        answer = connection.getresponse()
        body = answer.read(4096)
    except (OSError, http.client.HTTPException) as error:
        return False, f"{settings.local_url} does not answer: {error!r}"
    finally:
        connection.close()
    return answer.status == 200, f"{settings.local_url}{path}: {answer.status} {_told(body)}".rstrip()


def _told(body: bytes) -> str:
    """What a body says, in a line."""
    try:
        found = msgspec.json.decode(body, type=_Told)
    except msgspec.DecodeError:
        return ""
    checks = ", ".join(f"{name}: {value}" for name, value in found.checks.items())
    return f"{found.status} ({checks})" if checks else found.status


class _Told(msgspec.Struct):
    status: str = ""
    checks: dict[str, str] = {}


def _of_engine(data_dir: Path | None) -> tuple[bool, str]:
    """Whether an engine is well, and the line that says so.

    Raises:
        SettingsError: nothing says where it is.
    """
    from msgspec.structs import replace

    from providers.diffusers_modal.address import EngineAddress, ask_health, engine_elsewhere, read_address

    address: EngineAddress | None
    if data_dir is not None:
        address = read_address(data_dir.absolute())
    else:
        settings = load_settings()
        try:
            elsewhere = engine_elsewhere(settings.env)
        except ValueError as error:
            raise SettingsError(str(error)) from error
        address = elsewhere or read_address(settings.data_dir)
    if address is None:
        return False, "no engine is here: there is no engine.json, and GATEWAY_ENGINE names none"
    address = replace(address, host=LOCAL.get(address.host, address.host))
    found = ask_health(address, PATIENCE_S)
    where = f"the engine at {address.host}:{address.port}"
    if found is None:
        return False, f"{where} does not answer"
    model = found.model or "no model yet"
    return True, f"{where}: {found.running} running, {found.queued} queued, {model} on {found.device or '?'}"
