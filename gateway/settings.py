"""Settings: environment variables, each with its default, its meaning and where its value came from.

`SETTINGS` is the list that `gateway config` prints and that `docs/settings.md` must hold (a
test compares them). Nothing is read at import; `load_settings` is the only reader.
"""

import os
import re
from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from ipaddress import ip_address
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

__all__ = ["SETTINGS", "Setting", "Settings", "SettingsError", "load_settings", "show_settings"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")
LOCAL = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # every address, this machine's own among them
PUBLIC_URL = re.compile(r"https?://[^/@?#\s]+(/[^?#\s]*)?")
BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,62}")
HOST_NAME = re.compile(r"[A-Za-z0-9._-]+|[0-9A-Fa-f]*:[0-9A-Fa-f]*:[0-9A-Fa-f:.]*")


class SettingsError(Exception):
    """A setting has a value that cannot be used; the message says which and what would be right."""


class Setting(Struct, frozen=True, kw_only=True):
    """One environment variable."""

    name: str
    default: str
    about: str
    secret: bool = False


SETTINGS = (
    Setting(name="GATEWAY_HOST", default="127.0.0.1",
            about="Address to listen on; any but a loopback one requires API keys"),
    Setting(name="GATEWAY_PORT", default="8000", about="Port to listen on"),
    Setting(name="GATEWAY_WORKERS", default="1", about="Server processes; 1 with SQLite"),
    Setting(name="GATEWAY_DATA_DIR", default="./data",
            about="Folder of the database, images, the engine's files"),
    Setting(name="GATEWAY_DATABASE_URL", default="", secret=True,
            about="sqlite:///path; gateway.db in the data folder"),
    Setting(name="GATEWAY_STORAGE_URL", default="",
            about="file:///path or s3://bucket/prefix for images; the data folder's own store"),
    Setting(name="GATEWAY_REGISTRY", default="", about="Path of a models.yaml; the shipped one"),
    Setting(name="GATEWAY_TEMPLATES_DIR", default="",
            about="Folder of more templates, beside the shipped ones"),
    Setting(name="GATEWAY_MARKUP", default="",
            about="Price of a model without one = its cost times this; none: such a model is an error"),
    Setting(name="GATEWAY_AUTH", default="",
            about="open: whoever calls is the operator; required: an API key. Without it: open on loopback"),
    Setting(name="GATEWAY_API_KEY", default="", secret=True,
            about="What commands send, to GATEWAY_PUBLIC_URL; without it they call this machine's gateway"),
    Setting(name="GATEWAY_PUBLIC_URL", default="",
            about="How clients reach the gateway, for links; from host and port"),
    Setting(name="GATEWAY_ALLOWED_HOSTS", default="",
            about="More Host names to answer to, with commas; loopback names always"),
    Setting(name="GATEWAY_FETCH_ALLOW", default="",
            about="host:port pairs, with commas, that a user's URL may reach although private or plain HTTP"),
    Setting(name="GATEWAY_INPUT_BUCKETS", default="",
            about="Buckets, with commas, that s3:// inputs may name; any caller can read them"),
    Setting(name="GATEWAY_SYNC_WAIT_S", default="30",
            about="Seconds a request waits for its images before it gets 202"),
    Setting(name="GATEWAY_JOB_TIMEOUT_S", default="1800", about="Seconds a job may take in all"),
    Setting(name="GATEWAY_SHUTDOWN_GRACE_S", default="30",
            about="Seconds that a stop waits for requests under way"),
    Setting(name="GATEWAY_ENGINE", default="",
            about="host:port of a diffusers engine elsewhere; `gateway serve` starts its own"),
    Setting(name="GATEWAY_ENGINE_TOKEN", default="", about="That engine's token", secret=True),
    Setting(name="GATEWAY_LOG_LEVEL", default="info", about="debug, info, warning or error"),
    Setting(name="DIFFUSERS_TARGET", default="",
            about="local: the models of every GPU tier run on this machine's engine; else they run on Modal"),
    Setting(name="DIFFUSERS_LEVERS", default="",
            about="Speed levers of engines, with commas: channels_last, compile, autotune; not measured yet"),
    Setting(name="DIFFUSERS_A10G_GPU", default="",
            about="Modal's GPU of the tier A10G, read at `gateway backend deploy`; the tier's name"),
    Setting(name="DIFFUSERS_A10G_MAX_CONTAINERS", default="1", about="Containers of the tier A10G at most"),
    Setting(name="DIFFUSERS_A10G_SCALEDOWN", default="300",
            about="Seconds that an idle container of it stays"),
    Setting(name="DIFFUSERS_A10G_TIMEOUT", default="1800", about="Seconds that a job on it may run"),
    Setting(name="DIFFUSERS_L40S_GPU", default="",
            about="Modal's GPU of the tier L40S, read at `gateway backend deploy`; the tier's name"),
    Setting(name="DIFFUSERS_L40S_MAX_CONTAINERS", default="1", about="Containers of the tier L40S at most"),
    Setting(name="DIFFUSERS_L40S_SCALEDOWN", default="300",
            about="Seconds that an idle container of it stays"),
    Setting(name="DIFFUSERS_L40S_TIMEOUT", default="1800", about="Seconds that a job on it may run"),
    Setting(name="HF_TOKEN", default="", about="The Hugging Face hub's token", secret=True),
    Setting(name="FAL_KEY", default="", about="fal.ai's key", secret=True),
    Setting(name="FAL_QUEUE_URL", default="https://queue.fal.run", about="fal.ai's queue"),
    Setting(name="FAL_REST_URL", default="https://rest.fal.ai", about="fal.ai's REST API, for uploads"),
    Setting(name="FAL_CDN_URL", default="https://v3.fal.media", about="fal.ai's file store"),
    Setting(name="MODAL_TOKEN_ID", default="", about="Modal's token", secret=True),
    Setting(name="MODAL_TOKEN_SECRET", default="", about="Modal's token secret", secret=True),
    Setting(name="MODAL_ENVIRONMENT", default="", about="Modal's environment that has the backend"),
    Setting(name="MODAL_SERVER_URL", default="", about="Another control plane than Modal's"),
    Setting(name="AWS_ACCESS_KEY_ID", default="",
            about="S3's key; without it inputs are read unsigned, and the store by this machine's role"),
    Setting(name="AWS_SECRET_ACCESS_KEY", default="", about="S3's secret", secret=True),
    Setting(name="AWS_SESSION_TOKEN", default="", about="S3's session token", secret=True),
    Setting(name="AWS_REGION", default="", about="S3's region; us-east-1"),
    Setting(name="AWS_ENDPOINT_URL", default="", about="Another S3 server than AWS's"),
)  # fmt: skip


class Settings(Struct, frozen=True, kw_only=True):
    """The settings, typed. Durations are seconds."""

    host: str
    port: int
    workers: int
    data_dir: Path
    database_url: str
    storage_url: str
    registry: Path | None
    templates_dir: Path | None
    markup: Decimal | None
    auth: Literal["open", "required"]
    api_key: str | None
    """What commands send."""
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
    shutdown_grace_s: float
    log_level: str
    env: dict[str, str]
    """The environment as it was read, for providers' own names."""

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
    port = _integer(values, "GATEWAY_PORT", 1, 65535)
    data_dir = Path(values["GATEWAY_DATA_DIR"]).expanduser().absolute()
    database_url = values["GATEWAY_DATABASE_URL"] or f"sqlite:///{data_dir / 'gateway.db'}"
    workers = _integer(values, "GATEWAY_WORKERS", 1, 64)
    if workers > 1 and database_url.startswith("sqlite"):
        raise SettingsError("GATEWAY_WORKERS is more than 1, but SQLite has one writer: set it to 1")
    return Settings(
        host=host,
        port=port,
        workers=workers,
        data_dir=data_dir,
        database_url=database_url,
        storage_url=values["GATEWAY_STORAGE_URL"] or (data_dir / "store").as_uri(),
        registry=_path(values, "GATEWAY_REGISTRY"),
        templates_dir=_path(values, "GATEWAY_TEMPLATES_DIR"),
        markup=_markup(values["GATEWAY_MARKUP"]),
        auth=_auth(values, host),
        api_key=values["GATEWAY_API_KEY"] or None,
        public_url=_public_url(values["GATEWAY_PUBLIC_URL"]) or _own_url(host, port),
        local_url=_own_url(LOCAL.get(host, host), port),
        allowed_hosts=_hosts(values["GATEWAY_ALLOWED_HOSTS"]),
        fetch_allow=tuple(_pair(text) for text in _listed(values["GATEWAY_FETCH_ALLOW"])),
        input_buckets=tuple(_bucket(text) for text in _listed(values["GATEWAY_INPUT_BUCKETS"])),
        sync_wait_s=_seconds(values, "GATEWAY_SYNC_WAIT_S"),
        job_timeout_s=_seconds(values, "GATEWAY_JOB_TIMEOUT_S", low=1),
        shutdown_grace_s=_seconds(values, "GATEWAY_SHUTDOWN_GRACE_S"),
        log_level=_one_of(values, "GATEWAY_LOG_LEVEL", ("debug", "info", "warning", "error")),
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


def _refuse_unknown(env: Mapping[str, str]) -> None:
    known = {setting.name for setting in SETTINGS}
    for name in env:
        if name.startswith("GATEWAY_") and name not in known:
            raise SettingsError(f"{name} is not a setting; `gateway config` lists them")


def _auth(values: Mapping[str, str], host: str) -> Literal["open", "required"]:
    if not values["GATEWAY_AUTH"]:
        return "open" if host in LOOPBACK else "required"
    if _one_of(values, "GATEWAY_AUTH", ("open", "required")) == "required":
        return "required"
    if host not in LOOPBACK:
        raise SettingsError(
            f"GATEWAY_AUTH=open with GATEWAY_HOST={host!r}, which is no loopback address: whoever reaches "
            "it could spend your money. Leave GATEWAY_AUTH out and make API keys: `gateway keys create`"
        )
    return "open"


def _own_url(host: str, port: int) -> str:
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _integer(values: Mapping[str, str], name: str, low: int, high: int) -> int:
    text = values[name]
    if not text.isdecimal() or len(text) > 9 or not low <= int(text) <= high:
        raise SettingsError(f"{name}={text!r} must be a whole number from {low} to {high}")
    return int(text)


def _public_url(text: str) -> str:
    if text and not PUBLIC_URL.fullmatch(text):
        raise SettingsError("GATEWAY_PUBLIC_URL must be like https://images.example.org, without a user")
    return text.rstrip("/")


def _hosts(text: str) -> tuple[str, ...]:
    names = _listed(text)
    for name in names:
        if not HOST_NAME.fullmatch(name):
            raise SettingsError(
                f"GATEWAY_ALLOWED_HOSTS: {name!r} must be a host name alone, without scheme, port or *"
            )
    return names


def _listed(text: str) -> tuple[str, ...]:
    return tuple(item.strip() for item in text.split(",") if item.strip())


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


def _seconds(values: Mapping[str, str], name: str, low: float = 0) -> float:
    try:
        seconds = float(values[name])
    except ValueError:
        seconds = -1
    if not low <= seconds <= 86_400:
        raise SettingsError(f"{name}={values[name]!r} must be seconds, from {low} to 86400")
    return seconds


def _path(values: Mapping[str, str], name: str) -> Path | None:
    return Path(values[name]).expanduser().absolute() if values[name] else None


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


def _one_of(values: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    if values[name] not in allowed:
        raise SettingsError(f"{name}={values[name]!r} must be one of {', '.join(allowed)}")
    return values[name]
