"""`gateway billing`: money that is moved from the command line, and books that are right or not."""

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from support.databases import plain_engine
from support.new_jobs import new_job
from support.paid_jobs import share_of

from billing import ledger
from gateway.accounts import rows
from gateway.cli.root import cli
from gateway.db.migrate import upgrade
from gateway.jobs import admit, store


@pytest.fixture
def url(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A data folder in which Ann was charged 0.04 of 100 dollars; no gateway runs."""
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path))
    monkeypatch.setenv("GATEWAY_PORT", "1")
    url = f"sqlite:///{tmp_path / 'gateway.db'}"
    upgrade(url, at=1)
    with plain_engine(url).begin() as conn:
        rows.ensure_account(conn, account_id="ann", name="Ann", postpaid=False, at=1)
        ledger.top_up(conn, account_id="ann", amount_micros=100_000_000, reference="pay1", at=1)
        admit.admit(conn, new_job(ceiling=50_000), 2)
        store.complete(conn, "job1", [share_of("job1", "att1.1", range(1), 7)], 40_000, 3)
    return url


def run(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["billing", *arguments])


@pytest.mark.slow
def test_money_is_moved(url: str) -> None:
    for arguments, words in (
        (("topup", "ann", "5", "--reference", "p2"), "104.96 USD"),
        (("credit", "ann", "1"), "105.96 USD"),
        (("payout", "ann", "5.96"), "100.00 USD"),
        (("adjust", "ann", "-10", "--note", "typo"), "90.00 USD"),
        (("refund", "job1", "0.01"), "90.01 USD"),
        (("refund", "job1", "--note", "blurred"), "90.04 USD"),
    ):
        done = run(*arguments)
        assert (done.exit_code, done.stdout.strip()) == (0, words), done.output
    shown = json.loads(run("adjust", "ann", "1", "--note", "x", "--reference", "a1", "--json").stdout)
    assert (shown["amount"], shown["reference"]) == (1, "a1")
    assert run("verify").exit_code == 0
    refused = run("refund", "job1")
    assert refused.exit_code != 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("topup", "ann", "0"), "no amount"),
        (("payout", "ann", "-5"), "No such option"),
        (("adjust", "ann", "0", "--note", "x"), "either way"),
        (("adjust", "ann", "1"), "--note"),
        (("refund", "job1", "many"), "no amount"),
    ],
)
def test_what_is_not_taken_is_told_before_anything_is_asked(arguments, words) -> None:
    done = run(*arguments)
    assert done.exit_code == 2
    assert words in done.stderr


def test_books_that_are_right(url: str) -> None:
    done = run("verify")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "all is well\n", "")
    found = json.loads(run("verify", "--json").stdout)
    assert (found["ok"], found["findings"]) == (True, [])


def test_books_that_are_not_right(url: str) -> None:
    with plain_engine(url).begin() as conn:
        conn.exec_driver_sql("update usage_day set charge_micros = 39999")
    done = run("verify")
    assert done.exit_code == 1
    for words in ("ann 0", "usage_charge", "39999 counted, 40000 in the ledger", "not well: 1 usage_charge"):
        assert words in done.stdout
    harmed = run("verify", "--json")
    found = json.loads(harmed.stdout)
    assert (harmed.exit_code, found["ok"]) == (1, False)
    assert {one["code"] for one in found["findings"]} == {"usage_charge", "usage_day", "usage_of_users"}


def test_books_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWAY_DATA_DIR", str(tmp_path / "none"))
    done = run("verify")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "error: The database file cannot be read or written" in done.stderr
    assert not (tmp_path / "none").exists()
