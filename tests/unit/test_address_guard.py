import asyncio
import ipaddress
import socket

import aiohttp
import httpx
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from worker import event_loop
from worker.transport.address_guard import (
    AddressGuard,
    AddressRefused,
    GuardedConnector,
    GuardedResolver,
    LinkUnusable,
    Misdirected,
    why_not_public,
)

ODD = [
    "[fe80::1%25eth0]",
    "[2606:4700::1111%25eth0]",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "127.1",
    "127.0.1",
    "127.0.0.01",
    "1.2.3.4.5",
    "127%2e0%2e0%2e1",
]
"""Spellings that only some parsers read as an address; no setting permits them."""


class Answering(AbstractResolver):
    """Resolves every name to the addresses given, in turn if `turns` is set."""

    def __init__(self, *addresses: str, turns: bool = False) -> None:
        self.addresses = list(addresses)
        self.turns = turns

    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:  # noqa: ARG002 - the interface
        chosen = [self.addresses.pop(0)] if self.turns else self.addresses
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in chosen
        ]

    async def close(self) -> None: ...


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "127.9.9.9",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.1.1",
        "169.254.169.254",
        "168.63.129.16",
        "100.64.0.1",
        "100.100.100.200",
        "192.0.0.192",
        "192.88.99.1",
        "198.18.0.1",
        "203.0.113.5",
        "224.0.0.1",
        "240.0.0.1",
        "255.255.255.255",
        "0.0.0.0",
        "127.0.0.1.",
        "[::1]",
        "[::]",
        "[fe80::1]",
        "[fec0::1]",
        "[fc00::1]",
        "[fd00:ec2::254]",
        "[ff02::1]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::127.0.0.1]",
        "[64:ff9b::a9fe:a9fe]",
        "[64:ff9b:1::1]",
        "[2002:7f00:1::]",
        "[2001:0:7f00:1::]",
        "[2001:db8::1]",
        "localhost",
        "a.localhost",
        "LOCALHOST.",
        "127。0。0。1",
        *ODD,
    ],
)
def test_a_link_to_an_address_that_is_not_public_or_oddly_spelled_is_refused(host: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        AddressGuard().check_url(f"https://{host}/secret-path?sig=secret")
    assert "secret" not in str(caught.value)
    code = "result_link_unusable" if host in ODD else "result_address_refused"
    assert (caught.value.code, caught.value.retryable) == (code, False)


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.com/secret",
        "file:///etc/secret",
        "gopher://example.com/secret",
        "//example.com/secret",
        "/img/secret",
        "https:///secret",
        "https://user:secret@example.com/",
        "https://secret@example.com/",
        "https://example.com:abc/secret",
        "https://example.com:99999/secret",
        "https://exa mple.com/secret",
        "https://[::1/secret",
        "https://\x00/secret",
        "http://example.com/secret",
        "",
    ],
)
def test_a_link_of_an_unacceptable_form_is_refused_without_quoting_it(url: str) -> None:
    with pytest.raises(AddressRefused) as caught:
        AddressGuard().check_url(url)
    assert "secret" not in str(caught.value)
    assert "GENQUEUE_ALLOW_PRIVATE_URLS" not in str(caught.value) or url == "http://example.com/secret"
    assert isinstance(caught.value, LinkUnusable) is (url != "http://example.com/secret")


@pytest.mark.parametrize(
    "location", ["http://10.255.255.1/login", "http://login.example/", "https://user:pw@login.example/", "ftp://x/"]
)
def test_a_redirect_that_is_refused_may_pass_and_the_same_text_in_a_link_may_not(location: str) -> None:
    with pytest.raises(Misdirected) as caught:
        AddressGuard().check_url(location, redirected_from=httpx.URL("https://cdn.example/picture"))
    assert (caught.value.code, caught.value.retryable) == ("result_misdirected", True)
    with pytest.raises(AddressRefused) as final:
        AddressGuard().check_url(location)
    assert not final.value.retryable


@pytest.mark.parametrize(
    "host", ["example.com", "8.8.8.8", "[2606:4700::1111]", "xn--bcher-kva.example", "a_b.example"]
)
def test_a_public_https_link_passes_with_its_escapes_unchanged_and_its_fragment_removed(host: str) -> None:
    url = f"https://{host}/a%2Fb/%7Ex?sig=a%2Fb%2B%3D&y=a+b"
    assert AddressGuard().check_url(f"{url}#part") == url


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("8.8.8.8", None),
        ("64:ff9b::808:808", None),
        ("::ffff:8.8.8.8", None),
        ("2606:4700::1111", None),
        ("10.1.2.3", "a private address"),
        ("64:ff9b::a01:203", "a private address"),
        ("100.127.0.1", "a carrier-grade NAT address"),
        ("5f00::1", "a reserved address"),
    ],
)
def test_addresses_are_judged_by_what_they_embed(address: str, reason: str | None) -> None:
    assert why_not_public(ipaddress.ip_address(address)) == reason


def test_an_allowed_network_or_host_may_be_private_and_plain_http() -> None:
    guard = AddressGuard(["127.0.0.0/8", "minio.internal", "[::1]", "fd00::/8"])
    for url in (
        "http://127.0.0.1:9000/x",
        "http://localhost/x",
        "http://MINIO.internal/x",
        "http://[::1]/x",
        "http://[fd12::1]/x",
        "https://[::ffff:127.0.0.1]/x",
    ):
        assert guard.check_url(url)
    with pytest.raises(AddressRefused, match="private address"):
        guard.check_url("https://10.0.0.1/x")


def test_plain_http_is_refused_unless_allowed_and_never_follows_https() -> None:
    with pytest.raises(AddressRefused, match=r"example\.com: plain http"):
        AddressGuard().check_url("http://example.com/")
    open_guard = AddressGuard(["cdn.internal"], allow_http=True)
    assert open_guard.check_url("http://example.com/", redirected_from=httpx.URL("http://example.org/"))
    assert open_guard.check_url("http://cdn.internal/", redirected_from=httpx.URL("https://example.org/"))
    with pytest.raises(AddressRefused, match="must not lead to plain http"):
        open_guard.check_url("http://example.com/", redirected_from=httpx.URL("https://example.org/"))


@pytest.mark.parametrize("entry", ["http://minio:9000", "minio:9000", "10.0.0.0/99", "", "0x7f.1", "*.example.com"])
def test_an_allow_entry_that_is_no_host_and_no_network_is_an_error_naming_the_setting(entry: str) -> None:
    with pytest.raises(ValueError, match="GENQUEUE_ALLOW_PRIVATE_URLS"):
        AddressGuard([entry])


def test_a_name_that_resolves_to_any_private_address_is_refused() -> None:
    async def resolve() -> None:
        resolver = GuardedResolver(AddressGuard(), Answering("8.8.8.8", "10.0.0.1"))
        with pytest.raises(AddressRefused, match=r"cdn\.example: a private address"):
            await resolver.resolve("cdn.example", 443)

    event_loop.run(resolve)


def test_a_name_that_a_sinkhole_answers_for_once_may_pass() -> None:
    async def resolve() -> None:
        resolver = GuardedResolver(AddressGuard(), Answering("0.0.0.0", "8.8.8.8", turns=True))
        with pytest.raises(Misdirected):
            await resolver.resolve("cdn.example", 443)
        assert await resolver.resolve("cdn.example", 443)

    event_loop.run(resolve)


def test_an_address_that_an_allowed_name_has_is_reached_by_that_name_only() -> None:
    """Both names have the same address; the allowed one is asked first, so that nothing may be remembered of it."""

    async def connect() -> None:
        guard = AddressGuard(["minio.internal"], allow_http=True)
        server = await asyncio.start_server(_answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        connector = guard.connector(limit=2, ssl_context=httpx.create_ssl_context(), resolver=Answering("127.0.0.1"))
        async with server, aiohttp.ClientSession(connector=connector) as session:
            for name in ("minio.internal", "MINIO.internal."):
                async with session.get(f"http://{name}:{port}/") as answer:
                    assert answer.status == 200
            with pytest.raises(AddressRefused, match=r"cdn\.example: a loopback address"):
                await session.get(f"http://cdn.example:{port}/")
        with pytest.raises(AddressRefused):
            guard.open_socket((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", port)))

    asyncio.run(connect())


def test_a_socket_to_an_allowed_address_is_refused_where_another_name_leads_there_unchecked() -> None:
    """A resolver that is not guarded stands for a name that changed its address after it was checked."""

    async def connect() -> None:
        guard = AddressGuard(["minio.internal"], allow_http=True)
        connector = GuardedConnector(resolver=Answering("10.0.0.1"), socket_factory=guard.open_socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(AddressRefused, match="a private address"):
                await session.get("http://rebinding.example:1/")

    asyncio.run(connect())


async def _answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
    await writer.drain()
    writer.close()


def test_the_socket_is_refused_even_if_every_earlier_check_was_deceived() -> None:
    """A resolver that is not guarded stands for a name that changed its address after it was checked."""

    async def connect() -> None:
        listener = socket.create_server(("127.0.0.1", 0))
        listener.settimeout(0)
        port = listener.getsockname()[1]
        connector = aiohttp.TCPConnector(resolver=Answering("127.0.0.1"), socket_factory=AddressGuard().open_socket)
        async with aiohttp.ClientSession(connector=connector) as session:
            with pytest.raises(AddressRefused, match="a loopback address"):
                await session.get(f"http://rebinding.example:{port}/")
        with pytest.raises(BlockingIOError):
            listener.accept()
        listener.close()

    event_loop.run(connect)


def test_a_name_that_resolves_differently_the_second_time_reaches_nothing() -> None:
    async def connect() -> None:
        rebinding = Answering("8.8.8.8", "127.0.0.1", turns=True)
        guard = AddressGuard(allow_http=True)
        connector = guard.connector(limit=1, ssl_context=httpx.create_ssl_context(), resolver=rebinding)
        async with aiohttp.ClientSession(connector=connector) as session:
            await GuardedResolver(guard, rebinding).resolve("rebinding.example", 80)  # the innocent first look
            with pytest.raises(AddressRefused, match=r"rebinding\.example: a loopback address"):
                await session.get("http://rebinding.example:1/")

    event_loop.run(connect)
