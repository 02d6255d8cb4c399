"""One client of Modal's for the whole process, opened at the first use.

Credentials and the server's address come from the mapping that is given, and from nowhere else:
Modal's own configuration file is not read.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Mapping
from typing import Any

from providers.diffusers_modal import modal_errors
from providers.errors import CredentialsRejected, TargetUnavailable

__all__ = ["Connection"]

_logger = logging.getLogger(__name__)

_SERVER_URL = "https://api.modal.com,https://api.modal2.com"
_CONFIG = "MODAL_CONFIG_PATH"
_FRESH_S = 5.0
"""A connection that was heard of this lately is taken to be up."""


class Connection:
    """Opens a client when it is needed, and again after it failed.

    Args:
        env: see `remote.ModalBackend`.
        provider: for errors.
        connect_s: seconds for the import and the connection.
    """

    def __init__(self, env: Mapping[str, str], *, provider: str, connect_s: float) -> None:
        self._token = (env.get("MODAL_TOKEN_ID", "").strip(), env.get("MODAL_TOKEN_SECRET", "").strip())
        self._server_url = env.get("MODAL_SERVER_URL") or _SERVER_URL
        # Empty names the workspace's default environment; None would be looked up in the file.
        self.environment = env.get("MODAL_ENVIRONMENT", "")
        self._provider = provider
        self._connect_s = connect_s
        self._lock = asyncio.Lock()
        self._client: Any = None
        self._heard = 0.0

    async def open(self) -> tuple[Any, Any]:
        """The module `modal`, and a client that has a connection.

        Raises:
            TargetUnavailable: modal is not installed.
            ProviderUnavailable: there is no connection within `connect_s` seconds.
            CredentialsRejected: Modal refused the token.
        """
        async with self._lock:
            if self._client is None:
                self._client = await self._connect()
            return sys.modules["modal"], self._client

    def heard(self) -> None:
        """An answer has come."""
        self._heard = time.monotonic()

    async def assure(self, seconds: float) -> None:
        """Ask for a sign of life if there was none lately; raises as `open` does."""
        if time.monotonic() - self._heard < _FRESH_S:
            return
        _, client = await self.open()
        try:
            async with asyncio.timeout(seconds):
                await client.hello.aio()
        except Exception as error:
            raise modal_errors.asking(error, self._provider) from error
        self.heard()

    async def aclose(self) -> None:
        """Close the client."""
        async with self._lock:
            client, self._client = self._client, None
            if client is not None:
                await _close(client)

    async def _connect(self) -> Any:
        try:
            modal = await asyncio.to_thread(_import)
        except ImportError as error:
            raise TargetUnavailable(
                "The GPU tiers need the package modal: install image-gateway[modal].",
                provider=self._provider,
                raw=repr(error),
            ) from error
        if not all(part.isascii() and part.isprintable() and part for part in self._token):
            # Modal's client could not even send it.
            raise CredentialsRejected(
                "MODAL_TOKEN_ID and MODAL_TOKEN_SECRET are not both set to a token of Modal's.",
                provider=self._provider,
            )
        client_type = sys.modules["modal_proto.api_pb2"].CLIENT_TYPE_CLIENT
        client = modal.Client(self._server_url, client_type, self._token)
        try:
            async with asyncio.timeout(self._connect_s):
                await client.__aenter__()
        except BaseException as error:
            await _close(client)
            if not isinstance(error, Exception):
                raise
            raise modal_errors.asking(error, self._provider) from error
        return client


async def _close(client: Any) -> None:
    try:
        async with asyncio.timeout(2.0):
            await client.close.aio()
    except Exception:
        # What it was used for is over, and its connections end with the process.
        _logger.warning("a connection to Modal did not close", exc_info=True)


def _import() -> Any:
    """Import modal without its file, which may be broken, or another's, or name another server."""
    if "modal" not in sys.modules:
        before = os.environ.get(_CONFIG)
        os.environ[_CONFIG] = os.devnull
        try:
            import modal
        finally:
            if before is None:
                del os.environ[_CONFIG]
            else:
                os.environ[_CONFIG] = before
    import modal

    return modal
