"""Restricts the addresses that untrusted links may lead to: public ones, and those that the operator names.

A link is checked three times, because each check alone can be bypassed: its text before any look-up (`check_url`),
every address its name resolves to (`GuardedResolver`), and the address each socket is about to connect to
(`open_socket`). The last is the same value that goes to connect(2), so a name that resolves differently the second time
(DNS rebinding) gains nothing.
"""

# ruff: noqa: N818 - an error is named for what happened to the result

import contextlib
import contextvars
import ipaddress
import re
import socket
import ssl
from collections.abc import Iterator, Sequence
from typing import Any, Final

import aiohttp
import httpx
from aiohttp.abc import AbstractResolver, ResolveResult

from worker.transport.fetch_errors import FetchError
from worker.transport.interim_answers import BoundedConnector
from worker.transport.spool import TransferError

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

SETTING: Final = "GENQUEUE_ALLOW_PRIVATE_URLS"
_HOST_NAME: Final = re.compile(r"(?!-)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*")
_LAST_LABEL_IS_NUMBER: Final = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)")
_LAST_PORT: Final = 65535
_CONNECTING_TO: Final = contextvars.ContextVar("the host of the request that connects", default="")
_LOOPBACK: Final = ipaddress.IPv4Address("127.0.0.1")
_GLOBAL_UNICAST_V6: Final = ipaddress.IPv6Network("2000::/3")
_NAT64: Final = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052: the last 32 bits are the IPv4 address
_REFUSED: Final[tuple[tuple[Network, str], ...]] = (
    (ipaddress.ip_network("169.254.0.0/16"), "a link-local or metadata address"),
    (ipaddress.ip_network("168.63.129.16/32"), "a metadata address"),  # Azure's, inside a public range
    (ipaddress.ip_network("100.64.0.0/10"), "a carrier-grade NAT address"),
    (ipaddress.ip_network("192.0.0.0/24"), "a reserved address"),
    (ipaddress.ip_network("192.88.99.0/24"), "a 6to4 relay"),
    (ipaddress.ip_network("fec0::/10"), "a site-local address"),
    (ipaddress.ip_network("::/96"), "an IPv4-compatible address"),
    (ipaddress.ip_network("2002::/16"), "a 6to4 address"),
    (ipaddress.ip_network("2001::/32"), "a Teredo address"),
    (ipaddress.ip_network("3fff::/20"), "a documentation address"),
)


class AddressRefused(TransferError):
    """A link leads to a forbidden address. The message names only the host."""

    code = "result_address_refused"
    retryable = False


class LinkUnusable(AddressRefused):
    """The text of a link is none that is ever fetched; no setting permits it."""

    code = "result_link_unusable"


class Misdirected(AddressRefused, FetchError):
    """A redirect, or the look-up of a name, led to a forbidden address. Nothing connects there.

    The link itself is acceptable, so this may pass: a portal answers in the place of a host, and a resolver that is
    filtered or starting answers with an address of its own.
    """

    code = "result_misdirected"
    retryable = True


@contextlib.contextmanager
def _may_pass() -> Iterator[None]:
    """Turn a refusal into one that may pass: what it refuses is not the text of the link."""
    try:
        yield
    except AddressRefused as refused:
        raise Misdirected(str(refused)) from None


class AddressGuard:
    """Decides which URLs may be fetched and which addresses may be connected to.

    `allow` lists hosts, IP addresses and CIDR networks that are permitted although not public; a host listed
    by name is also permitted over plain http, and whatever it resolves to is permitted. `allow_http` permits
    plain http to public hosts. Raises `ValueError` for an entry that is neither a host nor a network.
    """

    def __init__(self, allow: Sequence[str] = (), *, allow_http: bool = False) -> None:
        self._allow_http = allow_http
        self._networks: list[Network] = []
        self._hosts: set[str] = set()
        for entry in allow:
            self._admit(entry.strip())

    def _admit(self, entry: str) -> None:
        try:
            self._networks.append(ipaddress.ip_network(entry.strip("[]"), strict=False))
        except ValueError:
            host = entry.lower().rstrip(".")
            if not _HOST_NAME.fullmatch(host) or _LAST_LABEL_IS_NUMBER.fullmatch(host):
                raise ValueError(
                    f"{SETTING}: {entry!r} is not a host name, an IP address or a network such as 10.0.0.0/8"
                ) from None
            self._hosts.add(host)

    def check_url(self, url: str | httpx.URL, *, redirected_from: httpx.URL | None = None) -> httpx.URL:
        """Return `url` in the form to request, without its fragment, if its text is acceptable.

        Refuses other schemes than http and https, credentials in the URL, unusual spellings of IPv4
        addresses, literal addresses that are not public, and plain http unless allowed; after an https link
        only an allowed host may go on over plain http. Raises `AddressRefused`; of a redirect, `Misdirected`.
        """
        if redirected_from is None:
            return self._checked(url, None)
        with _may_pass():
            return self._checked(url, redirected_from)

    def _checked(self, url: str | httpx.URL, redirected_from: httpx.URL | None) -> httpx.URL:
        try:
            parsed = httpx.URL(url)
        except (httpx.InvalidURL, TypeError, ValueError):
            # from None: the parser's message quotes parts of the URL.
            raise LinkUnusable("the link is not a valid URL") from None
        host = parsed.raw_host.decode("ascii").lower().rstrip(".")
        if parsed.scheme not in ("http", "https") or not host:
            raise LinkUnusable("the link is not an http or https URL")
        if parsed.userinfo:
            raise LinkUnusable(f"{_shown(host)}: the link holds credentials")
        if parsed.port is not None and not 0 < parsed.port <= _LAST_PORT:
            raise LinkUnusable(f"{_shown(host)}: the link's port is not between 1 and {_LAST_PORT}")
        literal = _literal(host)
        by_name = host in self._hosts
        if literal is not None and not by_name:
            self.check_address(literal, host)
        if parsed.scheme == "http" and not by_name and not (literal is not None and self._listed(literal)):
            self._check_plain(host, redirected_from)
        return parsed.copy_with(fragment=None) if "#" in str(parsed) else parsed

    def _check_plain(self, host: str, redirected_from: httpx.URL | None) -> None:
        if redirected_from is not None and redirected_from.scheme == "https":
            raise AddressRefused(f"{_shown(host)}: an https link must not lead to plain http")
        if not self._allow_http:
            raise AddressRefused(f"{_shown(host)}: plain http; if intended, name the host in {SETTING}")

    def check_address(self, address: Address, host: str) -> None:
        """Raise `AddressRefused` unless `address` is public or allowed, by itself or as one of the name `host`."""
        plain = _unmapped(address)
        if self._named(host) or self._listed(plain) or self._listed(address):
            return
        reason = why_not_public(plain)
        if reason is not None:
            raise AddressRefused(f"{_shown(host)}: {reason}; name it in {SETTING} if that is intended")

    def open_socket(self, info: aiohttp.AddrInfoType) -> socket.socket:
        """Open the socket that will connect to `info` (a getaddrinfo tuple), or raise `Misdirected`.

        To be aiohttp's `socket_factory`: it is called once for each connection attempt. What only an allowed name
        permits is permitted while a `GuardedConnector` connects to that name: another name with the same address
        gains nothing.
        """
        family, kind, protocol, _, target = info
        text = str(target[0])
        named = _CONNECTING_TO.get()
        with _may_pass():
            self.check_address(ipaddress.ip_address(text.split("%", 1)[0]), named if self._named(named) else text)
        return socket.socket(family=family, type=kind, proto=protocol)

    def connector(
        self, *, limit: int, ssl_context: ssl.SSLContext, resolver: AbstractResolver | None = None
    ) -> "GuardedConnector":
        """Return an aiohttp connector that reaches only what this guard permits; call it in a running loop.

        `limit` is the number of connections open at once; `resolver` looks names up (default: the system's). No
        connection is used twice: an answer that a gateway repeats would be taken for the next one, and a picture does
        not say whose it is.
        """
        return GuardedConnector(
            limit=limit,
            force_close=True,
            resolver=GuardedResolver(self, resolver or aiohttp.ThreadedResolver()),
            socket_factory=self.open_socket,
            ssl=ssl_context,
        )

    def _listed(self, address: Address) -> bool:
        return any(address in network for network in self._networks)

    def _named(self, host: str) -> bool:
        return host.lower().rstrip(".") in self._hosts


class GuardedConnector(BoundedConnector):
    """Tells `AddressGuard.open_socket` to which host a socket is opened: aiohttp hands it the address alone."""

    async def connect(self, req: aiohttp.ClientRequest, *rest: Any, **options: Any) -> aiohttp.connector.Connection:
        """Return a connection, as aiohttp does."""
        token = _CONNECTING_TO.set(req.url.raw_host or "")
        try:
            return await super().connect(req, *rest, **options)
        finally:
            _CONNECTING_TO.reset(token)


class GuardedResolver(AbstractResolver):
    """Resolves names. One forbidden address refuses the name, because a mixed answer is an attack or a mistake."""

    def __init__(self, guard: AddressGuard, inner: AbstractResolver) -> None:
        self._guard = guard
        self._inner = inner

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """Return the addresses of `host`; raises `Misdirected`, or OSError if the name is unknown."""
        results = await self._inner.resolve(host, port, family)
        with _may_pass():
            for result in results:
                self._guard.check_address(ipaddress.ip_address(result["host"].split("%", 1)[0]), host)
        return results

    async def close(self) -> None:
        """Close the resolver inside."""
        await self._inner.close()


def why_not_public(address: Address) -> str | None:
    """Return what kind of non-public address this is, or None for a public one.

    Sources: the IANA special-purpose registries for IPv4 and IPv6 (RFC 6890), RFC 6598 (carrier-grade NAT),
    RFC 6052 (NAT64: judged by the embedded IPv4 address), RFC 7526 and RFC 4380 (6to4 and Teredo: refused
    whole).
    """
    address = _unmapped(address)
    if address in _NAT64:
        return why_not_public(ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF))
    for flag, reason in (
        (address.is_unspecified, "the unspecified address"),
        (address.is_loopback, "a loopback address"),
        (address.is_multicast, "a multicast address"),
        (address.is_link_local, "a link-local or metadata address"),
    ):
        if flag:
            return reason
    for network, reason in _REFUSED:
        if address in network:
            return reason
    if address.is_private:
        return "a private address"
    outside = isinstance(address, ipaddress.IPv6Address) and address not in _GLOBAL_UNICAST_V6
    if outside or address.is_reserved or not address.is_global:
        return "a reserved address"
    return None


def _unmapped(address: Address) -> Address:
    """Return the IPv4 address inside ::ffff:0:0/96, any other address unchanged."""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _literal(host: str) -> Address | None:
    """Return the address that `host` spells, None for a name; refuse spellings only some parsers read."""
    if "%" not in host:  # a zone index or an escape
        with contextlib.suppress(ValueError):
            return ipaddress.ip_address(host)
    if host == "localhost" or host.endswith(".localhost"):
        return _LOOPBACK
    if ":" in host or _LAST_LABEL_IS_NUMBER.fullmatch(host):
        raise LinkUnusable(f"{_shown(host)}: an unusual spelling of an IP address")
    if not _HOST_NAME.fullmatch(host):
        raise LinkUnusable(f"{_shown(host)}: not a host name")
    return None


def _shown(host: str) -> str:
    return re.sub(r"[^A-Za-z0-9.:_%\[\]-]", "?", host)[:100]
