"""Any order of what moves money: the books are right after each step, by SQL and by a second set of books."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test
from sqlalchemy import Connection
from support.money_machine import Money

pytestmark = [pytest.mark.slow, pytest.mark.every_database]

REFUSALS = {"InsufficientFunds", "BudgetExhausted", "NothingToRefund", "RefundTooLarge", "ReferenceUsed"}


@pytest.fixture
def whole(conn: Connection, database_kind: str) -> Connection:
    """In a transaction also where the driver would begin one with the first change."""
    if database_kind == "sqlite":
        conn.exec_driver_sql("begin")
    return conn


@pytest.fixture
def any_order(whole: Connection) -> Callable[[int, int], type[Money]]:
    def run(examples: int, steps: int) -> type[Money]:
        machine = type("Money", (Money,), {"conn": whole, "steps": 0, "refused": Money.refused.copy()})
        run_state_machine_as_test(
            machine,
            settings=settings(
                max_examples=examples,
                stateful_step_count=steps,
                deadline=None,
                derandomize=True,
                database=None,
                # A failure is told as it was found: to make it small takes many minutes.
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
        return machine

    return run


def test_the_books_are_right_in_any_order(any_order, database_kind, figures) -> None:
    ran = any_order(12 if database_kind == "sqlite" else 3, 30)
    figures(f"{ran.steps} steps, refused {dict(ran.refused)}")
    assert ran.steps > 40


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_books_are_right_in_any_order_for_long(any_order, database_kind, figures) -> None:
    # Most of what can go wrong is arithmetic, the same on both; a server takes longer to say so.
    ran = any_order(80 if database_kind == "sqlite" else 25, 50)
    figures(f"{ran.steps} steps, refused {dict(ran.refused)}")
    assert ran.steps > 1000
    # Each kind of refusal was met: none of the rules is idle.
    assert set(ran.refused) >= REFUSALS
