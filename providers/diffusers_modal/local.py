"""A client of an engine process, on this machine or another."""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from providers.diffusers_modal.address import EngineAddress, read_address
from providers.diffusers_modal.wire import (
    MAX_FROM_ENGINE,
    MAX_HELLO,
    MAX_TO_ENGINE,
    Accepted,
    Cancel,
    EngineJob,
    ErrorRecord,
    Health,
    Hello,
    Poll,
    Reply,
    Request,
    Submit,
    SubmitMany,
    Welcome,
    WireError,
    decode_reply,
    encode,
    read_frame,
    seconds_for,
    write_frame,
)
from providers.errors import (
    CredentialsRejected,
    ProviderFailed,
    ProviderUnavailable,
    RequestRejected,
    SubmitUnknown,
)

__all__ = ["EngineClient", "address_in", "fixed_address"]

AddressProvider = Callable[[], EngineAddress | None]


def address_in(data_dir: Path) -> AddressProvider:
    """The engine of a data folder, wherever it listens at the moment."""
    return lambda: read_address(data_dir)


def fixed_address(host: str, port: int, token: str) -> AddressProvider:
    """An engine on another machine."""
    address = EngineAddress(host=host, port=port, token=token)
    return lambda: address


class EngineClient:
    """Asks an engine; one connection a request, no state but the address.

    Args:
        address: called, in a thread, when there is no address yet and when the one that is
            known is refused: an engine that was started anew has another port and token.
        provider: the registry's name of the provider, for errors.
        connect_timeout_s: seconds for the connection.
        reply_timeout_s: seconds that a request and its reply may take, each on top of those for
            their sizes.
    """

    def __init__(
        self,
        address: AddressProvider,
        *,
        provider: str = "",
        connect_timeout_s: float = 2.0,
        reply_timeout_s: float = 10.0,
    ) -> None:
        self._find = address
        self._provider = provider
        self._connect_timeout_s = connect_timeout_s
        self._reply_timeout_s = reply_timeout_s
        self._address: EngineAddress | None = None

    async def health(self) -> Reply:
        """A `HealthReply`.

        Raises:
            ProviderUnavailable: there is no engine, or it does not answer.
            CredentialsRejected: it refused our token.
        """
        return await self._ask(Health())

    async def submit(self, job: EngineJob) -> None:
        """Hand over a job, once. The same job again is no second one.

        Raises:
            SubmitUnknown: it was sent, and no answer came.
            RequestRejected: it is too large, or holds what the wire cannot carry.
            ProviderUnavailable, CredentialsRejected, ProviderFailed: it was not taken.
        """
        await self._submit(Submit(job=job))

    async def submit_many(self, jobs: Sequence[EngineJob]) -> None:
        """Hand over jobs to be run together, once: all are taken, or none. Raises as `submit` does."""
        await self._submit(SubmitMany(jobs=tuple(jobs)))

    async def _submit(self, request: Submit | SubmitMany) -> None:
        try:
            reply = await self._ask(request)
        except _NoReplyError as error:
            raise SubmitUnknown(
                "The engine was sent the job and gave no answer.", provider=self._provider, raw=error.raw
            ) from error
        if not isinstance(reply, Accepted):
            raise ProviderFailed(
                "The engine did not take the job.", provider=self._provider, raw=repr(reply)[:500]
            )

    async def poll(self, id_: str) -> Reply:
        """`Queued`, `Running`, `Done` or an `ErrorRecord`; raises as `health` does."""
        return await self._ask(Poll(id=id_))

    async def cancel(self, id_: str) -> None:
        """Ask for a job's end; raises as `health` does."""
        await self._ask(Cancel(id=id_))

    async def _ask(self, request: Request) -> Reply:
        try:
            frame = encode(request, MAX_TO_ENGINE)
        except WireError as error:
            raise RequestRejected(
                f"The request cannot be sent to the engine: {error}.", provider=self._provider
            ) from None
        known = self._address
        if known is not None:
            try:
                return await self._ask_at(known, frame)
            except (_RefusedError, CredentialsRejected):
                # Neither was taken, so it may be sent to where the engine is now.
                self._address = None
        self._address = await asyncio.to_thread(self._find)
        if self._address is None:
            raise self._unavailable("there is no engine.json")
        return await self._ask_at(self._address, frame)

    async def _ask_at(self, address: EngineAddress, frame: bytearray) -> Reply:
        reader, writer = await self._connect(address)
        try:
            await self._greet(reader, writer, address.token)
            return await self._exchange(reader, writer, frame)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _connect(self, address: EngineAddress) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                return await asyncio.open_connection(address.host, address.port)
        except (OSError, TimeoutError) as error:
            raise _RefusedError(_NOT_RUNNING, provider=self._provider, raw=repr(error)) from error

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, token: str) -> None:
        """Show the token. What goes wrong here goes wrong before the request is sent."""
        try:
            hello = encode(Hello(token=token), MAX_HELLO)
            reply = await self._say(reader, writer, hello)
        except (OSError, TimeoutError, WireError) as error:
            raise _RefusedError(_SILENT, provider=self._provider, raw=repr(error)) from error
        if isinstance(reply, Welcome):
            return
        if isinstance(reply, ErrorRecord) and reply.code == "unauthorized":
            raise CredentialsRejected(
                "The engine refused our token. For an engine on another machine set "
                "GATEWAY_ENGINE_TOKEN to the token that it was started with.",
                provider=self._provider,
            )
        raise _RefusedError(_SILENT, provider=self._provider, raw=repr(reply)[:500])

    async def _exchange(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame: bytearray
    ) -> Reply:
        try:
            return await self._say(reader, writer, frame)
        except (OSError, TimeoutError, WireError) as error:
            raise _NoReplyError(
                "The engine did not answer. It may be busy or ending; the job may go on.",
                provider=self._provider,
                raw=repr(error),
            ) from error

    async def _say(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, frame: bytearray
    ) -> Reply:
        await write_frame(writer, frame, self._reply_timeout_s)
        # What we have written, the engine may still have to read.
        patience_s = self._reply_timeout_s + seconds_for(len(frame))
        return decode_reply(await read_frame(reader, MAX_FROM_ENGINE, patience_s))

    def _unavailable(self, raw: str) -> ProviderUnavailable:
        return ProviderUnavailable(_NOT_RUNNING, provider=self._provider, raw=raw)


_NOT_RUNNING = (
    "The engine that runs diffusers models is not running. `gateway serve` starts it; "
    "`gateway engine` starts one by itself."
)
_SILENT = "Something listens where the engine was, and does not answer as one. It may be ending."


class _RefusedError(ProviderUnavailable):
    """No connection, or no welcome: the request was not sent."""


class _NoReplyError(ProviderUnavailable):
    """Sent, and no whole reply."""
