"""The supervisor: owns a home, starts its services and further children, watches and stops them in order."""

import os
import signal
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from ops.stack.child_environment import reduced
from ops.stack.config import SERVICES, Config
from ops.stack.endpoints import Endpoints
from ops.stack.errors import EndedEarlyError, StackError
from ops.stack.home import Home
from ops.stack.identity import choose_identity
from ops.stack.lock import Child, Owner
from ops.stack.postgres import STILL_IN_USE, Postgres
from ops.stack.process import Command, ServerProcess
from ops.stack.redis import Redis
from ops.stack.services import ChooseIdentity, Service, build_service
from ops.stack.sockets import leave_place
from ops.stack.supervised import Back, Ended, Supervised
from ops.stack.wakeup import Wakeup

READY_SECONDS = 30.0
STOP_SECONDS = 10.0
WAIT_FOR_COMMAND_SECONDS = 15.0
POLL_SECONDS = 0.02
RETURN_SECONDS = 0.2
# A child that nobody can ask is back when it has run for this long.
RUNS_SECONDS = 1.0


@dataclass
class Stack:
    """The services of one home and what is spawned beside them; a context manager, for the main thread only.

    All children die with this process, however it ends. Raises StackError; HomeBusyError if another process
    owns the home. ``one_command`` marks a stack that nobody else shall join. Times are in seconds.
    """

    home: Home
    services: Collection[str] = SERVICES
    one_command: bool = False
    wait_seconds: float = WAIT_FOR_COMMAND_SECONDS
    ready_seconds: float = READY_SECONDS
    choose_identity: ChooseIdentity = choose_identity
    _owner: Owner = field(default_factory=Owner, init=False, repr=False)
    _config: Config | None = field(default=None, init=False, repr=False)
    _services: dict[str, Service] = field(default_factory=dict, init=False, repr=False)
    # In the order of their start, services first: they are stopped from the end.
    _children: dict[str, Supervised] = field(default_factory=dict, init=False, repr=False)
    _versions: dict[str, str] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        if unknown := set(self.services) - set(SERVICES):
            raise StackError(f"unknown service {', '.join(sorted(unknown))}: there are {', '.join(SERVICES)}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def endpoints(self) -> Endpoints:
        """Where the services listen. Raises StackError before ``start``."""
        if self._config is None:
            raise StackError("the stack is not started")
        return self._config.endpoints()

    def start(self) -> Endpoints:
        """Start every service and return once each of them answers, at most 30 s later."""
        if threading.current_thread() is not threading.main_thread():
            raise StackError("start a stack from the main thread: its children die with the thread")
        self.home.create()
        self._owner = Owner(one_command=self.one_command)
        self.home.lock.acquire(self._owner, self.wait_seconds)
        try:
            self._start_services()
            self._owner.ready = True
            self._note()
        except BaseException:
            self.stop()
            raise
        return self.endpoints

    def stop(self) -> None:
        """Stop the spawned children, newest first, then S3, Redis, PostgreSQL; kill what takes too long."""
        try:
            while self._children:
                newest = next(reversed(self._children))
                self._children[newest].stop()
                del self._children[newest]
            if self._config and self._config.redis_socket:
                leave_place(self._config.redis_socket, self.home.path)
        finally:
            self.home.lock.release(children_ended=not self._children)

    def spawn(
        self,
        name: str,
        argv: list[str],
        env: Mapping[str, str],
        *,
        needs: Iterable[str] = ("*",),
        stop_signal: int = signal.SIGTERM,
        stop_seconds: float = STOP_SECONDS,
    ) -> ServerProcess:
        """Run a further child, with ``env`` on top of what it ``needs`` of this environment and of the endpoints.

        ``argv[0]`` is an absolute path. It writes to ``NAME.log``; ``watch`` starts it again when it ends; it
        is stopped before the services, and killed by the kernel if this process is killed: without the
        services it could not end in order.
        """
        if name in self._children or name in SERVICES:
            raise StackError(f"a child named {name} is already running: choose another name")
        environment = {**reduced({**os.environ, **self.endpoints.environment()}, needs), **env}
        command = Command(argv, environment, Path.cwd())
        log = self.home.log(name)
        return self._supervise(name, lambda: ServerProcess(name, command, log), stop_signal, stop_seconds)

    def kill(self, name: str, number: int = signal.SIGKILL) -> None:
        """Send a child a signal, for fault tests; after SIGKILL it is gone when this returns."""
        process = self._child(name).process
        process.send(number)
        if number == signal.SIGKILL:
            process.wait()

    def restart(self, name: str) -> ServerProcess:
        """Stop a child if it runs and start it again, on its port; a service answers when this returns."""
        child = self._child(name)
        child.stop()
        self._start_again(child)
        if name in self._services:
            self._await_ready(self._services[name])
        return child.process

    def tend(self) -> list[Ended]:
        """Look once, without waiting: start again what is due, and return what ended since the last look."""
        before = self._pids()
        ended = [end for child in self._children.values() if (end := child.tend())]
        if self._pids() != before:
            self._note()
        return ended

    def watch(self, seconds: float | None = None) -> Iterator[Ended | Back]:
        """Tend the children in the foreground until SIGINT, SIGTERM or SIGHUP, or for so many seconds.

        Yields what ended, and what is back.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        away: dict[str, float] = {}
        with Wakeup() as wakeup:
            while not wakeup.stop_asked and (deadline is None or time.monotonic() < deadline):
                ended = self.tend()
                away = {end.name: time.monotonic() for end in ended} | away
                yield from ended
                for name in [name for name in away if self._is_back(name)]:
                    yield Back(name, time.monotonic() - away.pop(name))
                moments = [deadline, *(child.restart_at for child in self._children.values())]
                moments += [time.monotonic() + RETURN_SECONDS] if away else []
                due = min((moment for moment in moments if moment is not None), default=None)
                wakeup.wait(None if due is None else max(0.0, due - time.monotonic()))

    def versions(self) -> dict[str, str]:
        """Return what each service is and where it came from, such as ``PostgreSQL 18.6 (wheel)``."""
        return dict(self._versions)

    def _start_services(self) -> None:
        config = (self.home.read() or Config()).with_free_ports(self.services)
        if Redis.name in self.services:
            config = config.with_socket(self.home.path)
        # Before initdb sets the password: a database whose password is lost cannot be opened.
        self.home.save(config)
        self._config = config
        for name in SERVICES:
            if name in self.services:
                service, version = build_service(name, self.home, config, self.choose_identity)
                self._services[name], self._versions[name] = service, version
        # Creating a database takes longest; the others start meanwhile.
        for service in sorted(self._services.values(), key=lambda service: service.name == Postgres.name):
            self._launch(service)
        # The database is stopped last, whatever the order of the start.
        self._children = {name: self._children[name] for name in self._services}
        for service in self._services.values():
            self._await_ready(service)

    def _launch(self, service: Service) -> None:
        def launch() -> ServerProcess:
            service.prepare()
            return ServerProcess(service.name, service.command(), self.home.log(service.name))

        self._supervise(service.name, launch, service.stop_signal, STOP_SECONDS)
        self._owner.services = list(self._children)
        if isinstance(service, Postgres) and self._config and self._config.database_files != service.files:
            self._config = self._config.model_copy(update={"database_files": service.files})
            self.home.save(self._config)

    def _supervise(
        self, name: str, launch: Callable[[], ServerProcess], stop_signal: int, stop_seconds: float
    ) -> ServerProcess:
        self._children[name] = child = Supervised(launch, stop_signal, stop_seconds)
        self._note()
        return child.process

    def _start_again(self, child: Supervised) -> None:
        child.start()
        self._note()

    def _await_ready(self, service: Service) -> None:
        child = self._children[service.name]
        deadline = time.monotonic() + self.ready_seconds
        while (problem := service.problem()) is not None:
            status, late = child.process.poll(), time.monotonic() > deadline
            if status is not None:
                tail = child.process.tail()
                if late or STILL_IN_USE not in tail:
                    raise EndedEarlyError(f"{self._where(service)} ended with status {status}: {tail}")
                self._start_again(child)
            elif late:
                tail = child.process.tail()
                waited = f"is not ready after {self.ready_seconds:g} s ({problem})"
                raise StackError(f"{self._where(service)} {waited}: {tail}")
            time.sleep(POLL_SECONDS)

    def _is_back(self, name: str) -> bool:
        """Say whether a child that ended runs again, and answers if it is a service."""
        child = self._children[name]
        if child.restart_at is not None or child.process.poll() is not None:
            return False
        if name in self._services:
            return self._services[name].problem() is None
        return time.monotonic() - child.process.started > RUNS_SECONDS

    def _where(self, service: Service) -> str:
        config = self._config or Config()
        where = config.redis_socket if service.name == Redis.name else f"127.0.0.1:{config.ports.get(service.name)}"
        return f"{service.name} ({where}, log {self.home.log(service.name)})"

    def _child(self, name: str) -> Supervised:
        if name not in self._children:
            raise StackError(f"no child named {name}: there are {', '.join(self._children) or 'none'}")
        return self._children[name]

    def _pids(self) -> list[int]:
        return [child.process.pid for child in self._children.values()]

    def _note(self) -> None:
        self._owner.children = {
            name: Child(pid=child.process.pid, start_ticks=child.process.start_ticks)
            for name, child in self._children.items()
        }
        self.home.lock.note(self._owner)
