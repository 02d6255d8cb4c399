"""Settings: environment variables, each with its default, its meaning and where its value came from.

The list of them is in `gateway.setting_table`. Nothing is read at import; `load_settings` is the only
reader.
"""

import os
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from msgspec import Struct

from gateway.accounts.rules import MOST_RESEND_S, SignupRule
from gateway.mail.smtp_url import SmtpUrl, read_smtp_url
from gateway.network import Network, read_networks
from gateway.setting_table import SETTINGS, Setting
from gateway.setting_values import SettingsError, dollars, integer, listed, one_of, path, seconds

__all__ = ["SETTINGS", "Setting", "Settings", "SettingsError", "load_settings", "show_settings"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # every address, this machine's own among them
PUBLIC_URL = re.compile(r"https?://[^/@?#\s]+(/[^?#\s]*)?")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
MIN_SECRET = 32
MIN_TOKEN = 16
HOST_NAME = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")


class Settings(Struct, frozen=True, kw_only=True):
    """The settings, typed. Durations are seconds."""

    host: str
    port: int
    workers: int
    run_jobs: bool
    """False: other processes drive the jobs that this one lets in."""
    jobs_at_once: int
    """Jobs that one process drives."""
    migrate: Literal["start", "step"]
    data_dir: Path
    database_url: str
    storage_url: str
    registry: Path | None
    templates_dir: Path | None
    markup: Decimal | None
    auth: Literal["open", "required"]
    api_key: str | None
    """What commands send."""
    signup: SignupRule | None
    """Who may sign up; None: nobody."""
    secrets: tuple[str, ...]
    """The first signs, all verify; none: one is kept in the data folder."""
    metrics_token: str | None
    """What opens `/metrics` beside an admin's key."""
    smtp: SmtpUrl | None
    email_from: str
    premium_topup: Decimal | None
    """US dollars in one payment that make an account premium."""
    premium_days: int
    jobs_normal: int
    """Jobs that such an account may have waiting or under way."""
    jobs_premium: int
    batch_window_s: float
    batch_side_by_side: int
    """Jobs of windows that a process runs at once."""
    batch_discount: int
    """Percent."""
    link_ttl_s: int
    trusted_proxies: tuple[Network, ...]
    public_url: str
    """How clients reach the gateway."""
    local_url: str
    """How this machine reaches it."""
    allowed_hosts: tuple[str, ...]
    fetch_allow: tuple[tuple[str, int], ...]
    """Host and port: names in lower case, addresses as Python writes them."""
    input_buckets: tuple[str, ...]
    sync_wait_s: float
    job_timeout_s: float
    resend_window_s: int
    """In it equal requests without an Idempotency-Key are one; 0: none is."""
    shutdown_grace_s: float
    image_days: int
    """Days that pictures are kept after their job ended; 0: for ever."""
    upload_days: int
    """Days that uploads and fetched inputs are kept; 0: for ever."""
    log_level: str
    log_format: str
    optimizer: str
    """`provider:model`; empty: none."""
    fal_run_url: str
    fal_webhooks: Literal["auto", "on", "off"]
    env: dict[str, str]
    """The environment as it was read, for providers' own names."""

    @property
    def shared_database(self) -> bool:
        """Whether several processes may write to the database: a server's, not a file."""
        return _is_server(self.database_url)

    def __repr__(self) -> str:
        return f"Settings(host={self.host!r}, port={self.port}, data_dir={str(self.data_dir)!r})"

    def __rich_repr__(self) -> list[tuple[str, Any]]:  # what rich prints; a struct has its own
        return [("host", self.host), ("port", self.port), ("data_dir", str(self.data_dir))]


def load_settings(env: Mapping[str, str] | None = None) -> Settings:
    """Read the settings.

    Args:
        env: the environment; the process's when not given.

    Raises:
        SettingsError: a value that cannot be used.
    """
    env = dict(os.environ if env is None else env)
    values = {s.name: env.get(s.name, "").strip() or s.default for s in SETTINGS}
    _refuse_unknown(env)
    host = values["GATEWAY_HOST"]
    port = integer(values, "GATEWAY_PORT", 1, 65535)
    data_dir = Path(values["GATEWAY_DATA_DIR"]).expanduser().absolute()
    database_url = values["GATEWAY_DATABASE_URL"] or f"sqlite:///{data_dir / 'gateway.db'}"
    workers = integer(values, "GATEWAY_WORKERS", 1, 64)
    secrets = _secrets(values["GATEWAY_SECRET"])
    if not _is_server(database_url):
        if workers > 1:
            raise SettingsError(
                "GATEWAY_WORKERS is more than 1, but SQLite has one writer: set it to 1, or "
                "GATEWAY_DATABASE_URL to a PostgreSQL database"
            )
        if values["GATEWAY_RUN_JOBS"] == "no":
            raise SettingsError(
                "GATEWAY_RUN_JOBS=no leaves jobs to `gateway worker`, and a SQLite file has one process: set "
                "GATEWAY_DATABASE_URL to a PostgreSQL database"
            )
    elif not secrets:
        raise SettingsError(
            "GATEWAY_DATABASE_URL names a PostgreSQL database, which several gateways may share: set "
            "GATEWAY_SECRET to the same for all of them, for links that they sign (`openssl rand -hex 32`)"
        )
    public_url = _public_url(values["GATEWAY_PUBLIC_URL"]) or _own_url(host, port)
    smtp = _smtp(values["GATEWAY_SMTP_URL"])
    return Settings(
        host=host,
        port=port,
        workers=workers,
        run_jobs=one_of(values, "GATEWAY_RUN_JOBS", ("yes", "no")) == "yes",
        jobs_at_once=integer(values, "GATEWAY_JOBS_AT_ONCE", 1, 100_000),
        migrate="step" if one_of(values, "GATEWAY_MIGRATE", ("start", "step")) == "step" else "start",
        data_dir=data_dir,
        database_url=database_url,
        storage_url=values["GATEWAY_STORAGE_URL"] or (data_dir / "store").as_uri(),
        registry=path(values, "GATEWAY_REGISTRY"),
        templates_dir=path(values, "GATEWAY_TEMPLATES_DIR"),
        markup=_markup(values["GATEWAY_MARKUP"]),
        auth=_auth(values, host),
        api_key=values["GATEWAY_API_KEY"] or None,
        signup=_signup(values["GATEWAY_SIGNUP"]),
        secrets=secrets,
        metrics_token=_metrics_token(values["GATEWAY_METRICS_TOKEN"]),
        smtp=smtp,
        email_from=_email_from(values["GATEWAY_EMAIL_FROM"], smtp),
        premium_topup=dollars(values, "GATEWAY_PREMIUM_TOPUP_USD"),
        premium_days=integer(values, "GATEWAY_PREMIUM_DAYS", 1, 3650),
        jobs_normal=integer(values, "GATEWAY_JOBS_NORMAL", 1, 100_000),
        jobs_premium=integer(values, "GATEWAY_JOBS_PREMIUM", 1, 100_000),
        batch_window_s=seconds(values, "GATEWAY_BATCH_WINDOW_S"),
        batch_side_by_side=integer(values, "GATEWAY_BATCH_SIDE_BY_SIDE", 1, 1000),
        batch_discount=integer(values, "GATEWAY_BATCH_DISCOUNT", 0, 100),
        link_ttl_s=integer(values, "GATEWAY_LINK_TTL_S", 1, 31_536_000),
        trusted_proxies=_networks(values, "GATEWAY_TRUSTED_PROXIES"),
        public_url=public_url,
        local_url=_own_url(LOCAL.get(host, host), port),
        allowed_hosts=_hosts(values["GATEWAY_ALLOWED_HOSTS"]),
        fetch_allow=tuple(_pair(text) for text in listed(values["GATEWAY_FETCH_ALLOW"])),
        input_buckets=tuple(_bucket(text) for text in listed(values["GATEWAY_INPUT_BUCKETS"])),
        sync_wait_s=seconds(values, "GATEWAY_SYNC_WAIT_S"),
        job_timeout_s=seconds(values, "GATEWAY_JOB_TIMEOUT_S", low=1),
        resend_window_s=integer(values, "GATEWAY_RESEND_WINDOW_S", 0, MOST_RESEND_S),
        shutdown_grace_s=seconds(values, "GATEWAY_SHUTDOWN_GRACE_S"),
        image_days=integer(values, "GATEWAY_IMAGE_DAYS", 0, 36_500),
        upload_days=integer(values, "GATEWAY_UPLOAD_DAYS", 0, 36_500),
        log_level=one_of(values, "GATEWAY_LOG_LEVEL", ("debug", "info", "warning", "error")),
        log_format=one_of(values, "GATEWAY_LOG_FORMAT", ("auto", "json", "text")),
        optimizer=values["GATEWAY_OPTIMIZER"],
        fal_run_url=values["FAL_RUN_URL"],
        fal_webhooks=_fal_webhooks(values, public_url),
        env=env,
    )


def show_settings(env: Mapping[str, str] | None = None) -> list[tuple[Setting, str, str]]:
    """Each setting with its value, secrets masked, and its origin: `environment` or `default`."""
    env = os.environ if env is None else env
    rows = []
    for setting in SETTINGS:
        given = env.get(setting.name, "").strip()
        value = "(set)" if given and setting.secret else given or setting.default
        rows.append((setting, value, "environment" if given else "default"))
    return rows


def _is_server(database_url: str) -> bool:
    return database_url.partition(":")[0].partition("+")[0] in ("postgresql", "postgres")


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = {setting.name for setting in SETTINGS}
    for name in env:
        if name.startswith("GATEWAY_") and name not in known:
            raise SettingsError(f"{name} is not a setting; `gateway config` lists them")


def _auth(values: Mapping[str, str], host: str) -> Literal["open", "required"]:
    if not values["GATEWAY_AUTH"]:
        return "open" if host in LOOPBACK else "required"
    if one_of(values, "GATEWAY_AUTH", ("open", "required")) == "required":
        return "required"
    if host not in LOOPBACK:
        raise SettingsError(
            f"GATEWAY_AUTH=open with GATEWAY_HOST={host!r}, which is no loopback address: whoever reaches "
            "it could spend your money. Leave GATEWAY_AUTH out and make API keys: `gateway keys create`"
        )
    return "open"


def _fal_webhooks(values: Mapping[str, str], public_url: str) -> Literal["auto", "on", "off"]:
    wanted = one_of(values, "FAL_WEBHOOKS", ("auto", "on", "off"))
    if wanted != "on":
        return "auto" if wanted == "auto" else "off"
    url = urlsplit(public_url)
    if url.scheme != "https" and url.hostname not in LOOPBACK:
        raise SettingsError("FAL_WEBHOOKS=on needs a GATEWAY_PUBLIC_URL with https: what fal calls is secret")
    return "on"


def _signup(text: str) -> SignupRule | None:
    rules = {
        "verified": SignupRule(),
        "open": SignupRule(verified=False),
        "invite": SignupRule(invited=True),
        "nobody": None,
    }
    if text in rules:
        return rules[text]
    kind, _, domains = text.partition(":")
    names = listed(domains.lower())
    if kind != "domains" or not names or not all("." in name and HOST_NAME.fullmatch(name) for name in names):
        raise SettingsError(
            f"GATEWAY_SIGNUP={text!r} must be verified, open, invite, nobody, or domains:a.org,b.org"
        )
    return SignupRule(domains=names)


def _secrets(text: str) -> tuple[str, ...]:
    secrets = listed(text)
    if any(len(secret) < MIN_SECRET for secret in secrets):
        raise SettingsError(
            f"GATEWAY_SECRET: each secret has {MIN_SECRET} characters or more: `openssl rand -hex 32`"
        )
    return secrets


def _metrics_token(text: str) -> str | None:
    if text and (len(text) < MIN_TOKEN or not text.isascii() or " " in text):
        raise SettingsError(
            f"GATEWAY_METRICS_TOKEN has {MIN_TOKEN} characters or more, and no blank: `openssl rand -hex 32`"
        )
    return text or None


def _smtp(text: str) -> SmtpUrl | None:
    try:
        return read_smtp_url(text) if text else None
    except ValueError as error:  # the URL has a password: it is not repeated
        raise SettingsError(f"GATEWAY_SMTP_URL cannot be read: {error}") from None


def _email_from(text: str, smtp: SmtpUrl | None) -> str:
    if text and not re.fullmatch(r"(?:[^<>@\r\n]*<)?[^<>@\s]+@[A-Za-z0-9.-]+>?", text):
        raise SettingsError(f"GATEWAY_EMAIL_FROM={text!r} must be like 'Images <images@example.org>'")
    if not text and smtp is not None:
        raise SettingsError("GATEWAY_SMTP_URL is set, but not GATEWAY_EMAIL_FROM: mails need a sender")
    return text or "image-gateway@localhost"


def _networks(values: Mapping[str, str], name: str) -> tuple[Network, ...]:
    try:
        return read_networks(listed(values[name]))
    except ValueError as error:
        raise SettingsError(f"{name}: {error}; write addresses or networks like 10.0.0.0/8") from error


def _own_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _public_url(text: str) -> str:
    if text and not (PUBLIC_URL.fullmatch(text) and _has_host(text)):
        raise SettingsError("GATEWAY_PUBLIC_URL must be like https://images.example.org, without a user")
    return text.rstrip("/")


def _has_host(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return bool(parts.hostname) and parts.port != 0
    except ValueError:  # brackets that are not closed, a port that is none
        return False


def _hosts(text: str) -> tuple[str, ...]:
    names = listed(text)
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise SettingsError(
                f"GATEWAY_ALLOWED_HOSTS: {name!r} must be a host name alone, without scheme, port or *"
            )
    return names


def _pair(text: str) -> tuple[str, int]:
    """`Store.internal:9000` as `("store.internal", 9000)`, `[::1]:80` as `("::1", 80)`."""
    host, colon, port = text.rpartition(":")
    named = host[1:-1] if host.startswith("[") and host.endswith("]") else host
    right = colon and HOST_NAME.fullmatch(named) and (":" in named) == (host != named)
    if not right or not port.isdecimal() or len(port) > 5 or not 0 < int(port) < 65536:
        raise SettingsError(f"GATEWAY_FETCH_ALLOW: {text!r} must be host:port, like store.internal:9000")
    try:
        return str(ip_address(named)), int(port)
    except ValueError:  # a name
        return named.lower(), int(port)


def _bucket(name: str) -> str:
    if not BUCKET.fullmatch(name):
        raise SettingsError(f"GATEWAY_INPUT_BUCKETS: {name!r} must be the name of a bucket alone")
    return name


def _markup(text: str) -> Decimal | None:
    if not text:
        return None
    try:
        markup = Decimal(text)
    except InvalidOperation:
        markup = Decimal(-1)
    if not markup.is_finite() or markup < 1:
        raise SettingsError(f"GATEWAY_MARKUP={text!r} must be a number, 1 or more")
    return markup
