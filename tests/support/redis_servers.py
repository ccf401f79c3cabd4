"""Redis servers on ports of their own: a primary, its replica, and Sentinels that watch both."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from ops.stack.ports import free_port
from ops.stack.servers import find_redis
from tests.support.waiting import until

PASSWORD = "planted-broker-password"
NAME = "ours"
_SENTINEL = """\
port {port}
sentinel monitor {name} 127.0.0.1 {primary} 1
sentinel auth-pass {name} {password}
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 5000
"""


@dataclass
class RedisServers:
    """Starts servers in `directory`; `password` is that of the data servers."""

    directory: Path
    undo: ExitStack
    processes: "dict[int, subprocess.Popen[bytes]]" = field(default_factory=dict)

    def start(self, *, replica_of: int | None = None) -> int:
        """Start a server, a replica where told so; return its port once it answers."""
        port = free_port(set(self.processes))
        options = ["--port", str(port), "--bind", "127.0.0.1", "--save", "", "--requirepass", PASSWORD]
        options += ["--masterauth", PASSWORD, "--repl-diskless-sync", "yes", "--repl-diskless-sync-delay", "0"]
        self._run(port, [*options, *(["--replicaof", "127.0.0.1", str(replica_of)] if replica_of else [])])
        if replica_of:
            with self.client(port) as client:
                until(lambda: client.info("replication")["master_link_status"] == "up")
        return port

    def watch(self, primary: int) -> int:
        """Start a Sentinel that watches the primary; return its port once it knows the replica."""
        port = free_port(set(self.processes))
        file = self.directory / f"sentinel-{port}.conf"
        file.write_text(_SENTINEL.format(port=port, name=NAME, primary=primary, password=PASSWORD))
        self._run(port, [str(file), "--sentinel"], password=None)
        with redis.Redis(port=port) as client:
            until(lambda: client.sentinel_slaves(NAME))
        return port

    def kill(self, port: int) -> None:
        self.processes[port].kill()
        self.processes[port].wait()

    def client(self, port: int) -> "redis.Redis":
        return redis.Redis(port=port, password=PASSWORD)

    def _run(self, port: int, options: list[str], password: str | None = PASSWORD) -> None:
        command = [str(find_redis().program), *options]
        process = subprocess.Popen(command, cwd=self.directory, stdout=subprocess.DEVNULL)
        self.processes[port] = self.undo.enter_context(process)
        self.undo.callback(process.kill)
        with redis.Redis(port=port, password=password) as client:
            until(lambda: _answers(client))


def _answers(client: "redis.Redis") -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False


@contextmanager
def redis_servers(directory: Path) -> Iterator[RedisServers]:
    """Yield a starter of servers, which end with the block."""
    with ExitStack() as undo:
        yield RedisServers(directory, undo)
