"""Reading jobs back: pages, owners, and what is stored comes back as it was."""

from base64 import b64encode
from collections import Counter

import pytest
from msgspec import structs
from sqlalchemy import update
from support.people import premium
from support.scripted_provider import done, picture
from support.small_registry import small_catalog

from gateway.accounts import rows
from gateway.accounts.principals import OPERATOR
from gateway.db.tables import job
from gateway.jobs import queries
from gateway.media.references import shown_inputs
from gateway.schemas import GenerateRequest
from providers.base import MediaRef

pytestmark = pytest.mark.every_database


async def three_jobs(world) -> list[str]:
    """Three jobs of the same millisecond."""
    at = world.core.ambient.now_ms()
    world.core.ambient = type(world.core.ambient)(now_ms=lambda: at, unique=world.core.ambient.unique)
    world.core.runner.start = lambda *_, **__: None
    return [await world.submit() for _ in range(3)]


async def test_pages_of_equal_times(world) -> None:
    jobs = await three_jobs(world)
    seen, before = [], None
    while page := await world.db.read(lambda c, b=before: queries.list_jobs(c, OPERATOR, limit=1, before=b)):
        seen.append(page[0].id)
        before = (page[0].created_at, page[0].id)
    assert seen == jobs[::-1]


async def test_pages_by_status(world) -> None:
    await three_jobs(world)
    for status, count in (("queued", 3), ("completed", 0)):
        only = queries.JobFilter(statuses=(status,))
        found = await world.db.read(lambda c, o=only: queries.list_jobs(c, OPERATOR, limit=9, only=o))
        assert len(found) == count


async def test_filters_and_counts(world) -> None:
    world.core.runner.start = lambda *_, **__: None
    at = world.core.ambient.now_ms()
    for n, (model, user) in enumerate((("solo", "u1"), ("solo", None), ("two", "u1"))):
        world.core.ambient = type(world.core.ambient)(
            now_ms=lambda n=n: at + n, unique=world.core.ambient.unique
        )
        await world.core.admission.submit(
            GenerateRequest(model=model, inputs={"prompt": "x"}, user_id=user), premium()
        )
    await world.db.write(
        lambda c: c.execute(update(job).where(job.c.created_at == at).values(status="failed"))
    )

    async def found(account_id: str | None = OPERATOR, **only: object) -> list[int]:
        """Which of the three, newest first; the counts agree."""
        wanted = queries.JobFilter(**only)
        page = await world.db.read(lambda c: queries.list_jobs(c, account_id, limit=9, only=wanted))
        counts = await world.db.read(lambda c: queries.count_jobs(c, account_id, wanted))
        assert counts == Counter(one.status for one in page)
        return [one.created_at - at for one in page]

    assert await found() == await found(None) == [2, 1, 0]
    assert await found("bob") == []
    assert await found(model="solo") == [1, 0]
    assert await found(end_user="u1") == [2, 0]
    assert await found(end_user="u1", model="solo") == [0]
    assert await found(statuses=("failed",)) == [0]
    assert await found(statuses=("failed", "queued")) == [2, 1, 0]
    assert await found(statuses=("queued",), model="solo") == [1]
    assert await found(created_from=at + 1) == [2, 1]
    assert await found(created_before=at + 1) == [0]
    assert await found(created_from=at + 1, created_before=at + 2) == [1]


async def test_another_account_sees_nothing(world) -> None:
    job_id = (await three_jobs(world))[0]
    await world.db.write(lambda c: rows.ensure_account(c, account_id="bob", name="Bob", postpaid=True, at=1))
    assert await world.db.read(lambda c: queries.list_jobs(c, "bob", limit=9)) == []
    assert await world.db.read(lambda c: queries.find_job(c, job_id, "bob")) is None
    assert (await world.db.read(lambda c: queries.find_job(c, job_id))).id == job_id


async def test_a_picture_by_its_id(world) -> None:
    world.script().answers([done()])
    job = await world.run()

    async def found(image_id: str, account: str) -> object:
        return await world.db.read(lambda c: queries.find_image(c, image_id, account))

    assert await found(job.images[0].id, OPERATOR) == job.images[0]
    assert await found(job.images[0].id, "acc_other") is None
    assert await found("img_none", OPERATOR) is None


async def test_what_was_admitted_comes_back(world) -> None:
    world.core.runner.start = lambda *_, **__: None
    url = "data:image/png;base64," + b64encode(picture()).decode()
    request = GenerateRequest(model="edit", inputs={"prompt": "x", "image_url": url, "seed": 3}, user_id="u")
    plan = world.core.plan(request)
    job_id = await world.core.admission.submit(request, premium())
    job = await world.core.job(job_id, OPERATOR)
    ref = job.admitted.candidates[0].calls[0].payload["image_url"]
    assert isinstance(ref, MediaRef)
    assert len(await world.core.media.read(ref)) == ref.size
    (call,) = plan.candidates[0].calls
    calls = (structs.replace(call, payload={**call.payload, "image_url": ref}),)
    assert job.admitted.candidates == (structs.replace(plan.candidates[0], calls=calls),)
    assert (job.admitted.inputs, plan.candidates[0].price) == (shown_inputs(request.inputs), plan.price)
    assert (job.report, job.routing, job.end_user) == (plan.report, plan.routing, "u")
    assert job.registry_version == small_catalog().version
