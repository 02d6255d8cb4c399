"""`gateway webhooks`: where one is called when one's jobs end."""

import asyncio
import json
from typing import Any

import rich_click as click
from rich.markup import escape

from gateway.cli.connect import open_gateway
from gateway.cli.console import console, table
from gateway.settings import load_settings

__all__ = ["webhooks"]

AS_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.group()
def webhooks() -> None:
    """Webhook endpoints: where you are called when a job ends whose `delivery` says so."""


@webhooks.command("create")
@click.argument("url")
@AS_JSON
def create_endpoint(url: str, as_json: bool) -> None:
    """Make an endpoint of URL, or find the one that you have; prints its id and its secret."""
    made = _call("POST", "/api/webhooks", {"url": url})
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(made["id"])
    click.echo(made["secret"])


@webhooks.command("list")
@AS_JSON
def list_endpoints(as_json: bool) -> None:
    """List your endpoints, oldest first."""
    found = _call("GET", "/api/webhooks")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    shown = table("url", "webhook", "made", "about")
    for row in found["webhooks"]:
        disabled = f"disabled {row['disabledAt']}: {row['disabledBecause']}" if row["disabledAt"] else ""
        shown.add_row(*(escape(cell) for cell in (row["url"], row["id"], row["createdAt"], disabled)))
    console().print(shown)


@webhooks.command("secret")
@click.argument("webhook_id")
def show_secret(webhook_id: str) -> None:
    """Print what WEBHOOK_ID's receiver verifies calls with."""
    click.echo(_call("GET", f"/api/webhooks/{webhook_id}/secret")["secret"])


@webhooks.command("test")
@click.argument("webhook_id")
def test_endpoint(webhook_id: str) -> None:
    """Call WEBHOOK_ID now with a signed `webhook.test`, and say what it answered."""
    answer = _call("POST", f"/api/webhooks/{webhook_id}/test", {})
    if not answer["delivered"]:
        raise click.ClickException(f"{answer['messageId']} was not taken: {answer['error']}")
    click.echo(f"{answer['messageId']} was taken: {answer['statusCode']}", err=True)


@webhooks.command("enable")
@click.argument("webhook_id")
def enable_endpoint(webhook_id: str) -> None:
    """Call WEBHOOK_ID again, which was disabled: it had answered 410."""
    _call("POST", f"/api/webhooks/{webhook_id}/enable", {})
    click.echo(f"{webhook_id} is called from now on", err=True)


@webhooks.command("delete")
@click.argument("webhook_id")
def delete_endpoint(webhook_id: str) -> None:
    """Call WEBHOOK_ID no more."""
    row = _call("DELETE", f"/api/webhooks/{webhook_id}")
    click.echo(f"{row['id']} is called no more", err=True)


def _call(method: str, path: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    async def run() -> dict[str, Any]:
        async with open_gateway(load_settings(), run_jobs=False) as client:
            return await client.call(method, path, body)

    return asyncio.run(run())
