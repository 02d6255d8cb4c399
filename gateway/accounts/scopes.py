"""What a key may do: words on the key, and a word on every route."""

from typing import Literal, get_args

__all__ = ["SCOPES", "Scope", "read_scopes", "write_scopes"]

Scope = Literal["generate", "read", "manage", "admin"]
"""`generate`: make images, upload, cancel. `read`: look at models, jobs, images, the account.
`manage`: the account's own keys. `admin`: `/api/admin`, where the account may."""
SCOPES: tuple[Scope, ...] = get_args(Scope)


def read_scopes(text: str) -> frozenset[Scope]:
    """The scopes of a row; a word that this version does not know allows nothing."""
    said = set(text.split())
    return frozenset(scope for scope in SCOPES if scope in said)


def write_scopes(scopes: frozenset[Scope]) -> str:
    """As a row keeps them."""
    return " ".join(scope for scope in SCOPES if scope in scopes)
