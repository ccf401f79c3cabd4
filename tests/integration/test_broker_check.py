"""What `genqueue doctor` says of Redis: it does what a worker does, and names what to do where that fails."""

import secrets
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import anyio
import pytest
from kombu.exceptions import OperationalError
from kombu.transport.redis import Mutex
from pydantic import SecretStr
from redis import Redis

from ops.cli.broker_check import BrokerState, look
from ops.stack import Endpoints
from shared.broker import create_app
from shared.settings import load
from tests.support.tcp_proxy import TcpProxy, redis_socket
from tests.support.tls_front import TlsFront, tls_front
from worker import event_loop
from worker.runtime import Runtime
from worker.troubles import BROKER
from worker.upkeep import broker_back

RIGHTS = (
    "~submit* ~poll* ~transfer* ~reconcile* ~_kombu.binding* ~unacked* ~*.celery.pidbox* resetchannels "
    "&/0.celery.pidbox &/0.celeryev/* -@all +@read +@write +@pubsub +@transaction +@scripting +@connection +time "
    "-@dangerous"
)
"""As docs/servers.md gives them."""
User = Callable[[str], str]


def seen(url: str, ca_file: Path | None = None) -> BrokerState:
    return look(load(broker_url=url, broker_ca_file=ca_file))


@pytest.fixture
def admin(endpoints: Endpoints) -> Iterator["Redis"]:
    with Redis.from_url(endpoints.broker_url) as client:
        yield client


@pytest.fixture
def tcp(endpoints: Endpoints) -> Iterator[TcpProxy]:
    with TcpProxy(redis_socket(endpoints.broker_url)).serve() as running:
        yield running


@pytest.fixture
def user(admin: "Redis", tcp: TcpProxy) -> User:
    def make(rights: str) -> str:
        name = f"user-{secrets.token_hex(4)}"
        admin.execute_command("ACL", "SETUSER", name, "on", ">secret", *rights.split())
        return f"redis://{name}:secret@127.0.0.1:{tcp.port}/0"

    return make


@pytest.fixture
def front(endpoints: Endpoints, tmp_path: Path) -> Iterator[TlsFront]:
    with tls_front(tmp_path, redis_socket(endpoints.broker_url)) as made:
        yield made


def test_a_whole_server_is_named_with_its_version_and_policy_and_keeps_nothing_of_the_look(
    endpoints: Endpoints, admin: "Redis"
) -> None:
    before = admin.keys("*")
    state = seen(endpoints.broker_url)
    assert state.do == ""
    assert state.seen.startswith("Redis ")
    assert state.seen.endswith("noeviction")
    assert admin.keys("*") == before


def test_a_user_with_the_rights_that_the_document_gives_is_enough(user: User, repository: Path) -> None:
    state = seen(user(RIGHTS))
    assert (state.seen.partition(",")[0], state.do) == ("takes messages", "")
    assert " ".join((repository / "docs/servers.md").read_text().split()).count(RIGHTS) == 1


@pytest.mark.parametrize(
    ("without", "words"),
    [
        ("-publish", "this user may not PUBLISH"),
        ("-lpush", "this user may not LPUSH"),
        ("-brpop", "may not BRPOP"),
        ("-@scripting", "may not EVAL"),
        ("-psubscribe", "may not PSUBSCRIBE"),
        ("resetchannels", "may not PUBLISH"),
        ("resetkeys", "may not LPUSH"),
    ],
)
def test_a_right_that_is_missing_is_named(without: str, words: str, user: User) -> None:
    state = seen(user(f"{RIGHTS} {without}"))
    assert words in state.seen
    assert state.do == "give it the rights that docs/servers.md lists"


def test_a_wrong_password_and_a_replica_are_named(endpoints: Endpoints, user: User, admin: "Redis") -> None:
    wrong = user(RIGHTS).replace(":secret@", ":other@")
    assert seen(wrong) == ("refuses the user or the password", "correct GENQUEUE_BROKER_URL")
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert seen(endpoints.broker_url).seen == "is a replica, and takes no messages"
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")


def test_a_full_server_is_named(endpoints: Endpoints, admin: "Redis") -> None:
    admin.config_set("maxmemory", 1)
    try:
        assert seen(endpoints.broker_url).seen == "is full, and takes no messages"
    finally:
        admin.config_set("maxmemory", 0)


def test_a_frozen_server_is_reported_within_five_seconds() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as frozen:
        began = time.monotonic()
        state = seen(f"redis://127.0.0.1:{frozen.getsockname()[1]}/0")
        assert time.monotonic() - began < 5
    assert state.seen == "takes connections and answers nothing"


def test_a_server_with_a_private_authority_is_verified_by_it_and_refused_without(front: TlsFront) -> None:
    url = f"rediss://127.0.0.1:{front.port}/0"
    assert seen(url, front.ca_file).do == ""
    assert "GENQUEUE_BROKER_CA_FILE" in seen(url).do
    assert seen(f"{url}?ssl_cert_reqs=none").do == ""
    assert "cannot be verified" in seen(url.replace("127.0.0.1", "localhost"), front.ca_file).seen


def test_workers_verify_the_certificate_by_default(front: TlsFront) -> None:
    url = SecretStr(f"rediss://127.0.0.1:{front.port}/0")
    with create_app(url, front.ca_file) as app, app.connection_for_write() as connection:
        connection.ensure_connection(max_retries=1, timeout=5)
    refused = pytest.raises(OperationalError, match="CERTIFICATE_VERIFY_FAILED")
    with create_app(url) as app, app.connection_for_write() as connection, refused:
        connection.ensure_connection(max_retries=1, timeout=5)


def test_a_lock_that_a_dead_worker_left_stops_restoring_for_seconds_alone(endpoints: Endpoints, admin: "Redis") -> None:
    app = create_app(SecretStr(endpoints.broker_url))
    with app.connection_for_read() as connection, connection.channel() as channel:
        key, seconds = (getattr(channel, f"unacked_mutex_{what}") for what in ("key", "expire"))
        with Mutex(admin, key, seconds):
            assert 0 < admin.pttl(key) <= 10_000
    app.close()


def ask(runtime: Runtime, url: str) -> dict[str, str]:
    """Let a worker that has noted a trouble ask the broker at `url`, and return what is still wrong."""
    runtime.settings = load(broker_url=url)
    runtime.troubles.note(BROKER, "refused")

    async def run() -> None:
        async with anyio.create_task_group() as group:
            runtime.start(group)
            await broker_back.look(runtime)
            group.cancel_scope.cancel()

    event_loop.run(run)
    return runtime.troubles.present()


def test_a_workers_trouble_is_over_as_soon_as_the_broker_takes_messages_though_nothing_is_due(
    runtime: Runtime, user: User, admin: "Redis", tmp_path: Path
) -> None:
    before = admin.keys("*")
    assert ask(runtime, f"redis+socket://{tmp_path}/nobody.sock") == {BROKER: "refused"}
    assert ask(runtime, user(f"{RIGHTS} -lpush")) == {BROKER: "refused"}
    assert ask(runtime, user(RIGHTS)) == {}
    assert admin.keys("*") == before


def test_a_broker_that_answers_and_takes_nothing_stays_a_trouble(
    runtime: Runtime, endpoints: Endpoints, admin: "Redis"
) -> None:
    admin.config_set("maxmemory", 1)
    try:
        assert ask(runtime, endpoints.broker_url) == {BROKER: "refused"}
    finally:
        admin.config_set("maxmemory", 0)
    admin.execute_command("REPLICAOF", "127.0.0.1", "1")
    try:
        assert ask(runtime, endpoints.broker_url) == {BROKER: "refused"}
    finally:
        admin.execute_command("REPLICAOF", "NO", "ONE")
    assert ask(runtime, endpoints.broker_url) == {}
