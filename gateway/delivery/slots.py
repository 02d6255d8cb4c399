"""How many deliveries run at once: in all, for an account, and to one host. Nobody holds up everybody."""

from collections import Counter

from msgspec import Struct

from gateway.delivery.outbox import Item

__all__ = ["Limits", "Slots"]


class Limits(Struct, frozen=True, kw_only=True):
    """The most that may run at once."""

    at_once: int
    an_account: int
    a_host: int


class Slots:
    """Which are taken.

    Args:
        limits: how many there are.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._taken = 0
        self._accounts: Counter[str] = Counter()
        self._hosts: Counter[str] = Counter()

    @property
    def full(self) -> bool:
        """There is none left for anybody."""
        return self._taken >= self._limits.at_once

    @property
    def full_accounts(self) -> set[str]:
        """Accounts that have as many as they may have."""
        return {name for name, taken in self._accounts.items() if taken >= self._limits.an_account}

    def is_full_host(self, host: str) -> bool:
        """Whether a host has as many as it may have."""
        return self._hosts[host] >= self._limits.a_host

    def take(self, item: Item, host: str) -> None:
        """One more runs."""
        self._taken += 1
        self._hosts[host] += 1
        if item.account_id is not None:
            self._accounts[item.account_id] += 1

    def give_back(self, item: Item, host: str) -> None:
        """It has ended."""
        self._taken -= 1
        for counter, name in ((self._hosts, host), (self._accounts, item.account_id)):
            if name is not None:
                counter[name] -= 1
                if not counter[name]:
                    del counter[name]
