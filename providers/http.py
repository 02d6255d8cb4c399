"""The one HTTP client factory for providers, and the one question they ask of its errors."""

import logging
from collections.abc import Mapping
from http.cookiejar import CookieJar, DefaultCookiePolicy

import httpx

from providers.http_transport import AiohttpTransport, RequestNotSendable

__all__ = ["create_client", "provably_not_sent"]


class _WithoutQueries(logging.Filter):
    """httpx logs each request's URL; a query may hold a secret, such as a webhook's address."""

    def filter(self, record: logging.LogRecord) -> bool:
        if isinstance(record.args, tuple):
            record.args = tuple(
                arg.copy_with(query=None) if isinstance(arg, httpx.URL) else arg for arg in record.args
            )
        return True


logging.getLogger("httpx").addFilter(_WithoutQueries())

_NOT_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.UnsupportedProtocol,
    RequestNotSendable,
)


def create_client(
    *,
    base_url: str = "",
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 60.0,
    connect_timeout_s: float = 5.0,
    max_connections: int = 1000,
) -> httpx.AsyncClient:
    """A client for one provider, to be closed with `aclose()` in the event loop that used it.

    It sends each request at most once, follows no redirect, keeps no cookie, and reads no proxy
    or netrc from the environment. A request's own `timeout=` is honoured.

    Args:
        base_url: what relative URLs are joined to.
        headers: sent with every request: the credential, say.
        timeout_s: the longest silence while reading or writing, and the longest wait for a free
            connection. Not a limit on the whole request.
        connect_timeout_s: name look-up, TCP and TLS together.
        max_connections: requests in flight.
    """
    return httpx.AsyncClient(
        base_url=base_url,
        headers=headers,
        timeout=httpx.Timeout(timeout_s, connect=connect_timeout_s),
        transport=AiohttpTransport(max_connections=max_connections),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
        follow_redirects=False,
        trust_env=False,
    )


def provably_not_sent(error: Exception) -> bool:
    """Whether no byte of the request can have reached the server, so that sending it again is safe.

    False means unknown: the request may have been taken, whatever the error says.
    """
    return isinstance(error, _NOT_SENT)
