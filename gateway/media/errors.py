"""What refuses a user's picture or weights."""

__all__ = ["DISK_FULL", "MediaRefused", "MediaTooLarge"]

DISK_FULL = 74
"""With what the worker ends that had no room for its result."""


class MediaRefused(Exception):
    """A reference or an upload cannot be used; the message tells the caller why.

    It never holds the reference itself: a signed URL is a credential.
    """


class MediaTooLarge(MediaRefused):
    """More bytes than are taken of its kind."""
