"""Every operation of the OpenAPI document, called with what it takes and with what it does not.

schemathesis makes the calls from the document that the gateway serves: edges of each schema, what
breaks it, and what one answer gives to the next. No answer may break, have a status or a code that the document
does not name, or another shape; and a closed operation must ask who calls.
"""

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.gateway_process import GatewayProcess, clean_environment

# Thousands of calls each: two minutes on a machine of their own, and more beside other tests.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(660)]

CHECKS = (
    "nothing_breaks",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "ignored_auth",
    "use_after_free",
)
PASSWORD = "violet hammock tundra 42"
ENDS_SESSIONS = "^/api/auth/(signout|password)$"
TESTS = Path(__file__).parent.parent


@pytest.fixture(scope="module")
def gateway(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    """Asks for keys; a normal account's jobs wait, so that thousands of calls make no picture."""
    running = GatewayProcess(
        tmp_path_factory.mktemp("every") / "data",
        GATEWAY_AUTH="required",
        GATEWAY_TRUSTED_PROXIES="127.0.0.1",
        GATEWAY_JOBS_NORMAL="100000",
    ).start()
    yield running
    running.check_books()
    running.close()


@pytest.fixture
def account(gateway: GatewayProcess) -> Callable[..., str]:
    """Makes an account; gives its id."""
    return lambda *flags: gateway.done("account", "create", "Ann", "--postpaid", *flags)


@pytest.fixture
def session(gateway: GatewayProcess, account: Callable[..., str]) -> Callable[[str], str]:
    """Signs in as an admin with that address."""

    def sign_in(email: str) -> str:
        admin = account("--admin")
        key = gateway.done("keys", "create", admin, "--scope", "admin")
        login = {"email": email, "password": PASSWORD}
        headers = {"Authorization": f"Bearer {key}"}
        path = f"/api/admin/accounts/{admin}/login"
        assert gateway.http.post(path, json=login, headers=headers).status_code == 204
        opened = gateway.http.post("/api/auth/signin", json=login)
        assert opened.status_code == 200
        return str(opened.json()["token"])

    return sign_in


def explore(gateway: GatewayProcess, folder: Path, credential: str | None, *arguments: str) -> int:
    """Call the operations as somebody; how many were called."""
    command = [sys.executable, "-m", "schemathesis.cli", "run", f"{gateway.url}/schema/openapi.json"]
    if credential is not None:
        command += ["--header", f"Authorization: Bearer {credential}"]
    ended = subprocess.run(
        [*command, "--checks", ",".join(CHECKS), "--max-examples", "8", "--seed", "1", *arguments],
        env=clean_environment(SCHEMATHESIS_HOOKS="support.operation_checks", PYTHONPATH=str(TESTS)),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    tested = re.search(r"Tested: (\d+)", ended.stdout)
    assert tested is not None, ended.stdout
    return int(tested[1])


def test_as_nobody(gateway: GatewayProcess, tmp_path: Path) -> None:
    assert explore(gateway, tmp_path, None) >= 42


def test_as_somebody(gateway: GatewayProcess, account: Callable[..., str], tmp_path: Path) -> None:
    assert explore(gateway, tmp_path, gateway.done("keys", "create", account())) >= 42


def test_as_an_admin_who_is_signed_in(
    gateway: GatewayProcess, session: Callable[[str], str], tmp_path: Path
) -> None:
    token = session("ann@example.org")
    assert explore(gateway, tmp_path, token, "--exclude-path-regex", ENDS_SESSIONS) >= 40
    # It was not locked out on the way.
    me = gateway.http.get("/api/account", headers={"Authorization": f"Bearer {token}"})
    assert me.json()["admin"] is True


def test_what_ends_a_session(gateway: GatewayProcess, session: Callable[[str], str], tmp_path: Path) -> None:
    token = session("bob@example.org")
    assert explore(gateway, tmp_path, token, "--include-path-regex", ENDS_SESSIONS) == 2
