"""Links to pictures that whoever has them can follow, for a while: made when a job is read."""

from urllib.parse import urlencode

from gateway.ambient import Ambient
from gateway.problems import Problem
from gateway.secret import Signer

__all__ = ["Links"]


class Links:
    """Makes and checks them.

    Args:
        signer: for this purpose alone.
        public_url: what they begin with.
        ambient: time.
        ttl_s: seconds that one works; None: they are not signed, and need a credential.
    """

    def __init__(self, signer: Signer, public_url: str, ambient: Ambient, ttl_s: int | None) -> None:
        self._signer = signer
        self._public_url = public_url
        self._ambient = ambient
        self._ttl_s = ttl_s

    def image(self, image_id: str) -> str:
        """The link to a picture."""
        if self._ttl_s is None:
            return f"{self._public_url}/images/{image_id}"
        return self.signed(image_id, self._ttl_s)

    def signed(self, image_id: str, ttl_s: int) -> str:
        """A link that works for so many seconds without a credential, also where others are not signed."""
        expires = self._ambient.now_ms() // 1000 + ttl_s
        query = {"expires": expires, "signature": self._signer.sign(f"{image_id}.{expires}")}
        return f"{self._public_url}/images/{image_id}?{urlencode(query)}"

    def check(self, image_id: str, expires: str, signature: str) -> None:
        """Whether a link is one of ours, for this picture, and still good.

        Raises:
            Problem: `bad_link`.
        """
        if not self._signer.verify(f"{image_id}.{expires}", signature):
            raise Problem("bad_link", "The link does not work: it is not whole, or not of this gateway")
        if int(expires) <= self._ambient.now_ms() // 1000:
            raise Problem("bad_link", "The link has run out. Ask for the job again: its links are new")
