"""What each provider accepts and charges: pure, so that a bad row is refused before anything is spent.

Every module of this package that has a `PROVIDER` is one; adding a provider is adding such a file.
"""

from collections.abc import Iterable
from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from shared.catalog.parameter import Parameter
from shared.catalog.provider import DocumentedWindow, Price, Provider

__all__ = [
    "DocumentedWindow",
    "Parameter",
    "Price",
    "Provider",
    "UnknownProviderError",
    "chosen",
    "forget",
    "get",
    "names",
]


class UnknownProviderError(LookupError):
    """No provider has this name; the message lists those that exist."""


def names() -> tuple[str, ...]:
    """Return the names of all providers, sorted."""
    return tuple(sorted(_providers()))


def get(name: str) -> Provider:
    """Return the provider of this name; raises `UnknownProviderError` that lists the known ones."""
    try:
        return _providers()[name]
    except KeyError:
        known = ", ".join(names())
        raise UnknownProviderError(f"no provider is named {name[:40]!r}; known: {known}") from None


def chosen(some: Iterable[str]) -> dict[str, Provider]:
    """Return these providers by name, in the order of their names; raises as `get`."""
    return {name: get(name) for name in sorted(some)}


def forget() -> None:
    """Look for providers anew; for whoever adds one to a running process."""
    _providers.cache_clear()


@cache
def _providers() -> dict[str, Provider]:
    modules = (import_module(f"{__name__}.{found.name}") for found in iter_modules(__path__))
    providers = (getattr(module, "PROVIDER", None) for module in modules)
    return {provider.name: provider for provider in providers if isinstance(provider, Provider)}
