"""An account that pays by a price list: set by an admin, heeded in estimate and job, refused when it is gone."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml
from support.closed_app import admin_and_ann, closed_app

BODY = {"model": "flux-dev", "inputs": {"prompt": "x", "size": "1024x1024"}}
REGISTRY = Path(__file__).parents[2] / "registry" / "models.yaml"


class World:
    """An admin and Ann on one gateway, whose registry has a price list."""

    def __init__(self, admin: httpx.AsyncClient, ann: httpx.AsyncClient, account_id: str, file: Path) -> None:
        self.admin, self.ann, self.account_id, self.file = admin, ann, account_id, file

    async def set(self, name: str | None) -> httpx.Response:
        return await self.admin.patch(f"/api/admin/accounts/{self.account_id}", json={"priceList": name})

    async def estimate(self) -> httpx.Response:
        return await self.ann.post("/api/images/estimate", json=BODY)

    async def without_lists(self) -> None:
        self.file.write_text(REGISTRY.read_text())
        assert (await self.admin.post("/api/admin/registry/reload", json={})).status_code == 200


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    rows = yaml.safe_load(REGISTRY.read_text())
    rows["price_lists"] = {
        "partner": {
            "about": "a partner",
            "percent_off": 5,
            "models": {"flux-dev": {"per_megapixel": "0.028"}},
        }
    }
    file = tmp_path / "models.yaml"
    file.write_text(yaml.safe_dump(rows, sort_keys=False))
    env = {"GATEWAY_REGISTRY": str(file), "FAL_KEY": "id:secret", "FAL_QUEUE_URL": "http://127.0.0.1:9"}
    async with closed_app(tmp_path, **env) as app, admin_and_ann(app, tier="premium") as (admins, anns, ann):
        yield World(admins, anns, ann, file)


async def test_its_prices_are_those_of_the_account(world) -> None:
    assert (await world.estimate()).json()["costMicros"] == 30_000
    assert (await world.set("partner")).json()["priceList"] == "partner"
    assert (await world.ann.get("/api/account")).json()["priceList"] == "partner"
    assert (await world.estimate()).json()["costMicros"] == 28_000
    job = (
        await world.ann.post("/api/images/generate", json=BODY, headers={"Prefer": "respond-async"})
    ).json()
    assert job["quote"]["costMicros"] == 28_000
    # Whatever else is changed, it stays; null takes it away.
    await world.admin.patch(f"/api/admin/accounts/{world.account_id}", json={"tier": "normal"})
    assert (await world.ann.get("/api/account")).json()["priceList"] == "partner"
    assert (await world.set(None)).json()["priceList"] is None
    assert (await world.estimate()).json()["costMicros"] == 30_000


async def test_one_that_is_not_there_cannot_be_set(world) -> None:
    answer = await world.set("parnter")
    assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body")
    assert answer.json()["errors"] == [
        {
            "pointer": "/priceList",
            "code": "not_allowed",
            "message": "the registry has no price list 'parnter'",
            "allowed": "partner",
        }
    ]


async def test_one_that_is_gone_is_no_reason_to_charge_something_else(world) -> None:
    await world.set("partner")
    await world.without_lists()
    for path in ("/api/images/estimate", "/api/images/generate"):
        answer = await world.ann.post(path, json=BODY)
        assert (answer.status_code, answer.json()["code"]) == (503, "price_list_missing")
        assert "no price list 'partner'" in answer.json()["detail"]
    assert (await world.ann.get("/api/jobs")).json()["jobs"] == []
