"""What each provider accepts and charges: pure, so that a bad row is refused before anything is spent."""

from typing import Final

from shared.catalog import banatie, bloom, getimg, openrouter, posteverywhere
from shared.catalog.parameter import Parameter
from shared.catalog.provider import Price, Provider, RateWindow

__all__ = ["Parameter", "Price", "Provider", "RateWindow", "UnknownProviderError", "get", "names"]

_ALL: Final = (
    bloom.PROVIDER,
    openrouter.PROVIDER,
    getimg.PROVIDER,
    posteverywhere.PROVIDER,
    banatie.PROVIDER,
)
_PROVIDERS: Final = {provider.name: provider for provider in _ALL}


class UnknownProviderError(LookupError):
    """No provider has this name; the message lists those that exist."""


def names() -> tuple[str, ...]:
    """Return the names of all providers, sorted."""
    return tuple(sorted(_PROVIDERS))


def get(name: str) -> Provider:
    """Return the provider of this name; raises `UnknownProviderError` that lists the known ones."""
    try:
        return _PROVIDERS[name]
    except KeyError:
        known = ", ".join(names())
        raise UnknownProviderError(f"no provider is named {name[:40]!r}; known: {known}") from None
