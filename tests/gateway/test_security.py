"""docs/security.md, row by row: what has no better place."""

import ast
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from litestar.routes import HTTPRoute
from support.closed_app import client, closed_app, litestar
from support.people import BY

from gateway.accounts.scopes import SCOPES
from gateway.core import Core
from gateway.guard import Guard

ROOT = Path(__file__).parents[2]
PACKAGES = ("billing", "gateway", "providers", "registry", "templates")


def trees() -> Iterator[tuple[Path, ast.Module]]:
    """Our own code."""
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            yield path, ast.parse(path.read_text())


@pytest.fixture
async def app(tmp_path: Path) -> AsyncIterator[Guard]:
    """A gateway that asks for API keys."""
    async with closed_app(tmp_path) as app:
        yield app


async def key_of(core: Core, *, admin: bool = False) -> tuple[str, str]:
    made = await core.accounts.create("x", tier="premium", admin=admin, postpaid=True, balance=None, by=BY)
    account_id = made.account.id
    _, key = await core.accounts.create_key(
        account_id, "x", expires_in_days=None, scopes=frozenset(SCOPES), by=BY
    )
    return account_id, key.text


def test_every_test_that_the_page_names_is_there() -> None:
    page = (ROOT / "docs" / "security.md").read_text()
    tests = "\n".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))
    named = set(re.findall(r"`(test_\w+)`", page))
    assert len(named) > 25
    assert [name for name in sorted(named) if f"def {name}(" not in tests] == []
    files = re.findall(r"`((?:tests|gateway|providers|templates)/[\w./]+)`", page)
    assert [name for name in files if not (ROOT / name).exists()] == []


async def test_nobody_gives_themselves_a_right(app) -> None:
    core = litestar(app).state.core
    account_id, key = await key_of(core)
    rights = (
        "admin",
        "tier",
        "scopes",
        "postpaid",
        "balance",
        "accountId",
        "role",
        "tierUntil",
        "account_id",
    )
    bodies = {
        "/api/auth/signup": {"email": "a@b.org", "password": "violet hammock tundra 42"},
        "/api/auth/signin": {"email": "a@b.org", "password": "violet hammock tundra 42"},
        "/api/auth/reset": {"email": "a@b.org"},
        "/api/images/generate": {"model": "embedded-mini", "inputs": {"prompt": "x"}},
    }
    async with client(app, key) as http:
        for path, body in bodies.items():
            for right in rights:
                answer = await http.post(path, json={**body, right: True})
                assert (answer.status_code, answer.json()["code"]) == (400, "invalid_body"), (path, right)
                assert answer.json()["errors"][0]["pointer"] == f"/{right}"
        for method, path in (("PATCH", f"/api/admin/accounts/{account_id}"), ("POST", "/api/admin/topup")):
            assert (await http.request(method, path, json={"admin": True})).status_code == 403
    funded = await core.accounts.find(account_id)
    assert (funded.account.admin, funded.balance.available_micros) == (False, 0)


async def test_a_session_that_a_client_brings_along_is_not_made_its_own(app) -> None:
    core = litestar(app).state.core
    eve, ann = [(await key_of(core))[0] for _ in range(2)]
    password = "violet hammock tundra 42"
    for account_id, email in ((eve, "eve@example.org"), (ann, "ann@example.org")):
        await core.office.signups.give_login(account_id, email, password, BY)
    async with client(app) as http:
        sign_in = {"password": password, "cookie": True}
        await http.post("/api/auth/signin", json={**sign_in, "email": "eve@example.org"})
        eves = http.cookies["igw_session"]
        # Eve has put her own session into Ann's browser, and Ann signs in.
        answer = await http.post("/api/auth/signin", json={**sign_in, "email": "ann@example.org"})
        assert answer.cookies["igw_session"] != eves
        assert (await http.get("/api/account")).json()["accountId"] == ann
    async with client(app, eves) as http:
        assert (await http.get("/api/account")).json()["accountId"] == eve


@pytest.mark.parametrize(
    "member", ["api_base", "base_url", "user_config", "headers", "provider", "endpoint", "url"]
)
async def test_no_body_says_where_a_providers_key_goes(app, member) -> None:
    core = litestar(app).state.core
    _, key = await key_of(core)
    value = {"api_base": "https://evil.test"}
    plain = {"model": "embedded-mini", "inputs": {"prompt": "x"}}
    async with client(app, key) as http:
        top = await http.post("/api/images/generate", json={**plain, member: value})
        assert (top.status_code, top.json()["code"]) == (400, "invalid_body")
        for part in ("inputs", "options"):
            inner = {**plain, part: {**plain.get(part, {}), member: value, "prompt": "x"}}
            answer = await http.post("/api/images/estimate", json=inner)
            assert answer.status_code == 422, answer.text
            assert f"/{part}/{member}" in [fault["pointer"] for fault in answer.json()["errors"]]


async def test_a_path_that_looks_like_another_opens_nothing(app) -> None:
    core = litestar(app).state.core
    _, key = await key_of(core)
    async with client(app, key) as http:
        for path, headers in (
            ("/health/live/../../api/admin/accounts", {}),
            ("/health/live;/api/admin/accounts", {}),
            ("/api/admin/accounts", {"Host": "gateway.test/health/live?"}),
            ("/api/admin/accounts", {"Host": "/health/live"}),
            ("/api/admin/accounts", {"X-Original-URL": "/health/live", "X-Forwarded-Path": "/health/live"}),
            ("//api/admin/accounts", {}),
            ("/API/ADMIN/ACCOUNTS", {}),
            ("/api/admin/accounts/", {}),
            ("/api/%61dmin/accounts", {}),
        ):
            answer = await http.get(path, headers=headers)
            assert answer.status_code in (400, 403, 404), (path, headers, answer.text)
            assert "accounts" not in answer.json()


async def test_no_route_takes_a_form(app) -> None:
    core = litestar(app).state.core
    _, key = await key_of(core, admin=True)
    boundary = "a" * 70
    forms = {
        f"multipart/form-data; boundary={boundary}": f"--{boundary}\r\n" * 10_000,
        "application/x-www-form-urlencoded": "model=x",
        "text/plain": '{"model": "x"}',
    }
    paths = {
        route.path_format.replace("{", "").replace("}", "")
        for route in litestar(app).routes
        if isinstance(route, HTTPRoute) and {"POST", "PATCH"} & set(route.route_handler_map)
    }
    assert len(paths) > 15
    async with client(app, key) as http:
        for path in paths:
            for media_type, body in forms.items():
                answer = await http.post(path, content=body, headers={"Content-Type": media_type})
                assert answer.status_code in (405, 415), (path, media_type, answer.text)


async def test_health_tells_no_configuration(app) -> None:
    async with client(app) as http:
        for path in ("/health/live", "/health/ready"):
            assert set((await http.get(path)).json()) <= {"status", "checks"}


def is_literal(node: ast.expr) -> bool:
    """A text as it stands, or one of two."""
    if isinstance(node, ast.IfExp):
        return is_literal(node.body) and is_literal(node.orelse)
    return isinstance(node, ast.Constant)


def test_no_sql_is_put_together() -> None:
    """Text that reaches the database is a literal: no f-string, no %, no format, no +."""
    wrong = []
    for path, tree in trees():
        # Templates know no database: their `text` sets words.
        database = path.relative_to(ROOT).parts[0] != "templates"
        for node in ast.walk(tree):
            if not database and isinstance(node, ast.Import | ast.ImportFrom):
                modules = {getattr(node, "module", None), *(alias.name for alias in node.names)}
                assert not modules & {"sqlalchemy", "sqlite3", "psycopg"}, path
            if not database or not isinstance(node, ast.Call) or not node.args:
                continue
            name = getattr(node.func, "attr", None) or getattr(node.func, "id", None)
            if name in ("text", "exec_driver_sql", "executescript") and not is_literal(node.args[0]):
                wrong.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert wrong == []


def test_no_code_of_a_users_is_run() -> None:
    """What can run code or unpickle is called nowhere; processes are started in the places listed."""
    banned = {"eval", "exec", "compile", "__import__"}
    modules = {"pickle", "marshal", "shelve", "dill", "cloudpickle"}
    starts = {
        "subprocess",
        "create_subprocess_exec",
        "Popen",
        "posix_spawn",
        "create_subprocess_shell",
        "system",
    }
    wrong, started = [], set()
    for path, tree in trees():
        place = path.relative_to(ROOT).as_posix()
        for node in ast.walk(tree):
            if isinstance(node, ast.Import | ast.ImportFrom):
                names = {alias.name.partition(".")[0] for alias in node.names}
                names |= {(getattr(node, "module", "") or "").partition(".")[0]}
                wrong += [f"{place}:{node.lineno} {name}" for name in names & modules]
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", None)
                wrong += [f"{place}:{node.lineno} {name}"] if name in banned else []
                called = getattr(node.func, "attr", None) or name
                if called in starts or getattr(getattr(node.func, "value", None), "id", None) == "subprocess":
                    started.add(place)
                for keyword in node.keywords:
                    if keyword.arg in ("shell", "trust_remote_code", "custom_pipeline"):
                        wrong.append(f"{place}:{node.lineno} {keyword.arg}")
    assert wrong == []
    assert started == {
        "gateway/backup/pg_tools.py",
        "gateway/cli/backend.py",
        "gateway/media/decode.py",
        "providers/diffusers_modal/supervisor.py",
    }


def test_a_value_is_never_a_template(tmp_path: Path) -> None:
    from templates.library import TemplateLibrary

    billboard = TemplateLibrary.load().templates["billboard"]
    nasty = "{{ 7 * 7 }}{% for i in range(9) %}x{% endfor %}{{ ''.__class__ }}"
    variables = {"headline": nasty, "background_style": nasty, "text": "both"}
    (rendered, *_) = billboard.plan(variables, {}).requests
    assert rendered.inputs["prompt"].count(nasty) == 2
    assert "49" not in rendered.inputs["prompt"]


def test_the_versions_are_pinned() -> None:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.startswith("#")]
    assert len(lines) > 100
    assert [line for line in lines if not re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!-]+", line)] == []
