"""Requests are counted by the template of their route, whatever their path is."""

from pathlib import Path

import httpx
from support.closed_app import client, closed_app
from support.scraped import Scraped


async def scrape(http: httpx.AsyncClient) -> Scraped:
    return Scraped((await http.get("/metrics")).text)


async def test_a_route_is_its_template(api: httpx.AsyncClient) -> None:
    for number in range(5):
        await api.get(f"/api/jobs/job_{number}")
        await api.get(f"/nowhere/{number}")
    await api.get("/api/models")
    await api.post("/api/models", json={})
    await api.get("/api/models", headers={"Host": "evil.example.org"})
    found = await scrape(api)
    assert found.all("gateway_http_requests_total") == {
        ("GET", "/api/jobs/{job_id}", "404"): 5,
        ("GET", "/api/models", "200"): 1,
        ("GET", "other", "404"): 5,
        ("POST", "other", "405"): 1,
        ("GET", "other", "403"): 1,
    }
    assert found.total("gateway_http_request_seconds_count") == 13
    found = await scrape(api)
    assert found.value("gateway_http_requests_total", route="/metrics", status="200") == 1


async def test_who_is_refused_is_counted_too(tmp_path: Path) -> None:
    token = "t" * 32
    async with closed_app(tmp_path, GATEWAY_METRICS_TOKEN=token) as app:
        async with client(app) as nobody:
            await nobody.get("/api/jobs")
            await nobody.get("/metrics")
        async with client(app, token) as http:
            found = await scrape(http)
    assert found.all("gateway_http_requests_total") == {
        ("GET", "/api/jobs", "401"): 1,
        ("GET", "/metrics", "401"): 1,
    }
