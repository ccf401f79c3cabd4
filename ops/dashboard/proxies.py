"""Signing in by a proxy: it names the person in a header, and only listed proxies are believed."""

from collections.abc import Iterable
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network

from starlette.requests import Request

from ops.dashboard.judging import RIGHTS
from ops.dashboard.sessions import Person, Right
from shared.tokens import Scope

_NAME_CHARS = 100


class ProxyError(ValueError):
    """The settings of a proxy cannot be used; the message says why."""


@dataclass(frozen=True, slots=True)
class TrustedProxies:
    """Proxies at these addresses name the person in `header`; whoever they name has `rights`."""

    header: str
    networks: tuple[IPv4Network | IPv6Network, ...]
    rights: frozenset[Right]

    @classmethod
    def of(cls, header: str, addresses: Iterable[str], scopes: Iterable[str]) -> "TrustedProxies | None":
        """Return the proxies of the settings, None without a header; raises `ProxyError`."""
        if not header:
            return None
        try:
            networks = tuple(ip_network(address) for address in addresses)
        except ValueError as error:
            raise ProxyError(f"GENQUEUE_DASHBOARD_PROXIES: {error}") from None
        if not networks:
            raise ProxyError("GENQUEUE_DASHBOARD_USER_HEADER needs GENQUEUE_DASHBOARD_PROXIES: who may send it")
        try:
            rights = frozenset[Right]().union(*(RIGHTS[Scope(scope)] for scope in scopes))
        except ValueError:
            raise ProxyError(f"GENQUEUE_DASHBOARD_USER_SCOPES: there are {', '.join(Scope)}") from None
        return cls(header, networks, rights)

    def person(self, request: Request) -> Person | None:
        """Return the person that a listed proxy names; None from any other address, or without a name."""
        if request.client is None:
            return None
        try:
            peer = ip_address(request.client.host)
        except ValueError:
            return None
        name = "".join(filter(str.isprintable, request.headers.get(self.header, ""))).strip()[:_NAME_CHARS]
        if not name or not any(peer in network for network in self.networks):
            return None
        return Person(name, self.rights)
