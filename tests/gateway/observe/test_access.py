"""Who may read `/metrics`."""

from pathlib import Path

import httpx
import pytest
from support.closed_app import admin_and_ann, client, closed_app

TOKEN = "scrape-me-0123456789abcdef"


async def status(http: httpx.AsyncClient, **headers: str) -> tuple[int, str]:
    answer = await http.get("/metrics", headers=headers)
    return answer.status_code, "" if answer.status_code == 200 else str(answer.json()["code"])


async def test_without_a_token_it_is_the_admins(tmp_path: Path) -> None:
    async with closed_app(tmp_path) as app, admin_and_ann(app, tier="premium") as (admin, ann, _):
        assert await status(admin) == (200, "")
        assert await status(ann) == (403, "admin_required")
        async with client(app) as nobody:
            assert await status(nobody) == (401, "authentication_required")
            assert await status(nobody, Authorization="Bearer ") == (401, "authentication_required")
            assert await status(nobody, Authorization="Bearer None") == (401, "authentication_required")


async def test_the_token_opens_it_and_nothing_else(tmp_path: Path) -> None:
    env = {"GATEWAY_METRICS_TOKEN": TOKEN}
    async with closed_app(tmp_path, **env) as app, admin_and_ann(app, tier="premium") as (admin, ann, _):
        assert await status(admin) == (200, "")
        assert await status(ann) == (403, "admin_required")
        async with client(app) as nobody:
            assert await status(nobody) == (401, "authentication_required")
            for wrong in (TOKEN[:-1], f"{TOKEN}x", TOKEN.upper(), "é"):
                sent = {"Authorization": f"Bearer {wrong}".encode("latin-1")}
                assert (await nobody.get("/metrics", headers=sent)).status_code == 401, wrong
            assert await status(nobody, Authorization=f"Basic {TOKEN}") == (401, "authentication_required")
            assert await status(nobody, Authorization=f"bearer {TOKEN}") == (200, "")
        async with client(app, TOKEN) as scraper:
            assert await status(scraper) == (200, "")
            for path in ("/api/jobs", "/api/admin/jobs", "/api/models"):
                assert (await scraper.get(path)).status_code == 401


async def test_the_operators_key_opens_it(tmp_path: Path) -> None:
    async with closed_app(tmp_path) as app, admin_and_ann(app, tier="premium") as (admin, _, _):
        made = await admin.get("/api/admin/accounts")
        assert made.status_code == 200
        assert (await status(admin))[0] == 200


async def test_whoever_watches_calls_by_address(tmp_path: Path) -> None:
    """A gateway that was told its name answers these alone under another one."""
    env = {"GATEWAY_METRICS_TOKEN": TOKEN, "GATEWAY_PUBLIC_URL": "https://images.example.org"}
    async with closed_app(tmp_path, **env) as app, client(app, TOKEN) as http:
        by_address = {"Host": "10.1.2.3:8000"}
        for path in ("/metrics", "/health/live", "/health/ready"):
            assert (await http.get(path, headers=by_address)).status_code == 200, path
        refused = await http.get("/api/models", headers=by_address)
        assert refused.json()["code"] == "foreign_host"


async def test_in_open_mode_it_is_open_to_this_machine(api: httpx.AsyncClient) -> None:
    assert await status(api) == (200, "")
    assert await status(api, Authorization="Bearer whatever") == (200, "")
    # A page under a name that leads here reads nothing.
    assert await status(api, Host="evil.example.org") == (403, "foreign_host")


@pytest.mark.parametrize("method", ["POST", "DELETE", "PUT"])
async def test_it_is_only_read(api: httpx.AsyncClient, method: str) -> None:
    answer = await api.request(method, "/metrics", json={})
    assert answer.status_code == 405
