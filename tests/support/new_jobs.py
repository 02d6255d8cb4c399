"""Jobs about to be let in, of the account `ann`."""

from gateway.jobs.admit import NewJob
from gateway.jobs.records import Admitted, NewAttempt
from gateway.schemas import RoutingView

__all__ = ["CHARGE", "HOLD", "new_attempt", "new_job"]

HOLD, CHARGE = 60, 40


def new_job(number: int = 1, ceiling: int = HOLD) -> NewJob:
    """`job1` with its attempt `att1.1`, and so on."""
    return NewJob(
        id=f"job{number}",
        account_id="ann",
        end_user="u1",
        model="solo",
        registry_version="abc",
        admitted=Admitted(inputs={"prompt": "x"}, options={}, candidates=()),
        report=(),
        warnings=("careful",),
        routing=RoutingView(rule="model", why="named", requested="solo", passed_over=()),
        quote_micros=CHARGE,
        ceiling_micros=ceiling,
        deadline_at=99,
        attempt=new_attempt(number),
    )


def new_attempt(number: int = 1, tries: int = 1) -> NewAttempt:
    """`att1.1` of `job1`, and so on."""
    return NewAttempt(
        id=f"att{number}.{tries}",
        number=tries,
        candidate=tries - 1,
        call=0,
        provider="first",
        endpoint="first/make",
    )
