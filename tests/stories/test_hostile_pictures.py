"""What says that it is a picture and is not: refused in time, with little memory, and nothing is spent."""

import base64
import os
import re
import time
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess
from support.hostile_pictures import HOSTILE

pytestmark = pytest.mark.slow

KINDS = (
    "PNG cut in half",
    "12000 x 12000",
    "a text bomb",
    "half a JPEG and a whole one",
    "PNG after a page",
    "svg",
    "a program",
    "tiff",
    "animated webp",
    "20000 x 20000 by its header",
)


def peak_mib(gateway: GatewayProcess) -> float:
    """The most memory that a process of the server had."""
    assert gateway.process is not None
    found = []
    for folder in Path("/proc").iterdir():
        # Its workers are in its session; the engine, which has torch in it, is in one of its own.
        if folder.name.isdecimal() and _session(folder) == gateway.process.pid:
            peak = re.search(r"VmHWM:\s+(\d+) kB", (folder / "status").read_text())
            found.append(int(peak[1]) / 1024 if peak else 0)
    assert len(found) > 1
    return max(found)


def _session(folder: Path) -> int:
    try:
        return os.getsid(int(folder.name))
    except ProcessLookupError:
        return 0  # it ended just now


@pytest.mark.parametrize("name", KINDS)
def test_a_hostile_picture_costs_nothing(name: str, gateway: GatewayProcess) -> None:
    data = HOSTILE[name]
    jobs = gateway.query("select count(*) from job")
    started = time.monotonic()
    upload = gateway.http.post("/api/uploads", content=data, headers={"Content-Type": "image/png"})
    assert time.monotonic() - started < 2
    assert (upload.status_code, upload.json()["code"]) == (422, "invalid_upload")
    url = "data:image/png;base64," + base64.b64encode(data).decode()
    started = time.monotonic()
    asked = gateway.generate({"model": "embedded-mini", "inputs": {"prompt": "x", "image_url": url}})
    assert time.monotonic() - started < 2
    assert (asked.status_code, asked.json()["code"]) == (422, "invalid_inputs")
    assert [fault["pointer"] for fault in asked.json()["errors"]] == ["/inputs/image_url"]
    assert gateway.query("select count(*) from job") == jobs


def test_the_server_itself_stays_small(gateway: GatewayProcess) -> None:
    assert peak_mib(gateway) < 512
