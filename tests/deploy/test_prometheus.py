"""A real Prometheus reads a real gateway: the dashboard shows something, and the alerts can be worked out."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import yaml
from support.alert_rules import PROMETHEUS, ROOT, alerts
from support.gateway_process import GatewayProcess, free_port, until
from support.loopback_fal import LoopbackFal

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="prometheus is not at hand"),
]

EMPTY = {
    "Attempts that failed, a minute A",
    "Endpoints left alone A",
    "HTTP 5xx, a minute A",
    "Open jobs A",
    "Tries, a minute A",
}
"""Queries with nothing to show of a gateway at which all went well and nothing is under way."""
LATER = {
    "Charged, 24 h A",
    "Margin, 24 h A",
    "Providers cost, 24 h A",
}
"""Those that may have: sums over full five minutes."""
OF_THE_MACHINE = {"DiskFull"}
"""Alerts that tell of the machine that runs the tests."""


class Prometheus:
    """A running server, which reads one gateway."""

    def __init__(self, url: str) -> None:
        self.http = httpx.Client(base_url=f"{url}/api/v1", timeout=30, trust_env=False)

    def query(self, expression: str) -> list[dict[str, Any]]:
        """What an expression is now."""
        answer = self.http.get("/query", params={"query": expression})
        assert answer.status_code == 200, answer.text
        result: list[dict[str, Any]] = answer.json()["data"]["result"]
        return result

    def alerts(self) -> dict[str, dict[str, Any]]:
        """Each alert's rule, as it stands."""
        groups = self.http.get("/rules", params={"type": "alert"}).json()["data"]["groups"]
        return {rule["name"]: rule for group in groups for rule in group["rules"]}


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """A gateway with an engine and with fal, which has run a job at each."""
    with LoopbackFal() as fal:
        running = GatewayProcess(tmp_path_factory.mktemp("watched") / "data", **fal.env()).start()
        running.engine_ready()
        for model in ("embedded-mini", "flux-schnell"):
            answer = running.generate({"model": model, "inputs": {"prompt": "a red circle"}})
            assert answer.status_code == 200, answer.text
        yield running
        running.close()


@pytest.fixture(scope="module")
def prometheus(gateway: GatewayProcess, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Prometheus with our configuration, but where the gateway is, and with less patience."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = yaml.safe_load((PROMETHEUS / "prometheus.yml").read_text("utf-8"))
    (scrape,) = config["scrape_configs"]
    del scrape["dns_sd_configs"], scrape["authorization"]
    scrape["static_configs"] = [{"targets": [f"127.0.0.1:{gateway.port}"]}]
    config["global"] = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config), "utf-8")
    shutil.copy(PROMETHEUS / "alerts.yaml", folder)
    url = f"http://127.0.0.1:{free_port()}"
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [
                "prometheus",
                f"--config.file={folder / 'prometheus.yml'}",
                f"--storage.tsdb.path={folder / 'data'}",
                f"--web.listen-address={url.removeprefix('http://')}",
            ],
            stdout=log,
            stderr=log,
        )
    server = Prometheus(url)
    try:
        until("prometheus has read the gateway twice", lambda: _reads(process, server, folder / "log"), 60)
        yield server
    finally:
        server.http.close()
        process.terminate()
        process.wait(30)


def _reads(process: "subprocess.Popen[bytes]", server: Prometheus, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    try:
        return bool(
            server.query("rate(gateway_jobs_ended_total[5m])") and server.query("count_over_time(up[1m]) > 5")
        )
    except (httpx.TransportError, AssertionError):
        return False


def test_each_panel_shows_something(prometheus: Prometheus) -> None:
    board = json.loads((ROOT / "deploy" / "grafana" / "image-gateway.json").read_text("utf-8"))
    empty = set()
    for panel in board["panels"]:
        for target in panel.get("targets", ()):
            filled = target["expr"].replace("$__rate_interval", "5m").replace("$job", "image-gateway")
            if not prometheus.query(filled.replace("$model", ".*")):
                empty.add(f"{panel['title']} {target['refId']}")
    assert empty - LATER == EMPTY


def test_what_the_jobs_cost_is_what_the_queries_say(prometheus: Prometheus, gateway: GatewayProcess) -> None:
    jobs = gateway.http.get("/api/jobs").json()["jobs"]
    (charged,) = prometheus.query("sum(max by (job, model, provider) (gateway_charged_micros_total))")
    assert float(charged["value"][1]) == sum(job["costMicros"] for job in jobs) > 0
    ended = prometheus.query('max by (model) (gateway_jobs_ended_total{outcome="completed"}) > 0')
    assert {row["metric"]["model"]: row["value"][1] for row in ended} == {
        "embedded-mini": "1",
        "flux-schnell": "1",
    }


def test_no_alert_is_near_and_none_is_broken(prometheus: Prometheus) -> None:
    found = prometheus.alerts()
    assert found.keys() == alerts().keys()
    for name, rule in found.items():
        assert (rule["health"], rule.get("lastError")) == ("ok", None), name
    assert {name for name, rule in found.items() if rule["state"] != "inactive"} - OF_THE_MACHINE == set()


def test_a_gateway_that_is_gone_is_told_of(prometheus: Prometheus, gateway: GatewayProcess) -> None:
    gateway.kill()

    def told() -> set[str]:
        return {name for name, rule in prometheus.alerts().items() if rule["state"] == "pending"}

    until("both alerts", lambda: {"GatewayDown", "ProcessDown"} <= told())
