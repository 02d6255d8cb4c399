"""Settings: a bad value names its variable, and no secret is ever shown."""

from decimal import Decimal
from ipaddress import ip_network
from pathlib import Path

import pytest
from rich.pretty import pretty_repr

from gateway.accounts.rules import SignupRule
from gateway.settings import SETTINGS, SettingsError, load_settings, show_settings

SECRETS = {s.name for s in SETTINGS if s.secret}


def test_defaults() -> None:
    settings = load_settings({})
    assert (settings.host, settings.port, settings.workers) == ("127.0.0.1", 8000, 1)
    assert settings.data_dir == Path("data").absolute()
    assert settings.database_url == f"sqlite:///{settings.data_dir / 'gateway.db'}"
    assert settings.storage_url == (settings.data_dir / "store").as_uri()
    assert settings.public_url == "http://127.0.0.1:8000"
    assert (settings.sync_wait_s, settings.job_timeout_s, settings.shutdown_grace_s) == (30, 1800, 30)
    assert (settings.registry, settings.templates_dir, settings.markup) == (None, None, None)
    assert settings.allowed_hosts == settings.fetch_allow == settings.input_buckets == ()


@pytest.mark.parametrize(
    ("name", "value", "attribute", "read"),
    [
        ("GATEWAY_HOST", "::1", "public_url", "http://[::1]:8000"),
        ("GATEWAY_PORT", " 1 ", "port", 1),
        ("GATEWAY_PORT", "", "port", 8000),
        ("GATEWAY_MARKUP", "1.25", "markup", Decimal("1.25")),
        ("GATEWAY_SYNC_WAIT_S", "0.5", "sync_wait_s", 0.5),
        ("GATEWAY_ALLOWED_HOSTS", "a.org, b.org,", "allowed_hosts", ("a.org", "b.org")),
        (
            "GATEWAY_FETCH_ALLOW",
            "Store:9000, 10.0.0.1:80,[0::1]:443",
            "fetch_allow",
            (("store", 9000), ("10.0.0.1", 80), ("::1", 443)),
        ),
        ("GATEWAY_INPUT_BUCKETS", "a-b, c.d_e", "input_buckets", ("a-b", "c.d_e")),
        ("GATEWAY_PUBLIC_URL", "https://a.org/img/", "public_url", "https://a.org/img"),
        ("FAL_WEBHOOKS", "", "fal_webhooks", "auto"),
        ("FAL_WEBHOOKS", "on", "fal_webhooks", "on"),
        ("FAL_WEBHOOKS", "off", "fal_webhooks", "off"),
        ("GATEWAY_API_KEY", "igw_x", "api_key", "igw_x"),
        ("GATEWAY_SIGNUP", "open", "signup", SignupRule(verified=False)),
        ("GATEWAY_SIGNUP", "invite", "signup", SignupRule(invited=True)),
        ("GATEWAY_SIGNUP", "nobody", "signup", None),
        ("GATEWAY_SIGNUP", "domains: A.org, b.org", "signup", SignupRule(domains=("a.org", "b.org"))),
        ("GATEWAY_SECRET", f"{'a' * 32}, {'b' * 40}", "secrets", ("a" * 32, "b" * 40)),
        ("GATEWAY_EMAIL_FROM", "Images <a@b.org>", "email_from", "Images <a@b.org>"),
        ("GATEWAY_PREMIUM_TOPUP_USD", "9.50", "premium_topup", Decimal("9.50")),
        ("GATEWAY_PREMIUM_DAYS", "7", "premium_days", 7),
        ("GATEWAY_JOBS_NORMAL", "3", "jobs_normal", 3),
        ("GATEWAY_JOBS_PREMIUM", "4", "jobs_premium", 4),
        ("GATEWAY_LINK_TTL_S", "60", "link_ttl_s", 60),
        (
            "GATEWAY_TRUSTED_PROXIES",
            "10.0.0.0/8, ::1",
            "trusted_proxies",
            (ip_network("10.0.0.0/8"), ip_network("::1")),
        ),
        ("GATEWAY_RUN_JOBS", "yes", "run_jobs", True),
        ("GATEWAY_JOBS_AT_ONCE", "2", "jobs_at_once", 2),
        ("GATEWAY_MIGRATE", "step", "migrate", "step"),
        ("GATEWAY_MIGRATE", "", "migrate", "start"),
        ("GATEWAY_REGISTRY", "/r/m.yaml", "registry", Path("/r/m.yaml")),
        ("GATEWAY_DATABASE_URL", "sqlite:///x.db", "database_url", "sqlite:///x.db"),
    ],
)
def test_values(name, value, attribute, read) -> None:
    assert getattr(load_settings({name: value}), attribute) == read


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("GATEWAY_PORT", "0"),
        ("GATEWAY_PORT", "65536"),
        ("GATEWAY_PORT", "-1"),
        ("GATEWAY_PORT", "80.0"),
        ("GATEWAY_PORT", "9" * 5000),
        ("GATEWAY_WORKERS", "0"),
        ("GATEWAY_WORKERS", "2"),
        ("GATEWAY_RUN_JOBS", "no"),  # on a file
        ("GATEWAY_RUN_JOBS", "false"),
        ("GATEWAY_JOBS_AT_ONCE", "0"),
        ("GATEWAY_MIGRATE", "never"),
        ("GATEWAY_AUTH", "none"),
        ("GATEWAY_AUTH", "Open"),
        ("GATEWAY_SYNC_WAIT_S", "nan"),
        ("GATEWAY_SYNC_WAIT_S", "inf"),
        ("GATEWAY_SYNC_WAIT_S", "30s"),
        ("GATEWAY_SYNC_WAIT_S", "-1"),
        ("GATEWAY_JOB_TIMEOUT_S", "0"),
        ("GATEWAY_JOB_TIMEOUT_S", "86401"),
        ("GATEWAY_SHUTDOWN_GRACE_S", "x"),
        ("GATEWAY_MARKUP", "0.9"),
        ("GATEWAY_MARKUP", "NaN"),
        ("GATEWAY_MARKUP", "two"),
        ("GATEWAY_LOG_LEVEL", "loud"),
        ("GATEWAY_PUBLIC_URL", "a.org"),
        ("GATEWAY_PUBLIC_URL", "ftp://a.org"),
        ("GATEWAY_PUBLIC_URL", "https://"),
        ("GATEWAY_PUBLIC_URL", "https://a.org/?x"),
        ("GATEWAY_PUBLIC_URL", "https://me:pass@a.org"),
        ("GATEWAY_PUBLIC_URL", "https://[::1"),
        ("GATEWAY_PUBLIC_URL", "https://a.org:port"),
        ("GATEWAY_PUBLIC_URL", "https://:80"),
        ("FAL_WEBHOOKS", "yes"),
        ("GATEWAY_ALLOWED_HOSTS", "a.org:8000"),
        ("GATEWAY_ALLOWED_HOSTS", "https://a.org"),
        ("GATEWAY_ALLOWED_HOSTS", "*"),
        ("GATEWAY_FETCH_ALLOW", "store"),
        ("GATEWAY_FETCH_ALLOW", "store:"),
        ("GATEWAY_FETCH_ALLOW", ":80"),
        ("GATEWAY_FETCH_ALLOW", "store:0"),
        ("GATEWAY_FETCH_ALLOW", "store:65536"),
        ("GATEWAY_FETCH_ALLOW", "http://store:80"),
        ("GATEWAY_FETCH_ALLOW", "*:80"),
        ("GATEWAY_FETCH_ALLOW", "::1:80"),
        ("GATEWAY_FETCH_ALLOW", "[store]:80"),
        ("GATEWAY_INPUT_BUCKETS", "s3://a"),
        ("GATEWAY_INPUT_BUCKETS", "a/b"),
        ("GATEWAY_INPUT_BUCKETS", "*"),
        ("GATEWAY_SIGNUP", "everybody"),
        ("GATEWAY_SIGNUP", "domains:"),
        ("GATEWAY_SIGNUP", "domains:a.org,*"),
        ("GATEWAY_SECRET", "short"),
        ("GATEWAY_SECRET", f"{'a' * 32},short"),
        ("GATEWAY_SMTP_URL", "http://a.org"),
        ("GATEWAY_SMTP_URL", "smtp://a.org"),  # without a sender
        ("GATEWAY_EMAIL_FROM", "Images"),
        ("GATEWAY_EMAIL_FROM", "a@b.org\nBcc: c@d.org"),
        ("GATEWAY_PREMIUM_TOPUP_USD", "0"),
        ("GATEWAY_PREMIUM_TOPUP_USD", "much"),
        ("GATEWAY_PREMIUM_DAYS", "0"),
        ("GATEWAY_JOBS_NORMAL", "0"),
        ("GATEWAY_LINK_TTL_S", "0"),
        ("GATEWAY_METRICS_TOKEN", "too short"),
        ("GATEWAY_METRICS_TOKEN", "with a blank in the middle"),
        ("GATEWAY_TRUSTED_PROXIES", "proxy.internal"),
        ("GATEWAY_TRUSTED_PROXIES", "10.0.0.1/8"),
    ],
)
def test_a_bad_value_names_its_variable(name, value) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({name: value})


SERVERS = ("postgresql://me:hush@host/db", "postgres://me:hush@host/db", "postgresql+psycopg:///db?host=/run")


@pytest.mark.parametrize("url", SERVERS)
def test_a_server_is_shared_by_gateways_with_one_secret(url) -> None:
    settings = load_settings(
        {"GATEWAY_DATABASE_URL": url, "GATEWAY_SECRET": "s" * 32, "GATEWAY_WORKERS": "4"}
    )
    assert (settings.shared_database, settings.database_url, settings.workers) == (True, url, 4)
    with pytest.raises(SettingsError, match="set GATEWAY_SECRET") as caught:
        load_settings({"GATEWAY_DATABASE_URL": url})
    assert "hush" not in str(caught.value)


@pytest.mark.parametrize("url", ["", "sqlite:///postgresql.db"])
def test_a_file_is_not(url) -> None:
    assert not load_settings({"GATEWAY_DATABASE_URL": url}).shared_database
    with pytest.raises(SettingsError, match="GATEWAY_WORKERS"):
        load_settings({"GATEWAY_DATABASE_URL": url, "GATEWAY_WORKERS": "2"})


@pytest.mark.parametrize(
    ("host", "asked", "auth"),
    [
        ("127.0.0.1", "", "open"),
        ("localhost", "open", "open"),
        ("::1", "required", "required"),
        ("0.0.0.0", "", "required"),
        ("gateway.test", "required", "required"),
        ("192.168.1.5", "", "required"),
    ],
)
def test_who_may_call(host, asked, auth) -> None:
    assert load_settings({"GATEWAY_HOST": host, "GATEWAY_AUTH": asked}).auth == auth


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "gateway.test", "192.168.1.5", "127.0.0.2"])
def test_only_loopback_may_be_open_to_whoever_calls(host) -> None:
    with pytest.raises(SettingsError, match="GATEWAY_AUTH=open"):
        load_settings({"GATEWAY_HOST": host, "GATEWAY_AUTH": "open"})


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("0.0.0.0", "http://127.0.0.1:8000"),
        ("::", "http://[::1]:8000"),
        ("gateway.test", "http://gateway.test:8000"),
    ],
)
def test_how_this_machine_reaches_it(host, url) -> None:
    assert load_settings({"GATEWAY_HOST": host, "GATEWAY_PUBLIC_URL": "https://a.org"}).local_url == url


@pytest.mark.parametrize("name", ["GATEWAY_PROT", "GATEWAY_", "GATEWAY_port"])
def test_a_name_that_is_no_setting_is_refused(name) -> None:
    with pytest.raises(SettingsError, match=name):
        load_settings({name: "1"})


def test_others_names_are_no_concern_of_ours() -> None:
    assert load_settings({"PATH": "/bin", "MY_GATEWAY_X": "1"}).env["PATH"] == "/bin"


def test_every_setting_shows_its_value_and_origin() -> None:
    rows = show_settings({"GATEWAY_PORT": "9000"})
    assert [s.name for s, _, _ in rows] == [s.name for s in SETTINGS]
    shown = {s.name: (value, origin) for s, value, origin in rows}
    assert shown["GATEWAY_PORT"] == ("9000", "environment")
    assert shown["GATEWAY_HOST"] == ("127.0.0.1", "default")


def test_the_secrets_are_those() -> None:
    assert {"FAL_KEY", "GATEWAY_ENGINE_TOKEN", "MODAL_TOKEN_SECRET", "GATEWAY_DATABASE_URL"} <= SECRETS


@pytest.mark.parametrize("name", sorted(SECRETS))
def test_a_secret_is_not_shown(name) -> None:
    values = {
        "GATEWAY_DATABASE_URL": "sqlite:///hush",
        "GATEWAY_SECRET": "hush" * 8,
        "GATEWAY_METRICS_TOKEN": "hush" * 8,
        "GATEWAY_SMTP_URL": "smtp://a:hush@b.org",
    }
    value = values.get(name, "hush")
    shown = {s.name: value for s, value, _ in show_settings({name: value})}
    assert shown[name] == "(set)"
    settings = load_settings({name: value, "GATEWAY_EMAIL_FROM": "a@b.org"})
    for text in (repr(settings), str(settings), f"{settings}", pretty_repr(settings)):
        assert "hush" not in text
