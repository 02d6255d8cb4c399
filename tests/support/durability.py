"""What must hold of jobs, money, files and the provider's invoices, after whatever happened to the gateway."""

from collections import Counter
from typing import Any

from support.gateway_process import GatewayProcess, until
from support.loopback_fal import LoopbackFal

__all__ = ["Figures", "check", "settle"]

Figures = dict[str, int]

# An attempt that its provider took, by what the gateway wrote down of it.
TAKEN = "('accepted', 'succeeded', 'failed')"


def settle(gateway: GatewayProcess, fal: LoopbackFal, seconds: float = 60) -> int:
    """Wait until every job has ended, an operator settling those whose submit got no answer: as fal's invoices
    say, it was taken or it was not. How many those were.
    """
    settled = 0

    def ended() -> bool:
        nonlocal settled
        settled += sum(_settle_one(gateway, fal, job_id) for job_id in _unknown(gateway))
        return gateway.query(
            "select count(*) from job where status not in ('completed', 'failed', 'canceled')"
        ) == [(0,)]

    until("every job has ended", ended, seconds)
    return settled


def _unknown(gateway: GatewayProcess) -> list[str]:
    return [job_id for (job_id,) in gateway.query("select id from job where status = 'unknown'")]


def _settle_one(gateway: GatewayProcess, fal: LoopbackFal, job_id: str) -> int:
    """What the operator does who looks it up at fal."""
    known = {handle for (handle,) in gateway.query("select handle from attempt where handle is not null")}
    prompt = gateway.http.get(f"/api/admin/jobs/{job_id}").json()["report"]
    asked = next(row["sent"] for row in prompt if row["name"] == "prompt")
    loose = [job.id for job in fal.invoices(asked) if not any(job.id in handle for handle in known)]
    how, body = ("adopt", {"requestId": loose[0]}) if loose else ("fail", {})
    answer = gateway.http.post(f"/api/admin/jobs/{job_id}/{how}", json=body)
    return int(answer.status_code == 200)


def check(gateway: GatewayProcess, fal: LoopbackFal, acknowledged: list[str]) -> Figures:
    """The promises, read from the database, the store and fal's invoices; the figures of them.

    Args:
        gateway: runs; every job has ended.
        fal: its invoices.
        acknowledged: the ids of jobs that a client was told of.
    """
    gateway.check_books()
    status: dict[str, str] = dict(gateway.query("select id, status from job"))
    assert set(acknowledged) <= set(status), "a job that a client was told of is gone"
    assert set(status.values()) <= {"completed", "failed", "canceled"}
    _check_money(gateway, status)
    _check_files(gateway)
    taken = gateway.query(f"select handle from attempt where status in {TAKEN} and handle is not null")
    for job in fal.jobs:
        assert sum(job.id in handle for (handle,) in taken) == 1, (
            f"fal billed {job.id}, and no attempt says so"
        )
    assert len(taken) == len(fal.jobs)
    assert fal.violations == []
    counts = Counter(status.values())
    return {
        "jobs": len(status),
        "acknowledged": len(acknowledged),
        "invoices": len(fal.jobs),
        **{name: counts[name] for name in ("completed", "failed", "canceled")},
    }


def _check_money(gateway: GatewayProcess, status: dict[str, str]) -> None:
    """One end of each hold; charged if and only if a picture was delivered."""
    holds: list[tuple[Any, ...]] = gateway.query("select job_id, status, captured_micros from hold")
    assert {job_id for job_id, *_ in holds} == set(status)
    captures = Counter(job_id for (job_id,) in gateway.query(
        "select reference from ledger_entry where kind = 'capture' and ledger_account = 'revenue'"
    ))  # fmt: skip
    pictures = Counter(job_id for (job_id,) in gateway.query("select job_id from image"))
    for job_id, ended, _ in holds:
        done = status[job_id] == "completed"
        assert ended == ("captured" if done else "released"), (job_id, status[job_id], ended)
        assert captures[job_id] == int(done)
        assert (pictures[job_id] > 0) == done


def _check_files(gateway: GatewayProcess) -> None:
    """Each row has its file. A file without a row is of a picture that was about to get one: it ends so, too.
    What a kill left half written (`name#1`) is gone with the next start, or the next try at the picture.
    """
    files = {path.name for path in (gateway.store / "images").glob("*") if path.is_file()}
    rows = {key.removeprefix("images/") for (key,) in gateway.query("select storage_key from image")}
    assert rows == files
