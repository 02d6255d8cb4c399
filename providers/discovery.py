"""Which provider types exist: a literal table of ours, and entry points of installed packages.

Nothing is imported until a route of that type is about to be used: `gateway models` must not
pay for torch or modal. A package adds a type with an entry point in the group
`image_gateway.providers` (name = the type, value = `module:Class`); it may not take a name of
ours, nor one that another package has.
"""

from collections.abc import Mapping
from contextlib import AsyncExitStack
from functools import reduce
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import cast

from msgspec import Struct

from providers.base import Provider, ProviderContext, Unavailable
from registry.schema import ProviderRow, Route

__all__ = ["BUILT_IN", "GROUP", "DiscoveryError", "Providers", "provider_types"]

GROUP = "image_gateway.providers"

BUILT_IN: Mapping[str, str] = {
    "diffusers_modal": "providers.diffusers_modal.provider:DiffusersModalProvider",
    "fal": "providers.fal.provider:FalProvider",
    "openai_compatible": "providers.openai_compatible.provider:OpenAiCompatibleProvider",
}
# A provider's methods: the protocol itself cannot be asked of a class, only of an instance.
MEMBERS = ("unavailable", "create", "submit", "handle_for", "poll", "cancel", "aclose")


class DiscoveryError(Exception):
    """Two providers claim one type, or the registry names a type that nobody provides, or the
    class of a type cannot be used.
    """


class ProviderTypes(Struct, frozen=True, kw_only=True):
    """Where the class of each type is, unloaded."""

    targets: dict[str, str]
    """type -> `module:Class`"""

    def load(self, type_name: str) -> type[Provider]:
        """Import the class of a type.

        Raises:
            DiscoveryError: nobody provides it, it cannot be imported, or is no provider.
        """
        if type_name not in self.targets:
            raise DiscoveryError(f"no provider type is called {type_name!r}")
        target = self.targets[type_name]
        module, _, name = target.partition("[")[0].strip().partition(":")
        try:
            found = reduce(getattr, name.split("."), import_module(module))
        except Exception as error:  # a package of others may raise anything while it is imported
            message = f"the provider type {type_name!r} ({target}) cannot be loaded: {error!r}"
            if type_name in BUILT_IN:
                extra = type_name.partition("_")[0]
                message += f". Install its extra: pip install 'image-gateway[{extra}]'"
            raise DiscoveryError(message) from error
        missing = [member for member in MEMBERS if not callable(getattr(found, member, None))]
        if getattr(found, "type", None) != type_name or missing:
            lacks = f"; it has no {', '.join(missing)}" if missing else ""
            raise DiscoveryError(f"{target} is not a provider of type {type_name!r}{lacks}")
        return cast(type[Provider], found)


def provider_types(installed: tuple[EntryPoint, ...] | None = None) -> ProviderTypes:
    """Every type that can be used here.

    Args:
        installed: entry points to consider; those of the environment when not given.

    Raises:
        DiscoveryError: a package claims a type that exists already.
    """
    targets = dict(BUILT_IN)
    for point in entry_points(group=GROUP) if installed is None else installed:
        if point.name in targets:
            owner = point.dist.name if point.dist else point.value
            raise DiscoveryError(f"{owner} registers the provider type {point.name!r}, which exists already")
        targets[point.name] = point.value
    return ProviderTypes(targets=targets)


class Providers:
    """The registry's provider instances, built when first used.

    Args:
        rows: the registry's `providers`.
        env: the process's environment.
        data_dir: the gateway's data folder.

    Raises:
        DiscoveryError: a row names a type that does not exist.
    """

    def __init__(
        self,
        rows: Mapping[str, ProviderRow],
        env: Mapping[str, str],
        data_dir: str,
        types: ProviderTypes | None = None,
    ) -> None:
        self._types = provider_types() if types is None else types
        self._env = env
        self._data_dir = data_dir
        self._contexts: dict[str, ProviderContext] = {}
        self._built: dict[str, Provider] = {}
        self._former: list[Provider] = []
        self.adopt(rows)

    def adopt(self, rows: Mapping[str, ProviderRow]) -> None:
        """Take the rows of a registry that was read again. What a row no longer names, or names
        otherwise, stays open for the jobs that are on it.

        Raises:
            DiscoveryError: a row names a type that does not exist; nothing was changed.
        """
        for name, row in rows.items():
            if row.type not in self._types.targets:
                known = ", ".join(sorted(self._types.targets))
                raise DiscoveryError(
                    f"the registry's provider {name!r} has the unknown type {row.type!r}; known: {known}. "
                    "A type of another package shows once that package is installed"
                )
        for name, row in rows.items():
            known_before = self._contexts.get(name)
            if known_before is not None and known_before.row != row and name in self._built:
                self._former.append(self._built.pop(name))
            self._contexts[name] = ProviderContext(name=name, row=row, env=self._env, data_dir=self._data_dir)

    def unavailable(self, route: Route) -> Unavailable | None:
        """Why a route cannot be used as things stand; None when it can.

        Raises:
            DiscoveryError: the class of the provider's type cannot be loaded.
        """
        context = self._contexts[route.provider]
        key = context.row.key
        if key is not None and not context.env.get(key):
            return Unavailable(reason=f"the provider {route.provider!r} has no key: set {key}", setting=key)
        return self._types.load(context.row.type).unavailable(context, route)

    def get(self, name: str) -> Provider:
        """The instance of this name, built now if it is the first use.

        Raises:
            DiscoveryError: the class of its type cannot be loaded.
        """
        if name not in self._built:
            context = self._contexts[name]
            self._built[name] = self._types.load(context.row.type).create(context)
        return self._built[name]

    async def aclose(self) -> None:
        """Close every instance that was built, each of them even when another fails."""
        async with AsyncExitStack() as stack:
            for provider in (*self._built.values(), *self._former):
                stack.push_async_callback(provider.aclose)
            self._built.clear()
            self._former.clear()
