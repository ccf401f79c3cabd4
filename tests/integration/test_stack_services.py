"""The embedded services while they run: what they answer, what survives a kill, what a guard refuses."""

import base64
import hashlib
import http.client
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from signal import SIGCONT, SIGKILL, SIGSTOP
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil
import psycopg
import pytest
import redis
from botocore.config import Config
from botocore.exceptions import ClientError

from ops.stack import Back, Ended, Endpoints, Home, Stack, StackError, database_alone
from ops.stack.redis import redis_problem
from tests.support.tcp_proxy import redis_socket
from tests.support.waiting import until


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    with Stack(Home(tmp_path_factory.mktemp("stack") / "home")) as running:
        yield running


def sql(endpoints: Endpoints, statement: str) -> list[Any]:
    url = endpoints.owner_url
    with psycopg.connect(url, autocommit=True) as connection:
        cursor = connection.execute(statement)
        return cursor.fetchall() if cursor.description else []


def s3(endpoints: Endpoints, access_key: str | None = None) -> Any:
    return boto3.client(
        "s3",
        endpoint_url=endpoints.s3_endpoint_url,
        region_name="us-east-1",
        aws_access_key_id=access_key or endpoints.s3_access_key,
        aws_secret_access_key=endpoints.s3_secret_key,
        config=Config(signature_version="s3v4", s3={"addressing_style": "path"}, retries={"total_max_attempts": 1}),
    )


def ask(endpoints: Endpoints, method: str, path: str, **headers: str) -> int:
    address = urlsplit(endpoints.s3_endpoint_url)
    connection = http.client.HTTPConnection(address.hostname or "", address.port, timeout=5)
    try:
        connection.request(method, path, headers=headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_versions_name_the_server_and_where_it_came_from(stack: Stack) -> None:
    versions = stack.versions()
    assert versions["postgres"].startswith("PostgreSQL 18.")
    assert versions["redis"].startswith("Redis 6.2.")
    assert versions["s3"].startswith("ministack 1.")
    assert all(version.endswith(" (wheel)") for version in versions.values())


def test_no_repr_shows_a_secret(stack: Stack) -> None:
    config = stack.home.read()
    assert config is not None
    secrets = (
        *(config.postgres_password, config.owner_password, config.app_password),
        *(config.s3_access_key, config.s3_secret_key),
    )
    shown = f"{stack!r} {stack.endpoints!r} {config!r} {stack.home!r}"
    assert not [secret for secret in secrets if secret in shown]
    assert "postgresql://genqueue_app:***@127.0.0.1:" in shown


def test_no_command_line_shows_a_secret(stack: Stack) -> None:
    owner, config = stack.home.lock.owner(), stack.home.read()
    assert owner is not None
    assert config is not None
    lines = [Path(f"/proc/{child.pid}/cmdline").read_text() for child in owner.children.values()]
    secrets = (
        *(config.postgres_password, config.owner_password, config.app_password),
        *(config.s3_access_key, config.s3_secret_key),
    )
    assert len(lines) == 3
    assert not [secret for secret in secrets if any(secret in line for line in lines)]


def test_no_connection_pays_for_repeated_hashing_of_a_random_password(stack: Stack) -> None:
    with psycopg.connect(stack.endpoints.admin_url) as connection:
        rows = connection.execute("SELECT split_part(rolpassword, ':', 1) FROM pg_authid WHERE rolcanlogin").fetchall()
        # PostgreSQL 15 cannot be told.
        repetitions = 1 if connection.info.server_version >= 160_000 else 4096
    assert [stored for (stored,) in rows] == [f"SCRAM-SHA-256${repetitions}"] * 3


def test_what_holds_secrets_or_data_is_readable_by_the_owner_alone(stack: Stack) -> None:
    assert stack.home.path.stat().st_mode & 0o777 == 0o700
    open_to_others = [path.name for path in stack.home.path.iterdir() if path.stat().st_mode & 0o077]
    assert open_to_others == []


def test_every_service_listens_on_loopback_or_on_a_socket_in_the_home_only(stack: Stack) -> None:
    ports = {port for url in stack.endpoints.environment().values() if "//" in url and (port := urlsplit(url).port)}
    listening = [line.split()[1] for line in Path("/proc/net/tcp").read_text().splitlines() if " 0A " in line]
    addresses = {
        address for address, _, port in (entry.partition(":") for entry in listening) if int(port, 16) in ports
    }
    assert len(ports) == 2
    assert addresses == {"0100007F"}
    owner = stack.home.lock.owner()
    assert owner is not None
    listening_redis = [each.laddr for each in psutil.Process(owner.children["redis"].pid).net_connections("all")]
    assert listening_redis == [str(stack.home.path / "redis.sock")]


def test_a_running_home_is_joined_by_its_endpoints(stack: Stack) -> None:
    other_process = Home(stack.home.path)
    assert other_process.running() == stack.endpoints
    with database_alone(other_process) as endpoints:
        assert endpoints == stack.endpoints
    assert sql(stack.endpoints, "SELECT 1") == [(1,)]


def test_a_second_supervisor_is_refused_with_the_first_ones_pid(stack: Stack) -> None:
    with pytest.raises(StackError, match=r"already running: pid \d+ since .*stop it.*GENQUEUE_HOME"):
        Stack(Home(stack.home.path)).start()
    assert stack.home.running()


def test_a_second_home_runs_beside_the_first(stack: Stack, tmp_path: Path) -> None:
    with Stack(Home(tmp_path / "home"), services=("postgres", "redis")) as other:
        sql(other.endpoints, "CREATE TABLE only_there ()")
        assert sql(stack.endpoints, "SELECT to_regclass('only_there')") == [(None,)]
        assert other.endpoints.broker_url != stack.endpoints.broker_url
        assert other.home.running() == other.endpoints
    assert stack.home.running() == stack.endpoints


def test_redis_keeps_its_data_and_its_socket_through_a_kill(stack: Stack) -> None:
    with redis.Redis.from_url(stack.endpoints.broker_url) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        client.rpush("submit", "one", "two")
    stack.kill("redis")
    before = stack.endpoints
    stack.restart("redis")
    assert stack.endpoints == before
    with redis.Redis.from_url(before.broker_url) as client:
        assert client.lrange("submit", 0, -1) == [b"one", b"two"]


def test_postgres_keeps_what_was_committed_through_a_kill_with_clients_connected(stack: Stack) -> None:
    sql(stack.endpoints, "CREATE TABLE kept AS SELECT 7 AS n")
    with psycopg.connect(stack.endpoints.owner_url, autocommit=True) as client:
        client.execute("SELECT 1")
        stack.kill("postgres")
        stack.restart("postgres")
    assert sql(stack.endpoints, "SELECT n FROM kept") == [(7,)]


def test_objects_survive_a_kill_with_their_metadata_and_checksum(stack: Stack) -> None:
    s3(stack.endpoints).put_object(
        Bucket="genqueue",
        Key="a/b.png",
        Body=b"image",
        ContentType="image/png",
        Metadata={"job": "1"},
        ChecksumAlgorithm="SHA256",
    )
    stack.kill("s3", SIGKILL)
    stack.restart("s3")
    found = s3(stack.endpoints).get_object(Bucket="genqueue", Key="a/b.png", ChecksumMode="ENABLED")
    assert found["Body"].read() == b"image"
    assert (found["ContentType"], found["Metadata"]) == ("image/png", {"job": "1"})
    assert found["ChecksumSHA256"] == base64.b64encode(hashlib.sha256(b"image").digest()).decode()


def test_the_bucket_outlives_a_kill_while_it_is_empty(tmp_path: Path) -> None:
    with Stack(Home(tmp_path), services=("s3",)) as alone:
        alone.kill("s3")
        alone.restart("s3")
        assert s3(alone.endpoints).list_objects_v2(Bucket="genqueue")["KeyCount"] == 0


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/_ministack/reset"),
        ("POST", "/%5Fministack/reset"),
        ("POST", "//_ministack/reset"),
        ("GET", "/_ministack/health"),
        ("GET", "/_localstack/health"),
        ("GET", "/health"),
        ("POST", "/login"),
        ("POST", "/oauth2/token"),
        ("GET", "/genqueue/kept"),
        ("PUT", "/genqueue/kept"),
        ("DELETE", "/genqueue/kept"),
        ("GET", "/"),
    ],
)
def test_the_guard_refuses_every_request_without_our_key(stack: Stack, method: str, path: str) -> None:
    client = s3(stack.endpoints)
    client.put_object(Bucket="genqueue", Key="kept", Body=b"kept")
    assert ask(stack.endpoints, method, path) == 403
    assert client.get_object(Bucket="genqueue", Key="kept")["Body"].read() == b"kept"


def test_the_guard_refuses_the_emulators_reset_even_with_our_key(stack: Stack) -> None:
    credential = f"AWS4-HMAC-SHA256 Credential={stack.endpoints.s3_access_key}/20260101/us-east-1/s3/aws4_request"
    assert ask(stack.endpoints, "POST", "/_ministack/reset", Authorization=credential) == 403


@pytest.mark.parametrize("access_key", ["test", "000000000000", "AKIAIOSFODNN7EXAMPLE"])
def test_the_guard_refuses_the_emulators_well_known_keys(stack: Stack, access_key: str) -> None:
    with pytest.raises(ClientError, match="AccessDenied"):
        s3(stack.endpoints, access_key).list_buckets()


def test_the_guard_refuses_other_host_names(stack: Stack) -> None:
    credential = f"AWS4-HMAC-SHA256 Credential={stack.endpoints.s3_access_key}/20260101/us-east-1/s3/aws4_request"
    assert ask(stack.endpoints, "GET", "/", Host="evil.example", Authorization=credential) == 403


def test_a_presigned_url_opens_one_object_and_no_other(stack: Stack) -> None:
    client = s3(stack.endpoints)
    client.put_object(Bucket="genqueue", Key="shared", Body=b"shared")
    client.put_object(Bucket="genqueue", Key="secret", Body=b"secret")
    url = urlsplit(client.generate_presigned_url("get_object", Params={"Bucket": "genqueue", "Key": "shared"}))
    assert ask(stack.endpoints, "GET", f"{url.path}?{url.query}") == 200
    assert ask(stack.endpoints, "GET", f"/genqueue/secret?{url.query}") == 403


def test_prompts_never_reach_the_database_log(stack: Stack) -> None:
    sql(stack.endpoints, "CREATE TABLE prompts (prompt text PRIMARY KEY, n integer)")
    sql(stack.endpoints, "INSERT INTO prompts VALUES ('a cat with three hats', 1)")
    for failing in (
        "INSERT INTO prompts VALUES ('a cat with three hats', 1)",
        "SELECT 'a cat with three hats'::integer",
        "SELECT nothing FROM nowhere -- a cat with three hats",
    ):
        with pytest.raises(psycopg.Error):
            sql(stack.endpoints, failing)
    log = stack.home.log("postgres").read_text()
    assert "ready to accept connections" in log
    assert "three hats" not in log


def test_a_service_that_dies_is_reported_and_started_again(stack: Stack) -> None:
    stack.kill("redis")
    ended = until(stack.tend)
    assert [(end.name, end.status) for end in ended] == [("redis", -SIGKILL)]
    assert "redis ended unexpectedly (killed by SIGKILL), starting again in 0.5 s; see " in str(ended[0])
    config = stack.home.read()
    assert config is not None
    until(lambda: not stack.tend() and redis_problem(config) is None)


@pytest.mark.parametrize("name", ["redis", "s3"])
def test_a_frozen_broker_or_bucket_does_not_keep_a_command_from_the_database(stack: Stack, name: str) -> None:
    frozen = stack._children[name].process
    frozen.send(SIGSTOP)
    try:
        assert Home(stack.home.path).running() == stack.endpoints
    finally:
        frozen.send(SIGCONT)


def test_a_child_that_fails_at_once_is_tried_again_at_growing_intervals(tmp_path: Path) -> None:
    with Stack(Home(tmp_path / "home"), services=()) as small:
        small.spawn("broken", [sys.executable, "-S", "-c", "raise SystemExit(3)"], {})
        said = small.watch(seconds=15)
        ended = [end for end in (next(said) for _ in range(3)) if isinstance(end, Ended)]
        assert [end.restart_in_seconds for end in ended] == [0.5, 1.0, 2.0]


def test_whoever_watches_is_told_when_a_service_answers_again_and_when_a_child_runs_again(stack: Stack) -> None:
    stack.spawn("sleeper", ["/bin/sleep", "600"], {})
    said = stack.watch(seconds=60)
    for name in ("redis", "sleeper"):
        stack.kill(name)
        ended, back = next(said), next(said)
        assert isinstance(ended, Ended)
        assert isinstance(back, Back)
        assert (ended.name, back.name) == (name, name)
        assert str(back).startswith(f"{name} is back after ")
    config = stack.home.read()
    assert config is not None
    assert redis_problem(config) is None


def test_a_spawned_child_gets_the_endpoints_and_is_stopped_while_the_services_still_answer(tmp_path: Path) -> None:
    program = """
import os, signal, socket, sys
def stop(*_):
    socket.socket(socket.AF_UNIX).connect(os.environ["GENQUEUE_BROKER_URL"].partition("//")[2].partition("?")[0])
    print("stopped with the broker alive", os.environ["COLOUR"], flush=True)
    sys.exit(0)
signal.signal(signal.SIGTERM, stop)
print("up", flush=True)
while True: signal.pause()
"""
    home = Home(tmp_path / "home")
    with Stack(home, services=("redis",)) as small:
        process = small.spawn("worker", [sys.executable, "-S", "-c", program], {"COLOUR": "blue"})
        until(lambda: "up" in home.log("worker").read_text())
        assert process.poll() is None
        with pytest.raises(StackError, match="worker is already running"):
            small.spawn("worker", [sys.executable], {})
    assert process.poll() == 0
    assert "stopped with the broker alive blue" in home.log("worker").read_text()


def test_a_child_that_ignores_the_request_to_stop_is_killed(tmp_path: Path) -> None:
    program = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); signal.pause()"
    home = Home(tmp_path / "home")
    with Stack(home, services=("redis",)) as small:
        stubborn = small.spawn("stubborn", [sys.executable, "-S", "-c", program], {}, stop_seconds=0.2)
        until(lambda: "up" in home.log("stubborn").read_text())
    assert stubborn.poll() == -SIGKILL


def test_a_port_taken_since_the_last_start_is_chosen_anew_and_the_data_stays(tmp_path: Path) -> None:
    home = Home(tmp_path / "home")
    with Stack(home, services=("postgres",)) as first:
        sql(first.endpoints, "CREATE TABLE kept AS SELECT 'yes' AS word")
    remembered = urlsplit(first.endpoints.owner_url).port
    with socket.create_server(("127.0.0.1", remembered or 0)), Stack(home, services=("postgres",)) as second:
        assert urlsplit(second.endpoints.owner_url).port != remembered
        assert sql(second.endpoints, "SELECT word FROM kept") == [("yes",)]


def test_a_home_too_deep_for_a_socket_has_it_in_a_short_directory_of_its_own(tmp_path: Path) -> None:
    home = Home(tmp_path / ("deep" * 25) / "ein h\u00e4usliches home")
    with Stack(home, services=("redis",)) as first, redis.Redis.from_url(first.endpoints.broker_url) as client:
        client.set("kept", "yes")
        place = redis_socket(first.endpoints.broker_url)
        assert (place.parent.stat().st_mode & 0o777, place.stat().st_mode & 0o777) == (0o700, 0o600)
        assert len(str(place)) < 108
        assert Home(home.path).running() == first.endpoints
    assert not place.parent.exists()
    place.parent.mkdir(mode=0o777)
    place.parent.chmod(0o777)  # somebody else's, in a directory where everybody may write
    with Stack(home, services=("redis",)) as second, redis.Redis.from_url(second.endpoints.broker_url) as client:
        assert redis_socket(second.endpoints.broker_url).parent != place.parent
        assert client.get("kept") == b"yes"
    place.parent.rmdir()
