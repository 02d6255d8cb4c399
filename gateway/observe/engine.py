"""What the diffusers engine says of itself."""

import asyncio
import importlib.util
import logging

from gateway.settings import Settings
from providers.diffusers_modal.local import EngineClient, address_in, fixed_address
from providers.diffusers_modal.wire import HealthReply
from providers.errors import ProviderError

__all__ = ["PATIENCE_S", "EngineWatch", "engine_of"]

log = logging.getLogger(__name__)

PATIENCE_S = 1.0


class EngineWatch:
    """Asks an engine how it is.

    Args:
        client: reaches it.
    """

    def __init__(self, client: EngineClient) -> None:
        self._client = client

    async def look(self) -> HealthReply | None:
        """What it says; None when it does not answer in time, or not as an engine."""
        try:
            async with asyncio.timeout(PATIENCE_S):
                reply = await self._client.health()
        except (ProviderError, TimeoutError) as error:
            log.debug("the engine cannot be asked: %s", error)
            return None
        return reply if isinstance(reply, HealthReply) else None


def engine_of(settings: Settings) -> EngineWatch | None:
    """The engine that this gateway's diffusers models run on; None when it has none."""
    address = settings.env.get("GATEWAY_ENGINE", "")
    if address:
        host, _, port = address.rpartition(":")
        if not port.isdecimal():
            return None  # the provider says what is wrong with it
        token = settings.env.get("GATEWAY_ENGINE_TOKEN", "")
        return EngineWatch(EngineClient(fixed_address(host.strip("[]"), int(port), token)))
    # A gateway whose jobs others run starts none: each worker tells of its own.
    if not settings.run_jobs or importlib.util.find_spec("diffusers") is None:
        return None
    return EngineWatch(EngineClient(address_in(settings.data_dir)))
