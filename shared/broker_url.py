"""What `GENQUEUE_BROKER_URL` may say, and the forms in which Celery and redis-py take it."""

from collections.abc import Mapping
from typing import Final, NamedTuple
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlsplit

_SCHEMES: Final = ("redis", "rediss", "unix", "sentinel")
_SENTINEL_PORT: Final = 26379
_REDIS_PORT: Final = 6379
_SOCKETS: Final = ("unix", "redis+socket")  # the second is kombu's word for the first


class Sentinels(NamedTuple):
    """Which Sentinels know the primary, by which name, and how one logs in at the primary itself."""

    hosts: tuple[tuple[str, int], ...]
    master_name: str
    username: str | None
    password: str | None
    db: int

    @property
    def urls(self) -> tuple[str, ...]:
        """As kombu writes them, without a password."""
        return tuple(f"sentinel://{_bracketed(host)}:{port}" for host, port in self.hosts)


class BrokerUrl(NamedTuple):
    """One address of Redis, as each of its clients writes it. Both may contain a password."""

    celery: str
    plain: str
    """For redis-py; empty if Sentinels are asked."""
    sentinels: Sentinels | None = None


def parse(url: str) -> BrokerUrl:
    """Return the forms of a URL that is not empty. Raises `ValueError`, whose words contain nothing of the URL."""
    parts = urlsplit(url)
    if parts.scheme in _SOCKETS:
        return _socket(parts)
    if parts.scheme not in _SCHEMES:
        raise ValueError(f"begin it with one of {', '.join(f'{scheme}://' for scheme in _SCHEMES)}")
    if parts.scheme == "sentinel":
        return _asked(url)
    if ";" in url:
        raise ValueError("name one server: a queue on several servers would lose sight of its messages")
    return BrokerUrl(url, url)


def place(url: str) -> tuple[object, ...]:
    """Return which server and which database a URL names, without its login; raises as `parse` does."""
    found = parse(url)
    if found.sentinels is not None:
        return found.sentinels.master_name, frozenset(found.sentinels.hosts), found.sentinels.db
    parts = urlsplit(found.plain)
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "unix":
        return parts.path, _number(query)
    host = "localhost" if parts.hostname in {None, "127.0.0.1", "::1"} else parts.hostname
    return host, parts.port or _REDIS_PORT, _number({"db": parts.path.strip("/"), **query})


def _socket(parts: SplitResult) -> BrokerUrl:
    """Name a socket by its file. Its rights protect it: Celery would show a password of such a URL to everyone."""
    if parts.netloc:
        raise ValueError(
            "a Unix socket takes no user, password or host: write unix:///path/to/redis.sock, and protect the file by "
            "its rights"
        )
    query = dict(parse_qsl(parts.query))
    path, number = quote(unquote(parts.path)), _number(query)
    return BrokerUrl(f"redis+socket://{path}?virtual_host={number}", f"unix://{path}?db={number}")


def _asked(url: str) -> BrokerUrl:
    """Read `sentinel://USER:PASSWORD@HOST:PORT;sentinel://HOST:PORT/DATABASE?master_name=NAME`."""
    every = [urlsplit(one) for one in url.split(";")]
    if any(one.scheme != "sentinel" or not one.hostname for one in every):
        raise ValueError("write each Sentinel as sentinel://HOST:PORT, with a semicolon between them")
    query = {name: value for one in every for name, value in parse_qsl(one.query)}
    if not query.get("master_name"):
        raise ValueError("say which primary the Sentinels watch: ...?master_name=NAME")
    path = next((one.path.strip("/") for one in every if one.path.strip("/")), "")
    login = next((one for one in every if one.username or one.password), every[0])
    username, password = (unquote(part) if part else None for part in (login.username, login.password))
    hosts = tuple((one.hostname or "", one.port or _SENTINEL_PORT) for one in every)
    found = Sentinels(hosts, query["master_name"], username, password, _number({"db": path, **query}))
    credentials = f"{quote(username or '', safe='')}:{quote(password, safe='')}@" if password else ""
    host, port = hosts[0]
    return BrokerUrl(f"sentinel://{credentials}{_bracketed(host)}:{port}/{found.db}", "", found)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _number(query: Mapping[str, str]) -> int:
    given = query.get("db") or query.get("virtual_host") or "0"
    if not given.isdecimal():
        raise ValueError("the database of a Redis is a number, as in ?db=0")
    return int(given)
