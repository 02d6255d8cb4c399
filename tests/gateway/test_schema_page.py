"""The API page loads nothing from elsewhere, and its files are those that were vendored."""

import hashlib
import re
from importlib import resources

import pytest

from gateway.routes.schema_page import CONTENT_SECURITY_POLICY, INIT_JS, SCHEMA_PAGE, asset

FOLDER = resources.files("gateway").joinpath("static", "swagger-ui")
LINKS = re.findall(r'(?:src|href)="([^"]*)"', SCHEMA_PAGE.decode())
ASSETS = [link.removeprefix("/schema/assets/") for link in LINKS if link.startswith("/")]
SUMS = dict(re.findall(r"^\| (\S+) \| ([0-9a-f]{64}) \|$", FOLDER.joinpath("README.md").read_text(), re.M))


def test_every_link_is_ours() -> None:
    assert ASSETS == ["swagger-ui.css", "swagger-ui-bundle.js", "init.js"]
    assert [link for link in LINKS if not link.startswith("/schema/assets/")] == ["data:,"]


def test_no_inline_script_or_style() -> None:
    page = SCHEMA_PAGE.decode()
    assert re.findall(r"<script[^>]*>([^<]+)", page) == []
    assert re.search(r"<style|\sstyle=|\son\w+=", page) is None


@pytest.mark.parametrize("name", ASSETS)
def test_what_the_page_links_to_is_served(name: str) -> None:
    found = asset(name)
    assert found is not None
    assert found[0]
    assert found[1] == f"text/{'css' if name.endswith('css') else 'javascript'}; charset=utf-8"


@pytest.mark.parametrize("name", ["", "README.md", "../swagger-ui/swagger-ui.css", "/etc/passwd", "init.js/"])
def test_nothing_else_is_served(name: str) -> None:
    assert asset(name) is None


def test_the_files_are_those_of_the_readme() -> None:
    files = {file.name: file.read_bytes() for file in FOLDER.iterdir() if file.name != "README.md"}
    assert {name: hashlib.sha256(data).hexdigest() for name, data in files.items()} == SUMS
    assert {"LICENSE", "NOTICE", "swagger-ui.css", "swagger-ui-bundle.js"} <= set(SUMS)


@pytest.mark.parametrize("name", ASSETS)
def test_no_file_fetches_from_another_host(name: str) -> None:
    data, _ = asset(name) or (b"", "")
    assert b"sourceMappingURL" not in data
    assert re.search(rb"@import|url\((?![\"']?data:)", data if name.endswith("css") else b"") is None


def test_the_schema_is_shown_to_no_validator() -> None:
    assert b"validatorUrl: null" in INIT_JS
    assert b'"/schema/openapi.json"' in INIT_JS
    assert b"http" not in INIT_JS


def test_the_policy_names_no_host() -> None:
    sources = {word.rstrip(";") for word in CONTENT_SECURITY_POLICY.split() if not word.endswith("-src")}
    assert sources - {"base-uri", "form-action", "frame-ancestors"} == {"'none'", "'self'", "data:"}
