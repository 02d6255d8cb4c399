"""The addresses that providers call when a job has ended: one for each attempt, known to nobody else."""

from urllib.parse import urlsplit

from gateway.network import is_public
from gateway.secret import Signer
from gateway.settings import Settings

__all__ = ["NO_WEBHOOKS", "Webhooks", "webhook_base"]

PROVIDERS = ("fal",)
"""Types of providers that call back."""


class Webhooks:
    """Makes the addresses, and reads them.

    `<public URL>/webhooks/fal/<attempt>.<signature>`: whoever has one can say of that one attempt
    "look now", if the provider signs it.

    Args:
        signer: for this purpose alone; an older secret of it still verifies.
        base: what they begin with; None: nobody is told to call.
    """

    def __init__(self, signer: Signer, base: str | None) -> None:
        self._signer = signer
        self._base = base

    def address(self, provider_type: str, attempt_id: str) -> str | None:
        """What a provider is to call about an attempt; None when it is not to."""
        if self._base is None or provider_type not in PROVIDERS:
            return None
        signature = self._signer.sign(f"{provider_type}.{attempt_id}")
        return f"{self._base}/webhooks/{provider_type}/{attempt_id}.{signature}"

    def attempt_of(self, provider_type: str, secret: str) -> str | None:
        """The attempt that the last part of an address is for; None when the address is none of ours."""
        attempt_id, _, signature = secret.rpartition(".")
        if not secret.isascii() or not self._signer.verify(f"{provider_type}.{attempt_id}", signature):
            return None
        return attempt_id


NO_WEBHOOKS = Webhooks(Signer((b"",), "webhook"), None)
"""Tells nobody to call."""


def webhook_base(settings: Settings) -> str | None:
    """What the addresses begin with; None when nobody is to call.

    With FAL_WEBHOOKS=auto they are made when fal can reach them: it gives up for good on one that
    is loopback or private, and so would our own guard on a name that it does not know.
    """
    if settings.fal_webhooks != "auto":
        return settings.public_url if settings.fal_webhooks == "on" else None
    parts = urlsplit(settings.public_url)
    host = parts.hostname or ""
    answers = settings.auth == "required" or host in {name.lower() for name in settings.allowed_hosts}
    return settings.public_url if parts.scheme == "https" and is_public(host) and answers else None
