"""Links to pictures: for a while, for one picture, and made by nobody else."""

from urllib.parse import parse_qs, urlsplit

import pytest

from gateway.ambient import Ambient
from gateway.links import Links
from gateway.problems import Problem
from gateway.secret import Signer

SIGNER = Signer((b"1" * 32,), "image")


class Clock:
    now = 1_795_000_000_000


@pytest.fixture
def links() -> tuple[Links, Clock]:
    clock = Clock()
    return Links(SIGNER, "https://a.org", Ambient(now_ms=lambda: clock.now), 60), clock


def parts(link: str) -> tuple[str, str, str]:
    split = urlsplit(link)
    query = parse_qs(split.query)
    return split.path, query["expires"][0], query["signature"][0]


def test_a_link_works_for_its_time(links) -> None:
    made, clock = links
    path, expires, signature = parts(made.image("img_1"))
    assert path == "/images/img_1"
    clock.now += 59_999
    made.check("img_1", expires, signature)
    clock.now += 1
    with pytest.raises(Problem, match=r"has run out\. Ask for the job again"):
        made.check("img_1", expires, signature)


def test_for_its_picture_alone(links) -> None:
    made, _ = links
    _, expires, signature = parts(made.image("img_1"))
    for image_id, until, sign in (
        ("img_2", expires, signature),
        ("img_1", str(int(expires) + 1), signature),
        ("img_1", "soon", signature),
        ("img_1", "", signature),
        ("img_1", expires, ""),
        ("img_1", expires, Signer((b"1" * 32,), "reset").sign(f"img_1.{expires}")),
    ):
        with pytest.raises(Problem) as caught:
            made.check(image_id, until, sign)
        assert caught.value.document.code == "bad_link"


def test_one_that_is_asked_to_live_longer_does_so_everywhere(links) -> None:
    made, clock = links
    plain = Links(SIGNER, "https://a.org", Ambient(now_ms=lambda: clock.now), None)
    for one in (made, plain):
        _, expires, signature = parts(one.signed("img_1", 3600))
        assert int(expires) == clock.now // 1000 + 3600
        made.check("img_1", expires, signature)


def test_where_whoever_calls_is_the_operator_it_is_plain() -> None:
    assert Links(SIGNER, "https://a.org", Ambient(), None).image("img_1") == "https://a.org/images/img_1"
