"""`gateway serve`, `gateway engine`, `gateway config`."""

import json
import logging
from pathlib import Path

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway import __version__
from gateway.locks import hold_folder
from gateway.settings import load_settings, show_settings

__all__ = ["config", "engine", "serve"]

log = logging.getLogger(__name__)

WHO = {
    "open": "whoever reaches it is the operator",
    "required": "callers need an API key (`gateway account create`, `gateway keys create`)",
}


@click.command()
def serve() -> None:
    """Serve the gateway: HTTP, jobs and this machine's engine."""
    from gateway.accounts.operator import operator_key
    from gateway.ambient import Ambient
    from gateway.observe.logs import configure_logs, is_json
    from gateway.parts import prepare
    from gateway.server import check_port, engine_supervisor
    from gateway.server import serve as run

    settings = load_settings()
    configure_logs(settings)
    ambient = Ambient()
    with hold_folder(settings.data_dir), operator_key(settings.data_dir, settings.local_url, ambient):
        parts = prepare(settings, ambient)
        supervisor = engine_supervisor(settings)
        check_port(settings)
        count = len(parts.catalog.models)
        said = (
            f"image-gateway {__version__} at {settings.public_url} (API page: {settings.public_url}/schema)",
            f"{count} models, data in {settings.data_dir}; {WHO[settings.auth]}",
        )
        if is_json(settings.log_format):
            log.info("%s; %s", *said)
        else:
            click.echo("\n".join(said) + "; Ctrl-C stops it", err=True)
        run(settings, supervisor)


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
