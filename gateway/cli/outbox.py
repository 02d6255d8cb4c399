"""`gateway outbox`: what is to be told by mail and by webhook, and what was."""

import asyncio
import json
from typing import Any

import msgspec
import rich_click as click
from rich.markup import escape

from gateway.cli.connect import open_gateway, running_gateway
from gateway.cli.console import console, table
from gateway.db.engine import open_database
from gateway.delivery.outbox import list_rows
from gateway.delivery.schemas import AdminDeliveryList, admin_delivery_view
from gateway.settings import Settings, load_settings

__all__ = ["outbox"]


@click.group(invoke_without_command=True)
@click.option("--state", type=click.Choice(["open", "sent", "failed"]), help="Of those that stand so alone.")
@click.option("--limit", type=click.IntRange(1, 100), default=20, show_default=True, help="How many.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.pass_context
def outbox(context: click.Context, state: str | None, limit: int, as_json: bool) -> None:
    """List the newest mails and webhook calls (an admin: everybody's), or send one again."""
    if context.invoked_subcommand is not None:
        return
    found = asyncio.run(_list(load_settings(), state, limit))
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    shown = table("to", "delivery", "type", "state", "tries", "job", "about")
    for row in found["deliveries"]:
        about = row["error"] or row["sentAt"] or f"due {row['dueAt']}"
        cells = (row["recipient"], row["id"], row["type"], row["state"], str(row["tries"]))
        shown.add_row(*(escape(cell) for cell in (*cells, row["jobId"] or "", about)))
    console().print(shown)


@outbox.command()
@click.argument("delivery_id")
def redeliver(delivery_id: str) -> None:
    """Send the mail or call DELIVERY_ID now, or once more, under the same id."""
    row = asyncio.run(_redeliver(load_settings(), delivery_id))
    click.echo(f"{row['id']} goes out: {row['type']} by {row['kind']}", err=True)


async def _list(settings: Settings, state: str | None, limit: int) -> dict[str, Any]:
    query = f"?limit={limit}" + (f"&state={state}" if state else "")
    async with running_gateway(settings) as client:
        if client is not None:
            mine = await client.call("GET", "/api/account")
            path = "/api/admin/outbox" if mine["admin"] else "/api/deliveries"
            return await client.call("GET", f"{path}{query}")
    # Nobody runs: the file is read, and nothing is sent by looking at it.
    database = open_database(settings.database_url)
    try:
        rows = await database.read(lambda c: list_rows(c, None, limit=limit, state=state))
    finally:
        await database.aclose()
    views = tuple(admin_delivery_view(row) for row in rows)
    listed: dict[str, Any] = msgspec.to_builtins(AdminDeliveryList(deliveries=views, next_cursor=None))
    return listed


async def _redeliver(settings: Settings, delivery_id: str) -> dict[str, Any]:
    async with open_gateway(settings, run_jobs=False) as client:
        mine = await client.call("GET", "/api/account")
        under = "/api/admin/outbox" if mine["admin"] else "/api/deliveries"
        return await client.call("POST", f"{under}/{delivery_id}/redeliver", {})
