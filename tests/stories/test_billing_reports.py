"""What jobs were charged is what every report says: usage, its CSV, the ledger, the statement, the commands."""

import csv
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from support.gateway_process import GatewayProcess
from support.loopback_fal import LoopbackFal

from billing.money import column_usd, decimals_of

pytestmark = pytest.mark.slow

SIZE = {"size": "128x128"}
MONEY = re.compile(r"[^0-9.\N{MINUS SIGN}]")


@pytest.fixture(scope="module")
def closed(fal: LoopbackFal, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway that asks for keys; its books are checked."""
    folder = tmp_path_factory.mktemp("billing") / "data"
    running = GatewayProcess(folder, GATEWAY_AUTH="required", **fal.env()).start()
    yield running
    running.check_books()
    running.close()


class Customer:
    """Somebody with two keys, who has paid ten dollars."""

    def __init__(self, gateway: GatewayProcess) -> None:
        self.gateway = gateway
        self.account = gateway.done(
            "account", "create", "=Ann & Sons", "--tier", "premium", "--balance", "10"
        )
        self.keys = [
            gateway.done("keys", "create", self.account, "--name", name) for name in ("shop", "+blog")
        ]
        self.jobs: list[dict[str, Any]] = []

    def get(self, path: str, **headers: str) -> httpx.Response:
        answer = self.gateway.http.get(path, headers={"Authorization": f"Bearer {self.keys[0]}", **headers})
        assert answer.status_code == 200, answer.text
        return answer

    def run(self, model: str, key: int, user: str | None, n: int = 1) -> None:
        body = {
            "model": model,
            "inputs": {"prompt": f"picture {len(self.jobs)}", "n": n, **SIZE},
            "userId": user,
        }
        answer = self.gateway.generate(body, Authorization=f"Bearer {self.keys[key]}")
        job_id = answer.headers.get("location", "").rpartition("/")[2] or answer.json()["jobId"]
        job = self.get(f"/api/jobs/{job_id}").json()
        assert job["status"] in ("completed", "failed"), job
        self.jobs.append({**job, "key": self.keys[key][4:16]})

    def charged(self, *by: str) -> dict[tuple[Any, ...], tuple[int, int]]:
        """Micro-dollars and jobs, from the jobs themselves."""
        found: dict[tuple[Any, ...], list[int]] = defaultdict(lambda: [0, 0])
        for job in self.jobs:
            day = {"day": job["completedAt"][:10], "month": job["completedAt"][:7]}
            sums = found[tuple((job | day)[name] for name in by)]
            sums[0] += job["costMicros"]
            sums[1] += 1
        return {place: (micros, jobs) for place, (micros, jobs) in found.items()}


@pytest.fixture(scope="module")
def ann(closed: GatewayProcess, fal: LoopbackFal) -> Customer:
    """After seven jobs, of which one failed."""
    customer = Customer(closed)
    customer.run("flux-dev", 0, "u1")
    customer.run("flux-dev", 1, "=u2", n=2)
    customer.run("flux-schnell", 0, None)
    fal.fail("job", "nsfw", endpoint="fal-ai/flux/dev")
    customer.run("flux-dev", 0, "u1")
    customer.run("flux-schnell", 1, "u1")
    customer.run("flux-pro", 1, None)
    customer.run("flux-dev", 1, "=u2")
    assert [job["status"] for job in customer.jobs].count("failed") == 1
    return customer


@pytest.mark.parametrize(
    "by",
    [("day", "model"), ("month",), ("model", "key"), ("provider",), ("userId",), ("userId", "model", "key")],
)
def test_usage_is_the_sum_of_the_jobs(ann: Customer, by: tuple[str, ...]) -> None:
    found = ann.get(f"/api/billing/usage?by={','.join(by)}").json()
    rows = {tuple(row[name] for name in by): (row["costMicros"], row["jobs"]) for row in found["rows"]}
    assert rows == ann.charged(*by)
    total = found["total"]
    assert (total["costMicros"], total["jobs"]) == ann.charged()[()]
    assert (total["completed"], total["failed"], total["canceled"]) == (6, 1, 0)
    assert total["images"] == sum(len(job["images"]) for job in ann.jobs) == 7
    table = list(
        csv.DictReader(io.StringIO(ann.get(f"/api/billing/usage?by={','.join(by)}&format=csv").text))
    )
    in_table = {
        tuple((row[name].removeprefix("'") or None) for name in by): (
            int(row["costMicros"]),
            int(row["jobs"]),
        )
        for row in table
    }
    assert in_table == rows


def test_in_a_table_nothing_is_a_formula(ann: Customer) -> None:
    text = ann.get("/api/billing/usage?by=userId,key&format=csv").text
    assert "'=u2" in text
    assert "'+blog" in text
    assert not re.search(r"(^|,)[=+@]", text, re.MULTILINE)


def test_the_ledger_has_each_charge_once(ann: Customer) -> None:
    found = ann.get("/api/billing/ledger?limit=100").json()["entries"]
    captured = {entry["jobId"]: -entry["amountMicros"] for entry in found if entry["kind"] == "capture"}
    assert captured == {job["jobId"]: job["costMicros"] for job in ann.jobs if job["costMicros"]}
    balance = ann.get("/api/billing/balance").json()
    for name in ("availableMicros", "heldMicros"):
        assert sum(entry[name] for entry in found) == balance[name]
    assert balance["heldMicros"] == 0
    assert balance["month"]["costMicros"] == sum(captured.values())
    failed = next(job["jobId"] for job in ann.jobs if job["status"] == "failed")
    of_failed = ann.get(f"/api/billing/ledger?jobId={failed}").json()["entries"]
    assert [entry["kind"] for entry in of_failed] == ["release", "hold"]
    assert sum(entry["availableMicros"] for entry in of_failed) == 0


def amount(cell: str) -> int:
    text = MONEY.sub("", cell).replace("\N{MINUS SIGN}", "-")
    return round(float(text) * 1_000_000) if text else 0


def test_the_page_adds_up_as_a_reader_adds_it_up(ann: Customer) -> None:
    (month,) = {job["completedAt"][:7] for job in ann.jobs}
    page = ann.get(f"/api/billing/statements/{month}", Accept="text/html").text
    tables = [
        [re.findall(r"<t[dh][^>]*>(.*?)</t[dh]>", row) for row in re.findall(r"<tr.*?</tr>", table)]
        for table in re.findall(r"<table>.*?</table>", page, re.DOTALL)
    ]
    balance, models, keys, payments = tables
    for column in (2, 3, 4):
        *moved, closing = [amount(row[column]) for row in balance[1:]]
        assert sum(moved) == closing
    assert amount(balance[-1][4]) == 10_000_000 - ann.charged()[()][0]
    captured = next(-amount(row[4]) for row in balance if row[0] == "Charge for a job")
    for table in (models, keys):
        *rows, last = [amount(row[3]) for row in table[1:]]
        assert sum(rows) == last == captured
    assert {row[0]: amount(row[3]) for row in models[1:-1]} == {
        model: micros for (model,), (micros, _) in ann.charged("model").items()
    }
    assert [amount(row[-1]) for row in payments[1:]] == [10_000_000]
    assert "=Ann &amp; Sons" in page


def test_the_commands_say_the_same(ann: Customer, closed: GatewayProcess, tmp_path: Any) -> None:
    (month,) = {job["completedAt"][:7] for job in ann.jobs}
    cost = ann.charged()[()][0]
    mine = ("--account", ann.account)
    found = json.loads(closed.done("billing", "usage", "--by", "model,key", *mine, "--json"))
    assert found["total"]["costMicros"] == cost
    # A command asks as an admin: what it cost us is there too.
    assert found["total"]["marginMicros"] == cost - found["total"]["providerCostMicros"]
    shown = closed.done("billing", "usage", "--by", "model", *mine)
    assert re.search(rf"total +7 +{column_usd(cost, decimals_of([cost]))}", shown), shown
    table = tmp_path / "usage.csv"
    closed.done("billing", "usage", "--by", "day,userId", *mine, "--csv", str(table))
    rows = list(csv.DictReader(io.StringIO(table.read_bytes().decode(), newline="")))
    assert sum(int(row["costMicros"]) for row in rows) == cost
    assert table.read_bytes().count(b"\r\n") == len(rows) + 1
    moved = json.loads(
        closed.done("billing", "ledger", *mine, "--kind", "capture", "--limit", "100", "--json")
    )
    assert sum(entry["amountMicros"] for entry in moved["entries"]) == -cost
    assert "Payment received" in closed.done("billing", "ledger", *mine, "--limit", "100")
    page = tmp_path / "statement.html"
    closed.done("billing", "statement", month, *mine, "--html", str(page))
    assert page.read_text().startswith("<!doctype html>")
    said = closed.done("billing", "statement", month, *mine)
    assert "provisional" in said
    assert "Charge for a job" in said
    own = {"GATEWAY_API_KEY": ann.keys[0], "GATEWAY_PUBLIC_URL": closed.url}
    customers = json.loads(closed.done("billing", "usage", "--json", **own))
    assert customers["total"]["costMicros"] == cost
    assert "marginMicros" not in customers["total"]
    wrong = closed.command("billing", "usage", "--by", "color", **own)
    assert (wrong.returncode, "/query/by" in wrong.stderr, "userId" in wrong.stderr) == (2, True, True)
