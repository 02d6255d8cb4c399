"""`gateway billing reconcile` and `variance`, and `gateway jobs show`: what they print, and how they end."""

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection
from support.databases import copy_of, plain_engine
from support.loopback_fal import Job, LoopbackFal
from support.loopback_fal_invoices import LoopbackInvoices
from support.planted import NOON, plant

from billing.usage import DAY_MS, Ended, record_end
from gateway.cli.root import main

DAY = "2024-10-04"
Run = Callable[..., tuple[int, str, str]]
Change = Callable[[Callable[[Connection], None]], None]
EVENT = {"endpoint_id": "fal-ai/flux/dev", "timestamp": f"{DAY}T12:00:05Z", "output_units": 1}
FAILED = {"number": 3, "status": "failed", "provider_cost_micros": None, "billable_units": None}
LOST = {
    "number": 4, "status": "unknown", "handle": None, "ended_at": None, "provider_cost_micros": None,
    "billable_units": None,
}  # fmt: skip


@pytest.fixture
def change(tmp_path: Path, migrated_file: Path) -> Iterator[Change]:
    """Changes the database of the data folder."""
    engine = plain_engine(copy_of(migrated_file, tmp_path / "gateway.db"))

    def run(fn: Callable[[Connection], None]) -> None:
        with engine.begin() as connection:
            fn(connection)

    yield run
    engine.dispose()


@pytest.fixture
def run(
    change: Change, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Run:
    """The command line with its exit code, on that data folder."""

    def call(*arguments: object, **env: str) -> tuple[int, str, str]:
        for name in ("FAL_KEY", "FAL_ADMIN_KEY", "FAL_PLATFORM_URL"):
            monkeypatch.delenv(name, raising=False)
        for name, value in {"GATEWAY_DATA_DIR": str(tmp_path), "GATEWAY_PORT": "9", **env}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["gateway", *map(str, arguments)])
        code = 0
        try:
            main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return code, said.out, said.err

    return call


@pytest.fixture
def bill(tmp_path: Path) -> Callable[..., Path]:
    """Writes an export of fal's: of each request its number, and what is other than usual."""

    def write(**numbers: float) -> Path:
        rows = [EVENT | {"request_id": name, "cost_total": cost} for name, cost in numbers.items()]
        path = tmp_path / "bill.json"
        path.write_text(json.dumps({"billing_events": rows, "has_more": False}))
        return path

    return write


RECONCILE = ("billing", "reconcile", "--provider", "fal")


def test_what_agrees_ends_with_0(run: Run, change: Change, bill: Callable[..., Path]) -> None:
    change(lambda c: plant(c, {"number": 1}, {"number": 2}))
    code, out, err = run(*RECONCILE, bill(r1=0.025, r2=0.025))
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "2 rows of theirs, 2 attempts of ours: billed 0.05 USD, here 0.05 USD, 0.00 apart",
        "nothing differs",
    ]


def test_what_differs_is_told_with_what_to_do_and_ends_with_1(
    run: Run, change: Change, bill: Callable[..., Path]
) -> None:
    change(lambda c: plant(c, {"number": 1}, {"number": 2}, FAILED, LOST))
    code, out, _ = run(*RECONCILE, bill(r1=0.05, r3=0.025, r9=0.025))
    assert code == 1
    head = f"{DAY}T12:00:05Z  fal-ai/flux/dev  billed"
    assert [line.rstrip() for line in out.splitlines()] == [
        f"amount_differs {head} 0.05 USD, here 0.025 USD: 0.025  units billed 1, here 1  request r1  "
        f"attempt att_{1:032x}  job job_{1:032x}",
        "    another amount is billed than was known here",
        f"    gateway jobs show job_{1:032x}",
        f"failed_but_billed {head} 0.025 USD, here 0.00 USD: 0.025  units billed 1, here -  request r3  "
        f"attempt att_{3:032x}  job job_{3:032x}",
        "    it failed here, and is billed",
        f"    gateway jobs show job_{3:032x}",
        f"unknown_attempt {head} 0.025 USD, here 0.00 USD: 0.025  units billed 1, here -  request r9  "
        f"attempt att_{4:032x}  job job_{4:032x}",
        "    an attempt that was sent 5 s before to the same endpoint got no answer: see at the provider that it "
        "is this one, then adopt it",
        f"    gateway jobs adopt job_{4:032x} --request-id r9",
        f"missing_there {head.replace('billed', '')}billed 0.00 USD, here 0.025 USD: -0.025  "
        f"units billed -, here 1  request r2  attempt att_{2:032x}  job job_{2:032x}",
        "    it cost something here, and is not billed",
        f"    gateway jobs show job_{2:032x}",
        "",
        "kind               how many",
        "amount_differs     1",
        "failed_but_billed  1",
        "unknown_attempt    1",
        "missing_there      1",
        "3 rows of theirs, 2 attempts of ours: billed 0.10 USD, here 0.05 USD, 0.05 apart",
        "4 differ",
    ]


def test_as_json_and_as_csv(run: Run, change: Change, bill: Callable[..., Path]) -> None:
    change(lambda c: plant(c, {"number": 1}))
    code, out, _ = run(*RECONCILE, bill(r1=0.05, **{"=r9": 0.025}), "--json")
    assert code == 1
    found = json.loads(out)
    assert [(one["kind"], one["at"], one["differenceMicros"]) for one in found["differences"]] == [
        ("missing_here", f"{DAY}T12:00:05.000Z", 25_000),
        ("amount_differs", f"{DAY}T12:00:05.000Z", 25_000),
    ]
    assert found["totals"]["kinds"] == {"missing_here": 1, "amount_differs": 1}
    assert found["totals"]["theirsMicros"] == 75_000
    code, out, err = run(*RECONCILE, bill(r1=0.05, **{"=r9": 0.025}), "--csv")
    assert code == 1
    rows = list(csv.DictReader(io.StringIO(out)))
    assert [(row["kind"], row["requestId"], row["differenceMicros"]) for row in rows] == [
        ("missing_here", "'=r9", "25000"),  # no formula
        ("amount_differs", "r1", "25000"),
    ]
    assert err.splitlines()[-1] == "2 differ"
    code, out, _ = run(*RECONCILE, bill(r1=0.025), "--json")
    assert (code, json.loads(out)["differences"]) == (0, [])


def test_very_much_is_cut_short_for_people(run: Run, bill: Callable[..., Path]) -> None:
    code, out, _ = run(*RECONCILE, bill(**{f"r{number}": 1 for number in range(60)}))
    assert (code, out.count("missing_here ")) == (1, 51)
    assert "... and 10 more; --json and --csv have them" in out


def test_what_is_tolerated(run: Run, change: Change, bill: Callable[..., Path]) -> None:
    change(lambda c: plant(c, {"number": 1}))
    for tolerance, code in [("4.77%", 0), ("4.76%", 1), ("0.00125", 0), ("0.001249", 1)]:
        assert run(*RECONCILE, bill(r1=0.02625), "--tolerance", tolerance)[0] == code, tolerance
    for wrong in ("much", "-1", "101%", "nan"):
        code, _, err = run(*RECONCILE, bill(r1=0.02625), "--tolerance", wrong)
        assert (code, "is neither US dollars" in err) == (2, True)


def test_days_that_are_asked_about(run: Run, change: Change, bill: Callable[..., Path]) -> None:
    change(lambda c: plant(c, {"number": 1}, {"number": 2, "ended_at": NOON + 11 * 3_600_000}))
    assert run(*RECONCILE, bill(r1=0.025))[0] == 0  # the second is after the last row
    assert run(*RECONCILE, bill(r1=0.025), "--from", DAY, "--to", DAY)[0] == 1
    assert run(*RECONCILE, bill(r1=1), "--from", "2024-10-05", "--to", "2024-10-06")[0] == 0


def test_modals_report(run: Run, change: Change, tmp_path: Path) -> None:
    handle = '{"provider":"diffusers","remote_id":"fc-1","extra":{"tier":"L40S"}}'
    change(lambda c: plant(c, {"number": 1, "provider": "diffusers", "endpoint": "sdxl", "handle": handle}))
    report = tmp_path / "report.csv"
    header = "Object ID,Description,Environment,Interval Start,Cost\n"
    report.write_text(f"{header}ap-1,image-gateway-diffusers,main,{DAY}T00:00:00,0.75\n")
    code, out, _ = run("billing", "reconcile", "--provider", "diffusers", report)
    assert code == 0
    assert out.splitlines()[0].startswith(
        f"overhead {DAY}T00:00:00Z  image-gateway-diffusers  billed 0.75 USD, here 0.025 USD: 0.725"
    )
    report.write_text(f"{header}ap-1,image-gateway-diffusers,main,{DAY}T00:00:00,0.01\n")
    code, out, _ = run("billing", "reconcile", "--provider", "diffusers", report)
    assert (code, f"attempts att_{1:032x}" in out) == (1, True)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--provider", "fal"), "Give files of the provider's export, or --fetch"),
        (("--provider", "fal", "--fetch", "{file}"), "Give files of the provider's export, or --fetch"),
        (("--provider", "fal", "--fetch"), "--fetch needs --from and --to|set FAL_ADMIN_KEY or FAL_KEY"),
        (("--provider", "nobody", "{file}"), "no provider 'nobody'; it has fal"),
        (
            ("--provider", "openai", "{file}"),
            "No export of a provider of the type openai_compatible is known",
        ),
        (("--provider", "diffusers", "--fetch", "--from", DAY, "--to", DAY), "cannot be asked: give files"),
        (("--provider", "fal", "{file}", "--by-day"), "--by-day goes with --fetch"),
        (("--provider", "fal", "{file}", "--json", "--csv"), "not both"),
        (("--provider", "fal", "{file}", "--from", "2024-10-05", "--to", DAY), "--from is after --to"),
        (("--provider", "fal", "{file}"), "bill.json, record 1: this is no export of fal's"),
    ],
)
def test_what_cannot_be_done_says_why(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    (tmp_path / "bill.json").write_text('{"what": 1}')
    given = (one.replace("{file}", str(tmp_path / "bill.json")) for one in arguments)
    code, out, err = run("billing", "reconcile", *given)
    assert (code, out) == (2, "")
    plain = " ".join(err.replace("│", " ").split())
    assert any(choice in plain for choice in words.split("|")), plain


# -- asked of fal, and entered ---------------------------------------------------------------------------


@pytest.fixture
def fal() -> Iterator[LoopbackInvoices]:
    with LoopbackFal() as queue, LoopbackInvoices(queue, page=2) as server:
        yield server
        assert server.violations == []


def invoice(number: int, units: int = 1, days: float = 0.5) -> Job:
    made = Job(f"r{number}", "fal-ai/flux/dev", {}, {}, None, [], units=units)
    made.at = (datetime(2024, 10, 4, tzinfo=UTC) + timedelta(days=days)).timestamp() + 5
    return made


def test_fal_is_asked_and_what_differs_is_entered(run: Run, change: Change, fal: LoopbackInvoices) -> None:
    midnight = {"number": 5, "ended_at": NOON + DAY_MS // 2 - 1}
    change(lambda c: plant(c, {"number": 1}, {"number": 2}, FAILED, LOST, midnight))
    # The last is billed just after midnight.
    fal.fal.jobs = [invoice(1, units=2), invoice(2), invoice(3), invoice(9), invoice(5, days=1.0)]
    fetch = (*RECONCILE, "--fetch", "--from", DAY, "--to", DAY, "--json")
    code, out, err = run(*fetch, **fal.env())
    assert (code, err) == (1, "")
    assert [one["kind"] for one in json.loads(out)["differences"]] == [
        "amount_differs",
        "failed_but_billed",
        "unknown_attempt",
    ]
    code, out, _ = run(*fetch, "--apply", **fal.env())
    assert code == 1  # it did differ
    assert {name: json.loads(out)["totals"][name] for name in ("entered", "enteredMicros")} == {
        "entered": 3,
        "enteredMicros": 75_000,
    }
    code, out, _ = run(*fetch, "--apply", **fal.env())
    assert (code, json.loads(out)["differences"]) == (0, [])
    assert json.loads(out)["totals"]["entered"] == 0


def test_fals_sums_by_day(run: Run, change: Change, fal: LoopbackInvoices) -> None:
    change(lambda c: plant(c, {"number": 1}, {"number": 2, "listed_cost_micros": 20_000}))
    fal.fal.jobs = [invoice(1), invoice(2)]
    days = (*RECONCILE, "--fetch", "--by-day", "--from", DAY, "--to", "2024-10-05")
    code, out, _ = run(*days, **fal.env())
    assert (code, out.splitlines()[-1]) == (0, "nothing differs")
    fal.fal.jobs += [invoice(9, units=4, days=1.5)]
    code, out, _ = run(*days, "--json", **fal.env())
    (found,) = json.loads(out)["differences"]
    assert (code, found["kind"], found["at"][:10], found["theirsMicros"]) == (
        1,
        "sum_differs",
        "2024-10-05",
        100_000,
    )
    code, _, err = run(*days, "--apply", **fal.env())
    assert (code, "is a check alone" in " ".join(err.split())) == (2, True)


def test_a_key_that_fal_refuses(run: Run, fal: LoopbackInvoices) -> None:
    fetch = (*RECONCILE, "--fetch", "--from", DAY, "--to", DAY)
    env = {"FAL_PLATFORM_URL": fal.env()["FAL_PLATFORM_URL"], "FAL_KEY": "a:b"}
    code, out, err = run(*fetch, **env)
    assert (code, out) == (2, "")
    assert err == (
        "error: fal refused the key (HTTP 403): set FAL_ADMIN_KEY to one that works and has the scope Admin "
        "(https://fal.ai/dashboard/keys)\n"
    )
    code, _, err = run(*fetch)
    assert (code, "set FAL_ADMIN_KEY or FAL_KEY" in err) == (2, True)


# -- variance, and a job ---------------------------------------------------------------------------------


def ended(cost: int, listed: int, model: str) -> Ended:
    return Ended(
        account_id="ann", model=model, provider="fal", key_id=None, end_user=None, status="completed",
        images=1, quote_micros=1, charge_micros=1, cost_micros=cost, listed_micros=listed,
    )  # fmt: skip


def test_variance(run: Run, change: Change) -> None:
    days = ("billing", "variance", "--from", DAY, "--to", DAY)
    assert run(*days)[:2] == (0, f"{DAY} to {DAY}: 0.00 USD apart where the two differ, 0 reported\n")
    change(lambda c: record_end(c, ended(1_010_000, 1_000_000, "flux-pro"), 20_000 * DAY_MS))
    assert run(*days)[0] == 0
    change(lambda c: record_end(c, ended(60_000, 30_000, "flux-dev"), 20_000 * DAY_MS))
    code, out, _ = run(*days)
    lines = [line.split() for line in out.splitlines()]
    assert (code, len(lines)) == (1, 4)
    assert lines[1] == [DAY, "fal", "flux-dev", "1", "0.06", "0.03", "0.03", "+100.0"]
    assert "gateway billing reconcile" in out
    assert "flux-pro" in run(*days, "--all")[1]
    found: dict[str, Any] = json.loads(run(*days, "--json")[1])
    assert found["total"]["reported"] == 1
    assert [row["model"] for row in found["rows"]] == ["flux-dev", "flux-pro", None]
    for last in ("2024-10-03", "0001-01-01", "9999-12-31", "soon"):
        assert run("billing", "variance", "--from", DAY, "--to", last)[0] == 2


def test_a_job_that_is_not_there(run: Run) -> None:
    code, _, err = run("jobs", "show", "job_none")
    assert (code, "There is no job job_none" in err) == (1, True)
