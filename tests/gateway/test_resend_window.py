"""The window in which equal requests without a key are one, as an admin sets it and its account meets it."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.closed_app import admin_and_ann, closed_app

BODY = {"inputs": {"prompt": "x"}}


class World:
    """An admin and Ann, whose jobs wait for their turn, on one gateway."""

    def __init__(self, admin: httpx.AsyncClient, ann: httpx.AsyncClient, account_id: str) -> None:
        self.admin, self.ann, self.account_id = admin, ann, account_id

    async def set(self, seconds: object) -> httpx.Response:
        path = f"/api/admin/accounts/{self.account_id}"
        return await self.admin.patch(path, json={"resendWindowS": seconds})

    async def send(self) -> tuple[str, bool]:
        """The job of Ann's request, and whether it is an earlier one's."""
        answer = await self.ann.post("/api/images/generate", json=BODY)
        assert answer.status_code == 202
        return answer.json()["jobId"], "idempotent-replayed" in answer.headers


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with closed_app(tmp_path) as app, admin_and_ann(app, tier="normal") as (admins, anns, ann):
        yield World(admins, anns, ann)


async def test_it_is_on_for_who_has_one(world) -> None:
    assert {(await world.send())[1] for _ in range(2)} == {False}
    assert (await world.set(60)).json()["resendWindowS"] == 60
    assert (await world.ann.get("/api/account")).json()["resendWindowS"] == 60
    first, again = await world.send(), await world.send()
    assert (first[1], again) == (False, (first[0], True))
    assert (await world.set(None)).json()["resendWindowS"] is None
    assert (await world.send())[1] is False


async def test_what_is_not_said_leaves_it(world) -> None:
    await world.set(60)
    path = f"/api/admin/accounts/{world.account_id}"
    assert (await world.admin.patch(path, json={"tier": "normal"})).json()["resendWindowS"] == 60


@pytest.mark.parametrize("seconds", [-1, 3601, "60", 1.5])
async def test_what_is_no_window(world, seconds) -> None:
    answer = await world.set(seconds)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/resendWindowS")
