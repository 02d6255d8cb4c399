"""When a delivery is tried again."""

import pytest

from gateway.delivery.retries import LONGEST_S, MAIL, WEBHOOK, retry_after_s

AT = 1_763_683_200_000  # Fri, 21 Nov 2025 00:00:00 GMT


def test_the_schedule_of_standard_webhooks() -> None:
    minutes, hours = 60, 3600
    pauses = [WEBHOOK.pause_s(tries, 0.0) for tries in range(1, 11)]
    assert pauses == [
        5, 5 * minutes, 30 * minutes, 2 * hours, 5 * hours, 10 * hours, 14 * hours, 20 * hours, 24 * hours, None,
    ]  # fmt: skip


def test_chance_makes_a_pause_longer_and_never_shorter() -> None:
    assert WEBHOOK.pause_s(2, 0.5) == 315
    assert WEBHOOK.pause_s(2, 1.0) == 330
    assert MAIL.pause_s(1, 0.9) == 5


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        (None, 0), ("", 0), ("120", 120), (" 7 ", 7), ("-5", 0), ("1.5", 0), ("soon", 0), ("9" * 400, LONGEST_S),
        ("Fri, 21 Nov 2025 00:01:00 GMT", 60), ("Fri, 21 Nov 2025 01:01:00 +0100", 60),
        ("Thu, 20 Nov 2025 00:00:00 GMT", 0), ("Fri, 21 Nov 2099 00:00:00 GMT", LONGEST_S),
        ("Fri, 21 Nov 2025 00:01:00 -0000", 60), ("Fri, 99 Nov 2025 00:00:00 GMT", 0), ("²", 0),
    ],
)  # fmt: skip
def test_a_retry_after_field(text, seconds) -> None:
    assert retry_after_s(text, AT) == seconds
