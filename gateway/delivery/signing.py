"""How our calls are signed: Standard Webhooks, HMAC-SHA256.

https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
"""

import base64
import hmac

from gateway.secret import Signer

__all__ = ["WebhookSigner", "sign"]

PREFIX = "whsec_"


def sign(key: bytes, message_id: str, at_s: int, body: bytes) -> str:
    """`v1,` and the signature of a message, in base64.

    Args:
        key: the endpoint's.
        message_id: stays the same however often it is sent.
        at_s: when it is sent, in seconds UTC.
        body: to the letter.
    """
    signed = b".".join((message_id.encode(), str(at_s).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


class WebhookSigner:
    """Signs what endpoints are sent. No endpoint's secret is kept: each is derived from ours.

    Args:
        signer: for this purpose alone.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    def secret(self, endpoint_id: str) -> str:
        """What an endpoint verifies our calls with: `whsec_...`."""
        return PREFIX + base64.b64encode(self._signer.derive(endpoint_id)[0]).decode()

    def headers(self, endpoint_id: str, message_id: str, at_s: int, body: bytes) -> dict[str, str]:
        """The fields that a call carries.

        While GATEWAY_SECRET is changed there are several signatures: an endpoint that has not got its new
        secret yet finds the one of the old.
        """
        keys = self._signer.derive(endpoint_id)
        return {
            "webhook-id": message_id,
            "webhook-timestamp": str(at_s),
            "webhook-signature": " ".join(sign(key, message_id, at_s, body) for key in keys),
        }
