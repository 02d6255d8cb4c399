"""The references that are no https URL: `data:` and `s3://`."""

import asyncio
import binascii
import logging
import re
from base64 import b64decode
from collections.abc import Collection, Mapping
from urllib.parse import unquote_to_bytes

import obstore
from obstore.store import ObjectStore

from gateway.media.errors import MediaRefused
from gateway.media.spool import Spool
from gateway.s3 import AT_WORK, S3Login, explain, open_bucket

__all__ = ["Buckets", "read_data_url"]

log = logging.getLogger(__name__)

BASE64 = re.compile(r";\s*base64\s*\Z", re.IGNORECASE)
CHUNK = 1 << 20


def read_data_url(text: str) -> bytes:
    """The bytes of a `data:` URL (RFC 2397). Its media type is not believed.

    Raises:
        MediaRefused: it cannot be read.
    """
    head, comma, body = text.partition(",")
    if not comma:
        raise MediaRefused("a data: URL has a comma before its data")
    data = unquote_to_bytes(body)
    if not BASE64.search(head):
        return data
    packed = b"".join(data.split())
    try:
        return b64decode(packed + b"=" * (-len(packed) % 4), validate=True)
    except binascii.Error as error:
        raise MediaRefused("the data: URL's base64 is broken") from error


class Buckets:
    """Reads objects of the buckets that the operator listed.

    Args:
        names: GATEWAY_INPUT_BUCKETS.
        env: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN, AWS_REGION,
            AWS_ENDPOINT_URL. Without a key objects are asked for unsigned: the machine's own
            role is never used for what a user names.
    """

    def __init__(self, names: Collection[str], env: Mapping[str, str]) -> None:
        self._names = frozenset(names)
        self._env = env
        self._stores: dict[str, ObjectStore] = {}

    async def fetch(self, url: str, spool: Spool, *, deadline_s: float) -> None:
        """Bring an object into a spool.

        Args:
            url: `s3://bucket/key`, the key as it is.
            spool: takes the bytes, and caps them.
            deadline_s: seconds for everything.

        Raises:
            MediaRefused: another bucket, no such object, no answer.
            MediaTooLarge: more than the spool takes.
        """
        bucket, _, key = url.removeprefix("s3://").partition("/")
        if bucket not in self._names or not key:
            raise MediaRefused("it is in no bucket that the operator listed in GATEWAY_INPUT_BUCKETS")
        try:
            async with asyncio.timeout(deadline_s):
                await self._read(self._store(bucket), key, spool)
        except FileNotFoundError as error:
            raise MediaRefused("the bucket has no such object") from error
        except TimeoutError as error:
            raise MediaRefused(f"it did not arrive within {deadline_s:g} seconds") from error
        except obstore.exceptions.BaseError as error:
            log.warning("an object of %s was not read: %s", bucket, explain(error, self._login()))
            raise MediaRefused("the bucket did not give it") from error
        except ValueError as error:  # the key, or the environment
            log.warning("an object of %s was not read: %s", bucket, error)
            raise MediaRefused("the bucket did not give it") from error

    async def _read(self, store: ObjectStore, key: str, spool: Spool) -> None:
        found = await obstore.get_async(store, key)
        spool.expect(found.meta["size"])
        async for chunk in found.stream(min_chunk_size=CHUNK):
            await spool.write(bytes(chunk))
        await spool.flush()

    def _store(self, bucket: str) -> ObjectStore:
        if bucket not in self._stores:
            self._stores[bucket] = open_bucket(bucket, self._login(), AT_WORK)
        return self._stores[bucket]

    def _login(self) -> S3Login:
        return S3Login.of(self._env, machine_role=False)
