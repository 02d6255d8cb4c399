"""One HTTP request to fal, sent once; and the client that fal-client's own classes are given."""

import asyncio
from collections.abc import Callable
from typing import Any, cast

import httpx
from msgspec import Struct

from providers.errors import MalformedOutput, ProviderError, ProviderUnavailable
from providers.fal.replies import Said, read_reply

__all__ = ["Link", "Timeouts", "fal_client_view"]


class Timeouts(Struct, frozen=True, kw_only=True):
    """Seconds for a request and its whole reply."""

    submit_s: float = 60.0
    status_s: float = 15.0
    result_s: float = 60.0
    upload_s: float = 300.0


class Link:
    """A client with fal's key, which shows it to fal's hosts alone.

    Args:
        client: from `providers.http.create_client`; carries no credential.
        key: fal's, `id:secret`.
        provider: the registry's name of the provider, for errors.
    """

    def __init__(self, client: httpx.AsyncClient, key: str, provider: str) -> None:
        self.client = client
        self.provider = provider
        self._key = key

    def authorization(self) -> dict[str, str]:
        """The header that proves who we are; for fal's own hosts."""
        return {"Authorization": f"Key {self._key}"}

    def read(self, response: httpx.Response) -> Said:
        """What an error reply says, without our key should it repeat that."""
        return read_reply(response, self._key)

    def clean(self, text: str) -> str:
        """A text of fal's, without our key."""
        return text.replace(self._key, "[key]")

    async def send(self, method: str, url: str, *, within_s: float, **options: Any) -> httpx.Response:
        """A request that may be repeated, sent once; its reply, whatever its status.

        Args:
            method: GET, PUT or POST.
            url: whole; the caller has checked that it is fal's.
            within_s: seconds for the request and its whole reply.
            options: `httpx.AsyncClient.request`'s.

        Raises:
            ProviderUnavailable: no reply.
        """
        try:
            async with asyncio.timeout(within_s):
                return await self.client.request(method, url, **options)
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError) as error:
            raise ProviderUnavailable(
                "fal could not be reached.", provider=self.provider, raw=self.clean(repr(error))
            ) from error


class _View:
    """What fal-client asks of an `httpx.AsyncClient`: `request`.

    fal-client repeats a request up to ten times on any httpx error and on some statuses. Here each
    goes out once: what it would repeat is raised as an error of ours, which it lets through.
    """

    def __init__(
        self,
        link: Link,
        *,
        may_ask: Callable[[str], bool],
        refuse: Callable[[Said, str], ProviderError],
        within_s: float,
        accept: tuple[int, ...],
        with_key: bool,
    ) -> None:
        self._link = link
        self._may_ask = may_ask
        self._refuse = refuse
        self._within_s = within_s
        self._accept = accept
        self._with_key = with_key

    async def request(
        self, method: str, url: str, *, params: Any = None, timeout: Any = None, **options: Any
    ) -> httpx.Response:
        # Its own timeout, 120 s of silence, is not ours: a poll returns within seconds.
        if not self._may_ask(url):
            raise MalformedOutput(
                "fal named a host that is not its own; the gateway's key was not sent there.",
                provider=self._link.provider,
                raw=self._link.clean(url)[:200],
            )
        headers = options.pop("headers", None) or {}
        if self._with_key:
            headers = {**headers, **self._link.authorization()}
        # httpx's `params=` would replace a query that the URL has.
        whole = httpx.URL(url).copy_merge_params(params or {})
        response = await self._link.send(
            method, str(whole), within_s=self._within_s, headers=headers, **options
        )
        if not response.is_success and response.status_code not in self._accept:
            raise self._refuse(self._link.read(response), self._link.provider)
        return response


def fal_client_view(
    link: Link,
    *,
    may_ask: Callable[[str], bool],
    refuse: Callable[[Said, str], ProviderError],
    within_s: float,
    accept: tuple[int, ...] = (),
    with_key: bool = True,
) -> httpx.AsyncClient:
    """Our client as fal-client's classes take it.

    Args:
        link: what sends.
        may_ask: whether a URL, which came in a reply, is fal's.
        refuse: the error for a reply that is not 2xx.
        within_s: seconds for each request and its whole reply.
        accept: further statuses that fal-client is to see.
        with_key: send our key; else the request has its own credential.

    Returns:
        An object with `request` alone. That raises ProviderUnavailable without a reply,
        MalformedOutput for a URL that is not fal's, and what `refuse` gives.
    """
    view = _View(link, may_ask=may_ask, refuse=refuse, within_s=within_s, accept=accept, with_key=with_key)
    return cast(httpx.AsyncClient, view)
