"""Where fal is, and which URLs of its replies are fal's. Pure."""

from collections.abc import Mapping
from urllib.parse import SplitResult, urlsplit

from msgspec import Struct

__all__ = ["Addresses", "read_addresses"]

DEFAULTS = {
    "FAL_QUEUE_URL": "https://queue.fal.run",
    "FAL_REST_URL": "https://rest.fal.ai",
    "FAL_CDN_URL": "https://v3.fal.media",
    "FAL_PLATFORM_URL": "https://api.fal.ai/v1",
    "FAL_OPENAPI_URL": "https://fal.ai/api/openapi",
    "FAL_JWKS_URL": "https://rest.fal.ai/.well-known/jwks.json",
}
# The second is fal's backup domain.
QUEUE_DOMAINS = ("fal.run", "falrun.com")
LOOPBACK = ("127.0.0.1", "::1", "localhost")
MOST_URL = 4000
PORTS = {"http": 80, "https": 443}


class Addresses(Struct, frozen=True, kw_only=True):
    """The base URLs of fal, without a slash at the end."""

    queue: str
    rest: str
    cdn: str
    platform: str
    """Its API about models and prices."""
    openapi: str
    """Where its endpoints' OpenAPI documents are; asked without a key."""
    jwks: str
    """The document of the keys that its webhooks are signed with."""

    def has_job(self, url: str) -> bool:
        """Whether a job's URL may be asked with our key: the configured queue, or a host of fal's."""
        return _origin(url) == _origin(self.queue) or _within(url, QUEUE_DOMAINS)

    def has_upload(self, url: str) -> bool:
        """Whether an upload may go to this URL: the configured CDN, or a host of fal's media."""
        return _origin(url) == _origin(self.cdn) or _within(url, ("fal.media",))

    def has_file(self, url: str) -> bool:
        """Whether a result may be fetched from this URL: any https one, or a configured host."""
        origin = _origin(url)
        return origin is not None and (
            origin[0] == "https" or origin in (_origin(self.cdn), _origin(self.queue), _origin(self.rest))
        )


def read_addresses(env: Mapping[str, str], base_url: str | None = None) -> Addresses:
    """The addresses as the environment has them.

    Args:
        env: the process's environment.
        base_url: the registry row's, for the queue, where `FAL_QUEUE_URL` is not set.

    Raises:
        ValueError: one is no base URL, or is `http` on a host that is not this machine. The
            message begins with the variable's name.
    """
    defaults = DEFAULTS | ({"FAL_QUEUE_URL": base_url} if base_url else {})
    found = {name: _base_url(name, env.get(name) or default) for name, default in defaults.items()}
    return Addresses(
        queue=found["FAL_QUEUE_URL"],
        rest=found["FAL_REST_URL"],
        cdn=found["FAL_CDN_URL"],
        platform=found["FAL_PLATFORM_URL"],
        openapi=found["FAL_OPENAPI_URL"],
        jwks=found["FAL_JWKS_URL"],
    )


def _base_url(name: str, text: str) -> str:
    url = text.strip().rstrip("/")
    origin = _origin(url)
    parts = _split(url)
    if origin is None or parts is None or parts.query or parts.fragment:
        raise ValueError(f"{name} is not a base URL such as {DEFAULTS[name]}.")
    if origin[0] == "http" and origin[1] not in LOOPBACK:
        raise ValueError(f"{name} is http to another machine, which would show the key: use https.")
    return url


def _split(url: str) -> SplitResult | None:
    """The parts of a URL of plain ASCII; None for anything that two readers could read in two ways."""
    if (
        len(url) > MOST_URL
        or not url.isascii()
        or any(character <= " " or character == "\\" for character in url)
    ):
        return None
    try:
        parts = urlsplit(url)
        parts.port  # noqa: B018 - reading it is the check
    except ValueError:
        return None
    return parts


def _origin(url: str) -> tuple[str, str, int] | None:
    """Scheme, host and port; None for what is not http or https, or holds a user name."""
    parts = _split(url)
    if parts is None or parts.scheme not in PORTS or not parts.hostname or "@" in parts.netloc:
        return None
    return parts.scheme, parts.hostname, parts.port or PORTS[parts.scheme]


def _within(url: str, domains: tuple[str, ...]) -> bool:
    origin = _origin(url)
    if origin is None or origin[0] != "https" or origin[2] != 443:
        return False
    return any(origin[1] == domain or origin[1].endswith("." + domain) for domain in domains)
