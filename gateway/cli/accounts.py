"""`gateway account`, `gateway keys`: who may use this gateway, and what they have."""

import json
from collections.abc import Sequence
from typing import Any

import rich_click as click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from gateway.accounts.rules import MOST_RESEND_S
from gateway.accounts.scopes import SCOPES
from gateway.cli.calls import AS_JSON
from gateway.cli.calls import balance_words as _dollars
from gateway.cli.calls import call as _call
from gateway.cli.calls import usd as _usd

__all__ = ["account", "admin", "keys"]

AS_SET = "default"


def _window(context: click.Context, parameter: click.Parameter, value: str | None) -> int | str | None:
    """Seconds, or that the account has no window of its own."""
    if value is None or value == AS_SET:
        return value
    if not value.isdecimal() or len(value) > 4 or int(value) > MOST_RESEND_S:
        raise click.BadParameter(
            f"{value!r} is neither 0 to {MOST_RESEND_S} nor {AS_SET}.", context, parameter
        )
    return int(value)


@click.group()
def account() -> None:
    """Accounts: whose jobs are whose, and who pays."""


@account.command("create")
@click.argument("name")
@click.option(
    "--tier", type=click.Choice(["normal", "premium"]), default="normal", show_default=True,
    help="Premium runs at once.",
)  # fmt: skip
@click.option("--balance", metavar="USD", callback=_usd, help="Dollars that it starts with.")
@click.option("--postpaid", is_flag=True, help="It may go below zero, and pays afterwards.")
@click.option("--admin", is_flag=True, help="Its keys may call /api/admin.")
@AS_JSON
def create_account(
    name: str, tier: str, balance: str | None, postpaid: bool, admin: bool, as_json: bool
) -> None:
    """Make an account called NAME and print its id; `gateway keys create` gives it a key."""
    body = {"name": name, "tier": tier, "postpaid": postpaid, "admin": admin, "balance": balance}
    made = _call("POST", "/api/admin/accounts", {k: v for k, v in body.items() if v is not None})
    if not as_json and not postpaid and not balance:
        click.echo("it has no balance yet: `gateway account topup ID USD`", err=True)
    click.echo(json.dumps(made, indent=2) if as_json else made["accountId"])


@account.command("list")
@AS_JSON
def list_accounts(as_json: bool) -> None:
    """List the accounts with their balances, oldest first."""
    found = _call("GET", "/api/admin/accounts")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (a["accountId"], a["name"], a["tier"], "admin" if a["admin"] else "", _dollars(a["balance"]))
        for a in found["accounts"]
    ]
    _print_table(("account", "name", "tier", "rights", "USD"), rows)


@account.command("change")
@click.argument("account_id")
@click.option("--tier", type=click.Choice(["normal", "premium"]), help="Premium runs at once.")
@click.option("--days", type=click.IntRange(1, 3650), help="How long the tier holds; for good if not given.")
@click.option("--admin/--no-admin", default=None, help="May its keys and its people call /api/admin.")
@click.option("--close/--open", "closed", default=None, help="Nobody gets in; what it has stays.")
@click.option(
    "--resend-window",
    metavar="SECONDS",
    callback=_window,
    help="Equal requests without an Idempotency-Key within so many seconds are one; 0: never; default: as "
    "GATEWAY_RESEND_WINDOW_S says.",
)
@click.option(
    "--price-list", metavar="NAME", help="By which of the registry's price lists it pays; default: none."
)
@AS_JSON
def change_account(
    account_id: str,
    tier: str | None,
    days: int | None,
    admin: bool | None,
    closed: bool | None,
    resend_window: int | str | None,
    price_list: str | None,
    as_json: bool,
) -> None:
    """Change ACCOUNT_ID: its tier, its rights, whether anybody gets in, its resend window, its prices."""
    body = {
        "tier": tier,
        "tierDays": days,
        "admin": admin,
        "closed": closed,
        "resendWindowS": resend_window,
        "priceList": price_list,
    }
    said: dict[str, Any] = {name: value for name, value in body.items() if value is not None}
    if not said or (days is not None and tier is None):
        raise click.UsageError(
            "Say what to change: --tier (and --days), --admin, --no-admin, --close, --open, --resend-window, "
            "--price-list."
        )
    said |= {name: None for name in ("resendWindowS", "priceList") if said.get(name) == AS_SET}
    found = _call("PATCH", f"/api/admin/accounts/{account_id}", said)
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    until = f" until {found['tierUntil']}" if found["tierUntil"] else ""
    rights = ", admin" if found["admin"] else ""
    state = f", closed {found['closedAt']}" if found["closedAt"] else ""
    own = found["resendWindowS"]
    window = "" if own is None else f", resend window {own} s"
    prices = "" if found["priceList"] is None else f", price list {found['priceList']}"
    click.echo(f"{found['tier']}{until}{rights}{state}{window}{prices}")


@account.command("invite")
@click.option("--email", help="For whom; for whoever has the code if not given.")
@click.option("--tier", type=click.Choice(["normal", "premium"]), default="normal", show_default=True)
@click.option(
    "--days", type=click.IntRange(1, 365), default=14, show_default=True, help="How long it is good."
)
@AS_JSON
def invite(email: str | None, tier: str, days: int, as_json: bool) -> None:
    """Make an invitation, good once, and print its code: what its holder sends with the sign-up."""
    body = {"tier": tier, "expiresInDays": days} | ({"email": email} if email else {})
    made = _call("POST", "/api/admin/invites", body)
    click.echo(json.dumps(made, indent=2) if as_json else made["invite"])


@account.command("audit")
@click.argument("account_id", required=False)
@click.option("--limit", type=click.IntRange(1, 100), default=50, show_default=True)
@AS_JSON
def audit(account_id: str | None, limit: int, as_json: bool) -> None:
    """Show who did what, newest first; to ACCOUNT_ID alone, if given."""
    of = f"&subject={account_id}" if account_id else ""
    found = _call("GET", f"/api/admin/audit?limit={limit}{of}")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (e["at"], e["actor"], e["credential"], e["action"], e["subject"], json.dumps(e["detail"]))
        for e in found["entries"]
    ]
    _print_table(("at", "who", "with", "what", "to", "how"), rows)


@click.group()
def admin() -> None:
    """Admins: people who may run this gateway from elsewhere."""


@admin.command("create")
@click.argument("email")
@click.option(
    "--password", prompt=True, hide_input=True, confirmation_prompt=True, help="Asked for if not given."
)
def create_admin(email: str, password: str) -> None:
    """Make an admin who signs in with EMAIL: the first account of a gateway on a network."""
    body = {"name": email, "tier": "premium", "admin": True, "postpaid": True}
    made = _call("POST", "/api/admin/accounts", body)
    try:
        _call(
            "POST", f"/api/admin/accounts/{made['accountId']}/login", {"email": email, "password": password}
        )
    except Exception:
        # An admin's account that nobody can sign in to is no use, and somebody might give it a key.
        _call("PATCH", f"/api/admin/accounts/{made['accountId']}", {"closed": True, "admin": False})
        raise
    click.echo(made["accountId"])


@account.command("topup")
@click.argument("account_id")
@click.argument("usd", callback=_usd)
@click.option("--reference", help="The payment's own id: it counts once.")
@AS_JSON
def top_up(account_id: str, usd: str, reference: str | None, as_json: bool) -> None:
    """Add USD dollars that were paid in to ACCOUNT_ID's balance."""
    body = {"accountId": account_id, "amount": usd} | ({"reference": reference} if reference else {})
    found = _call("POST", "/api/admin/topup", body)
    click.echo(json.dumps(found, indent=2) if as_json else f"{_dollars(found['balance'])} USD")


@click.group()
def keys() -> None:
    """API keys: what a program sends to say whose account it uses."""


@keys.command("create")
@click.argument("account_id")
@click.option("--name", default="key", show_default=True, help="What it is for.")
@click.option(
    "--expires-in-days", type=click.IntRange(1, 3650), help="Good for so long; for ever if not given."
)
@click.option(
    "--scope", "scopes", multiple=True, type=click.Choice(SCOPES), default=("generate", "read"),
    show_default=True, help="What it is good for; may be given several times.",
)  # fmt: skip
@click.option("--budget", metavar="USD", callback=_usd, help="Dollars that its jobs may cost in all.")
@AS_JSON
def create_key(
    account_id: str,
    name: str,
    expires_in_days: int | None,
    scopes: tuple[str, ...],
    budget: str | None,
    as_json: bool,
) -> None:
    """Make an API key of ACCOUNT_ID and print it. It is shown this once and kept nowhere."""
    body = {"name": name, "expiresInDays": expires_in_days, "scopes": list(scopes), "budget": budget}
    path = f"/api/admin/accounts/{account_id}/keys"
    made = _call("POST", path, {k: v for k, v in body.items() if v is not None})
    if as_json:
        click.echo(json.dumps(made, indent=2))
        return
    click.echo(made["key"])
    click.echo("shown this once: keep it now; send it as 'Authorization: Bearer igw_...'", err=True)


@keys.command("list")
@click.argument("account_id")
@AS_JSON
def list_keys(account_id: str, as_json: bool) -> None:
    """List the keys of ACCOUNT_ID, oldest first, without their secrets."""
    found = _call("GET", f"/api/admin/accounts/{account_id}/keys")
    if as_json:
        click.echo(json.dumps(found, indent=2))
        return
    rows = [
        (k["keyId"], k["name"], k["createdAt"], k["lastUsedAt"] or "never", _state(k)) for k in found["keys"]
    ]
    _print_table(("key", "name", "made", "last used", "state"), rows)


@keys.command("revoke")
@click.argument("key_id")
def revoke_key(key_id: str) -> None:
    """Take the key KEY_ID (the part between igw_ and the next _) back, at once and for good."""
    revoked = _call("DELETE", f"/api/admin/keys/{key_id}")
    click.echo(f"{revoked['startsWith']} was revoked at {revoked['revokedAt']}", err=True)


def _state(key: dict[str, Any]) -> str:
    if key["revokedAt"]:
        return f"revoked {key['revokedAt']}"
    return f"until {key['expiresAt']}" if key["expiresAt"] else "good"


def _print_table(titles: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="dim")
    for title in titles:
        table.add_column(title, overflow="fold")
    for row in rows:
        table.add_row(*(escape(cell) for cell in row))
    console = Console()
    (console if console.is_terminal else Console(width=200)).print(table)
