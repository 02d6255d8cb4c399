"""The filters of the lists of jobs: what they take, and what they say of what they do not."""

from typing import Any

import pytest
from support.closed_app import client, closed_app, litestar
from support.people import BY

from gateway.problems import Problem
from gateway.routes.job_filter import STATUSES, read_moment, read_statuses

LISTS = ("/api/jobs", "/api/jobs/counts", "/api/admin/jobs", "/api/admin/jobs/counts")


def refusal(read: Any, *arguments: Any) -> str:
    with pytest.raises(Problem) as caught:
        read(*arguments)
    assert (caught.value.document.code, caught.value.document.status) == ("bad_request", 400)
    return caught.value.document.detail


@pytest.mark.parametrize(
    ("given", "statuses"),
    [
        ([], ()),
        (["failed"], ("failed",)),
        (["failed", "queued"], ("failed", "queued")),
        (["failed,queued", " running "], ("failed", "queued", "running")),
        (["failed,failed", "failed"], ("failed",)),
        ([",".join(STATUSES)], STATUSES),
    ],
)
def test_statuses(given, statuses) -> None:
    assert read_statuses(given) == statuses


@pytest.mark.parametrize("given", ["", "done", "failed,", "FAILED", "failed queued"])
def test_what_is_no_status(given) -> None:
    detail = refusal(read_statuses, [given])
    assert detail.startswith("status: ")
    assert all(name in detail for name in STATUSES)


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1970-01-01", 0),
        ("1970-01-01T00:00:01Z", 1000),
        ("1970-01-01T00:00:01", 1000),
        ("1970-01-01 00:00:01", 1000),
        ("1970-01-01T02:00:00+02:00", 0),
        ("1970-01-01T02:00:00 02:00", 0),
        ("2025-11-21T00:00:00.123Z", 1_763_683_200_123),
        ("0001-01-01T00:00:00+14:00", -62_135_647_200_000),
    ],
)
def test_times(text, ms) -> None:
    assert read_moment("createdAfter", text) == ms


@pytest.mark.parametrize("text", ["", "yesterday", "1763683200", "2025-02-30", "2025-11-21T25:00:00Z"])
def test_what_is_no_time(text) -> None:
    assert refusal(read_moment, "createdAfter", text).startswith("createdAfter: ")


async def test_the_lists_take_them_all(api) -> None:
    made = [
        (await api.post("/api/images/generate", json=body, headers={"Prefer": "respond-async"})).json()
        for body in (
            {"model": "embedded-mini", "inputs": {"prompt": "x"}, "userId": "u1"},
            {"inputs": {"prompt": "y"}},
        )
    ]
    first, second = (job["jobId"] for job in made)

    async def found(query: str) -> list[str]:
        lists = [(await api.get(f"{path}?{query}")).json() for path in LISTS]
        listed, admins = ([job["jobId"] for job in page["jobs"]] for page in (lists[0], lists[2]))
        assert listed == admins
        assert lists[1] == lists[3]
        assert lists[1]["total"] == len(listed) == sum(lists[1]["byStatus"].values())
        assert tuple(lists[1]["byStatus"]) == STATUSES
        return listed

    statuses = "&".join(f"status={name}" for name in STATUSES)
    assert await found("") == await found(statuses) == [second, first]
    assert await found(f"status={','.join(STATUSES)}") == [second, first]
    assert await found("status=unknown") == []
    assert await found("userId=u1") == [first]
    assert await found("userId=u1&model=embedded-mini") == [first]
    assert await found("model=never-was") == []
    assert await found(f"createdAfter={made[0]['createdAt']}") == [second, first]
    assert await found(f"createdBefore={made[0]['createdAt']}") == []


async def test_an_alias_is_its_model(api) -> None:
    models = (await api.get("/api/models")).json()["models"]
    alias, name = next((model["aliases"][0], model["id"]) for model in models if model["aliases"])
    for path in LISTS:
        both = [(await api.get(path, params={"model": spelling})).json() for spelling in (alias, name)]
        assert both[0] == both[1]


@pytest.mark.parametrize("path", LISTS)
@pytest.mark.parametrize("query", ["status=done", "createdAfter=soon", "createdBefore=1"])
async def test_a_list_says_what_it_does_not_take(api, path, query) -> None:
    answer = await api.get(f"{path}?{query}")
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_request")
    assert answer.json()["detail"].startswith(query.partition("=")[0])


async def test_one_counts_ones_own(tmp_path) -> None:
    async with closed_app(tmp_path) as app:
        core = litestar(app).state.core
        keys = []
        for _ in range(2):
            made = await core.accounts.create(
                "x", tier="normal", admin=False, postpaid=True, balance=None, by=BY
            )
            _, key = await core.accounts.create_key(made.account.id, "x", expires_in_days=None, by=BY)
            keys.append(key.text)
        async with client(app, keys[0]) as ann, client(app, keys[1]) as bob:
            assert (await ann.post("/api/images/generate", json={"inputs": {"prompt": "x"}})).is_success
            counts = [(await http.get("/api/jobs/counts")).json() for http in (ann, bob)]
    assert [found["byStatus"]["scheduled"] for found in counts] == [1, 0]
    assert [found["total"] for found in counts] == [1, 0]


async def test_the_document_has_the_filters(api) -> None:
    document = (await api.get("/schema/openapi.json")).json()
    for path in LISTS:
        query = {one["name"]: one for one in document["paths"][path]["get"]["parameters"]}
        assert {"status", "model", "userId", "createdAfter", "createdBefore"} <= query.keys()
        assert query["createdAfter"]["schema"]["format"] == "date-time"
        assert query["status"]["schema"]["items"]["enum"] == list(STATUSES)
