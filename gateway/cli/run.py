"""`gateway serve`, `gateway worker`, `gateway engine`, `gateway config`."""

import json
import logging
from contextlib import nullcontext
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway import __version__
from gateway.locks import hold_folder
from gateway.roles import Role, role_of, worker_settings
from gateway.settings import Settings, load_settings, show_settings

__all__ = ["config", "engine", "serve", "worker"]

log = logging.getLogger(__name__)

WHO = {
    "open": "whoever reaches it is the operator",
    "required": "callers need an API key (`gateway account create`, `gateway keys create`)",
}


@click.command()
def serve() -> None:
    """Serve the gateway: HTTP, jobs and this machine's engine.

    With GATEWAY_RUN_JOBS=no it lets jobs in and `gateway worker` elsewhere runs them.
    """
    _run()


@click.command()
def worker() -> None:
    """Run the jobs that gateways let in: batch windows, mails and calls, and this machine's engine.

    Any number of them on one PostgreSQL database. At GATEWAY_HOST and GATEWAY_PORT it answers
    /health/live and /health/ready alone.
    """
    _run("worker")


def _run(role: Role | None = None) -> None:
    from gateway.accounts.operator import operator_key
    from gateway.ambient import Ambient
    from gateway.observe.logs import configure_logs, is_json
    from gateway.parts import prepare
    from gateway.server import APPLICATION, WORKER_APPLICATION, check_port, engine_supervisor
    from gateway.server import serve as run

    settings = load_settings()
    configure_logs(settings)
    if role == "worker":
        settings = worker_settings(settings)
    ambient = Ambient()
    # Of a worker there is nothing to operate: commands must not take it for a gateway.
    key = nullcontext() if role == "worker" else operator_key(settings.data_dir, settings.local_url, ambient)
    with hold_folder(settings.data_dir), key:
        parts = prepare(settings, ambient)
        supervisor = engine_supervisor(settings)
        check_port(settings)
        said = _banner(settings, role or role_of(settings), len(parts.catalog.models))
        if is_json(settings.log_format):
            log.info("%s; %s", *said)
        else:
            click.echo("\n".join(said) + "; Ctrl-C stops it", err=True)
        run(settings, supervisor, WORKER_APPLICATION if role == "worker" else APPLICATION)


def _banner(settings: Settings, role: Role, models: int) -> tuple[str, str]:
    if role == "worker":
        return (
            f"image-gateway {__version__}: a worker for {settings.public_url}, {settings.jobs_at_once} jobs "
            f"at once; its health: {settings.local_url}/health/ready",
            f"{models} models, data in {settings.data_dir}",
        )
    jobs = "" if role == "serve" else " jobs wait for a `gateway worker`;"
    return (
        f"image-gateway {__version__} at {settings.public_url} (API page: {settings.public_url}/schema)",
        f"{models} models, data in {settings.data_dir};{jobs} {WHO[settings.auth]}",
    )


@click.command()
@click.option("--data-dir", type=click.Path(path_type=Path), help="Folder of engine.json and of the models.")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=0, help="Port to listen on; 0 takes a free one.")
@click.option(
    "--token", envvar="GATEWAY_ENGINE_TOKEN", help="What requests must carry; a random one if not given."
)
@click.option(
    "--orphan-exit", type=float, help="End this many idle seconds after the parent process is gone."
)
@click.option("--warm", is_flag=True, help="Import torch and diffusers at once.")
@click.option("--threads", type=int, help="CPU threads of an operation.")
def engine(
    data_dir: Path | None,
    host: str,
    port: int,
    token: str | None,
    orphan_exit: float | None,
    warm: bool,
    threads: int | None,
) -> None:
    """Run a diffusers engine on this machine's GPU or CPU.

    `gateway serve` starts one by itself. Run it by hand to have it on another machine: there
    `gateway engine --host ADDRESS --port PORT --token T`, here GATEWAY_ENGINE=ADDRESS:PORT and
    GATEWAY_ENGINE_TOKEN=T.
    """
    from providers.diffusers_modal.logs import configure_logs
    from providers.diffusers_modal.process import run_engine

    configure_logs()
    folder = data_dir or load_settings().data_dir
    run_engine(folder.absolute(), host, port, token, orphan_exit_s=orphan_exit, warm=warm, threads=threads)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def config(as_json: bool) -> None:
    """Show each setting, its value and where it comes from; secrets masked."""
    rows = show_settings()
    if as_json:
        shown = [{"name": s.name, "value": v, "origin": o, "about": s.about} for s, v, o in rows]
        click.echo(json.dumps(shown, indent=2))
    else:
        table = Table(box=None, pad_edge=False)
        for title in ("setting", "value", "origin", "meaning"):
            table.add_column(title, overflow="fold")
        for setting, value, origin in rows:
            table.add_row(setting.name, escape(value), origin, escape(setting.about))
        Console().print(table)
    load_settings()
