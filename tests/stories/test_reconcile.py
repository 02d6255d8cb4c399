"""What fal bills is held against the books, job by job, and put right; a price that has changed is told."""

import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal
from support.loopback_fal_invoices import LoopbackInvoices

Own = Callable[..., GatewayProcess]
ONE = 25_000
"""What fal bills for a small picture, in micro-dollars."""


def body(prompt: str) -> dict[str, object]:
    return {"model": "flux-dev", "inputs": {"prompt": prompt, "size": "128x128"}}


def days() -> tuple[str, ...]:
    """Yesterday to tomorrow: midnight may come while the test runs."""
    now = datetime.now(UTC)
    first, last = now - timedelta(days=1), now + timedelta(days=1)
    return "--from", f"{first:%Y-%m-%d}", "--to", f"{last:%Y-%m-%d}"


def reconcile(gateway: GatewayProcess, *arguments: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and what is said."""
    ended = gateway.command(
        "billing", "reconcile", "--provider", "fal", "--fetch", *days(), "--json", *arguments
    )
    assert ended.returncode in (0, 1), ended.stderr
    return ended.returncode, json.loads(ended.stdout)


def differ(found: dict[str, Any]) -> set[tuple[str, str, int]]:
    """Kind, job and micro-dollars of each difference."""
    return {(one["kind"], one["jobId"], one["differenceMicros"]) for one in found["differences"]}


def billed_to_us(gateway: GatewayProcess) -> int:
    """What the ledger says that fal bills."""
    return int(
        gateway.query(
            "select coalesce(sum(amount_micros), 0) from ledger_entry where ledger_account = 'cost:fal'"
        )[0][0]
    )


@pytest.mark.slow
def test_fals_bill_is_compared_by_attempt_and_put_right(own_gateway: Own) -> None:
    with LoopbackFal() as fal, LoopbackInvoices(fal, page=2) as bill:
        gateway = own_gateway(**fal.env(), **bill.env()).start()
        good = [gateway.generate(body(f"good {number}")).json()["jobId"] for number in range(3)]
        assert reconcile(gateway) == (0, {"differences": [], "totals": totals(3, 3 * ONE, 3 * ONE)})

        # fal bills one at another amount, one that failed here, and one whose acceptance was lost.
        other = gateway.generate(body("other")).json()["jobId"]
        bill.bill(fal.invoices("other")[0], units="2")
        fal.fail("job", "image_html")
        failed = gateway.generate(body("failed")).json()["jobId"]
        fal.fail("submit", "lost")
        unknown = gateway.generate(body("unknown")).json()["jobId"]
        bill.bill(fal.invoices("unknown")[0], units="1")
        assert [gateway.job(one)["status"] for one in (other, failed, unknown)] == [
            "completed",
            "failed",
            "unknown",
        ]

        wrong = {
            ("amount_differs", other, ONE),
            ("failed_but_billed", failed, ONE),
            ("unknown_attempt", unknown, ONE),
        }
        code, found = reconcile(gateway)
        assert (code, differ(found), found["totals"]["differ"]) == (1, wrong, 3)
        assert found["totals"]["theirsMicros"] == 7 * ONE
        assert billed_to_us(gateway) == 4 * ONE  # it only read

        # Beside the running gateway, which enters it.
        code, found = reconcile(gateway, "--apply")
        assert (code, differ(found), found["totals"]["entered"]) == (1, wrong, 3)
        assert billed_to_us(gateway) == 7 * ONE
        gateway.check_books()
        gateway.done("billing", "verify")
        code, again = reconcile(gateway, "--apply")
        assert (code, again["differences"], again["totals"]["entered"]) == (0, [], 0)

        # The lost one is taken up as the report says: its cost is booked now, and what was booked in its
        # place goes.
        (lost,) = (one for one in found["differences"] if one["kind"] == "unknown_attempt")
        gateway.done(*lost["command"].split()[1:])
        assert gateway.job(unknown)["status"] == "completed"
        code, found = reconcile(gateway, "--apply")
        assert (code, differ(found)) == (1, {("amount_differs", unknown, -ONE)})
        assert (reconcile(gateway)[0], billed_to_us(gateway)) == (0, 7 * ONE)
        gateway.check_books()
        gateway.done("billing", "verify")
        assert good
        assert fal.violations == []
        assert bill.violations == []


def totals(lines: int, ours: int, theirs: int) -> dict[str, Any]:
    return {
        "lines": lines, "repeated": 0, "withoutCost": 0, "attempts": lines, "pending": 0, "unfinished": 0,
        "oursMicros": ours, "theirsMicros": theirs, "differenceMicros": theirs - ours, "differ": 0, "kinds": {},
    }  # fmt: skip


@pytest.mark.slow
def test_with_no_gateway_running_it_is_put_right_too(own_gateway: Own) -> None:
    with LoopbackFal() as fal, LoopbackInvoices(fal) as bill:
        gateway = own_gateway(**fal.env(), **bill.env()).start()
        job = gateway.generate(body("alone")).json()["jobId"]
        gateway.stop()
        bill.bill(fal.jobs[0], units="3")
        assert differ(reconcile(gateway, "--apply")[1]) == {("amount_differs", job, 2 * ONE)}
        assert reconcile(gateway) == (0, {"differences": [], "totals": totals(1, 3 * ONE, 3 * ONE)})
        gateway.check_books()


@pytest.mark.slow
def test_a_jobs_money_is_shown_to_admins_from_quote_to_bill(paid: GatewayProcess, fal: LoopbackFal) -> None:
    job = paid.generate(body("its money")).json()
    assert "providerCost" not in job
    assert "requestId" not in job["attempts"][0]
    seen = paid.http.get(f"/api/admin/jobs/{job['jobId']}").json()
    assert (seen["quote"]["costMicros"], seen["costMicros"], seen["providerCostMicros"]) == (
        30_000,
        30_000,
        ONE,
    )
    assert (seen["providerCost"], seen["listedCost"], seen["margin"]) == (0.025, 0.025, 0.005)
    (attempt,) = seen["attempts"]
    (invoice,) = fal.invoices("its money")
    assert (attempt["requestId"], attempt["providerCostMicros"]) == (invoice.id, ONE)
    assert {**seen, "attempts": job["attempts"]}.items() >= {
        name: value for name, value in job.items() if name not in ("images", "imageUrl")
    }.items()
    shown = paid.done("jobs", "show", job["jobId"])
    for line in (
        "  quoted     0.03 USD, at most 0.03",
        "  charged    0.03 USD",
        "  billed us  0.025 USD",
        "  margin     0.005 USD",
    ):
        assert line in shown.splitlines()
    assert f"attempt 1  succeeded  fal-ai/flux/dev  request {invoice.id}  0.025 USD" in shown


@pytest.mark.slow
def test_a_provider_that_counts_more_than_our_list_is_told(own_gateway: Own) -> None:
    with LoopbackFal() as fal:
        fal.counts_for = 2
        gateway = own_gateway(**fal.env()).start()
        job = gateway.generate(body("twice")).json()["jobId"]
        seen = gateway.http.get(f"/api/admin/jobs/{job}").json()
        assert (seen["providerCostMicros"], seen["listedCostMicros"]) == (2 * ONE, ONE)
        assert (seen["billableUnits"], seen["marginMicros"]) == (2, -20_000)
        assert "  billed us  0.05 USD (listed 0.025)" in gateway.done("jobs", "show", job).splitlines()
        (row,) = gateway.http.get("/api/admin/billing/variance").json()["rows"]
        assert (row["provider"], row["model"], row["percent"], row["reported"]) == (
            "fal",
            "flux-dev",
            100,
            True,
        )
        told = gateway.command("billing", "variance")
        assert told.returncode == 1
        assert re.search(r"fal +flux-dev +1 +0.05 +0.025 +0.025 +\+100.0", told.stdout)
        # A day later it is in the log.
        gateway.stop()
        gateway.change("update usage_day set day = day - 1")
        gateway.start()
        line = '"level": "warning", "logger": "gateway.variance", "event": "fal billed 0.05 USD for flux-dev'
        until("it is in the log", lambda: line in gateway.log.read_text())
