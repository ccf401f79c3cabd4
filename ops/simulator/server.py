"""The simulator as a running server: uvicorn on a port of its own, in this thread or another."""

import asyncio
import contextlib
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import uvicorn

from ops.simulator.app import create_app, wires_in, world_of
from ops.simulator.config import SimulatorConfig
from ops.simulator.names import KnownNames
from ops.simulator.state import load_state, save_state
from ops.simulator.transport import OpenProtocol

_STARTS_WITHIN = 10.0
_STOPS_WITHIN = 10.0


class QuickServer(uvicorn.Server):
    """Says when it accepts connections, and stops at once although requests are being held open."""

    def __init__(self, config: uvicorn.Config, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._on_started = on_started
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGINT and SIGTERM; uvicorn would die of them afterwards, before the state is saved."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell."""
        await super().startup(sockets)
        self._on_started()

    async def main_loop(self) -> None:
        """Tick as uvicorn does, ten times a second, until a signal or ``stop``."""
        self._loop = asyncio.get_running_loop()
        ticks = 0
        while not await self.on_tick(ticks):
            ticks += 1
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 0.1)

    def stop(self) -> None:
        """Stop at once; may be called from any thread."""
        self.should_exit = True
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._stop.set)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Cut every connection and cancel every wait: nothing is left to be graceful about."""
        for server in self.servers:
            server.close()
        for listener in sockets or []:
            listener.close()
        for protocol in list(self.server_state.connections):
            if isinstance(protocol, OpenProtocol):
                protocol.transport.abort()
        for task in list(self.server_state.tasks):
            task.cancel()
        await asyncio.gather(*self.server_state.tasks, return_exceptions=True)


class Simulator:
    """One simulator: ``with Simulator(SimulatorConfig(...)).serve() as sim: ... sim.url ...``."""

    def __init__(self, config: SimulatorConfig | None = None) -> None:
        self.config = config or SimulatorConfig()
        self.app = create_app(self.config)
        self.world = world_of(self.app)
        self._url: str | None = None
        self._port: int | None = None
        if self.config.state_file is not None:
            load_state(self.config.state_file, self.world, wires_in(self.app))

    @property
    def url(self) -> str:
        """The server's root, without a slash at its end. Raises ``RuntimeError`` before it runs."""
        if self._url is None:
            raise RuntimeError("the simulator has no URL before serve() or run()")
        return self._url

    @property
    def port(self) -> int:
        """Where it listens. Raises ``RuntimeError`` before it runs."""
        if self._port is None:
            raise RuntimeError("the simulator has no port before serve() or run()")
        return self._port

    @property
    def bloom_url(self) -> str:
        """What GENQUEUE_BLOOM_BASE_URL is to be."""
        return f"{self.url}/bloom/api/v1"

    @property
    def getimg_url(self) -> str:
        """What GENQUEUE_GETIMG_BASE_URL is to be."""
        return f"{self.url}/getimg"

    @property
    def openrouter_url(self) -> str:
        """What GENQUEUE_OPENROUTER_BASE_URL is to be."""
        return f"{self.url}/openrouter/api/v1"

    @property
    def posteverywhere_url(self) -> str:
        """What GENQUEUE_POSTEVERYWHERE_BASE_URL is to be."""
        return f"{self.url}/posteverywhere/api/v1"

    @property
    def banatie_url(self) -> str:
        """What GENQUEUE_BANATIE_BASE_URL is to be."""
        return f"{self.url}/banatie"

    def addresses(self) -> dict[str, str]:
        """Return all base URLs by name, as the ready line prints them."""
        return {
            "url": self.url,
            "bloom": self.bloom_url,
            "getimg": self.getimg_url,
            "openrouter": self.openrouter_url,
            "posteverywhere": self.posteverywhere_url,
            "banatie": self.banatie_url,
        }

    def bill(self, provider: str | None = None, *, summary: bool = False) -> dict[str, Any]:
        """Return what ``GET /_sim/bill`` does."""
        return self.world.bill.as_json(provider, summary=summary)

    def requests(self, limit: int = 1000, **filters: str) -> list[dict[str, Any]]:
        """Return the newest entries of the request log whose fields equal ``filters``, oldest first."""
        return self.world.journal.entries(filters, limit)

    def counters(self) -> dict[str, Any]:
        """Return what ``GET /_sim/counters`` does."""
        return self.world.journal.counters()

    def put_faults(self, plan: dict[str, Any] | list[Any]) -> None:
        """Replace the fault plan. Raises ``ValueError`` for a plan that is not one."""
        self.world.faults.put(plan)

    def put_script(self, script: list[Any]) -> None:
        """Replace the script of the fault plan, and leave its rates alone. Raises ``ValueError`` as they do."""
        self.world.faults.put_script(script)

    def put_settings(self, document: dict[str, dict[str, Any]]) -> None:
        """Change settings by provider and name, as ``PUT /_sim/settings`` does. Raises ``ValueError`` as it does."""
        self.world.put_settings(document)

    def change_account(self, provider: str, key: str, **changes: Any) -> dict[str, Any]:
        """Change or top up an account, as ``POST /_sim/accounts/{provider}/{key}`` does."""
        return self.world.accounts.change(provider, key, changes).as_json()

    def reset(self) -> None:
        """Forget everything that happened."""
        self.app.state.forget()

    @contextlib.contextmanager
    def serve(self) -> Iterator["Simulator"]:
        """Run in a thread until the block ends. Raises ``RuntimeError`` if the server does not start."""
        started = threading.Event()
        listener = self._listen()
        server = self._server(started.set)
        thread = threading.Thread(target=server.run, args=([listener],), name="simulator", daemon=True)
        thread.start()
        try:
            if not started.wait(_STARTS_WITHIN):
                raise RuntimeError(f"the simulator did not start within {_STARTS_WITHIN:.0f} s")
            yield self
        finally:
            server.stop()
            thread.join(_STOPS_WITHIN)
            self._save()

    def run(self, on_started: Callable[[], None]) -> None:
        """Run in this thread until SIGINT or SIGTERM; ``on_started`` is called when it accepts."""
        listener = self._listen()
        try:
            self._server(on_started).run([listener])
        finally:
            self._save()

    def _listen(self) -> socket.socket:
        family = socket.AF_INET6 if ":" in self.config.host else socket.AF_INET
        # asyncio turns Nagle off only where it reads IPPROTO_TCP, and create_server() leaves that field 0: every reply
        # would then wait 40 ms for a delayed acknowledgement.
        listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((self.config.host, self.config.port))
        except OSError:
            listener.close()
            raise
        listener.listen(2048)
        host = f"[{self.config.host}]" if family == socket.AF_INET6 else self.config.host
        self._port = listener.getsockname()[1]
        self._url = self.config.public_url or f"http://{host}:{self._port}"
        return listener

    def _server(self, on_started: Callable[[], None]) -> QuickServer:
        own = urlsplit(self.config.public_url or "").hostname
        settings = uvicorn.Config(
            KnownNames(self.app, frozenset(filter(None, [own]))),
            http=OpenProtocol,
            ws="none",
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",
            access_log=False,
            server_header=False,
            date_header=False,  # each provider has a clock of its own
            timeout_keep_alive=75,
            timeout_graceful_shutdown=1,
        )
        return QuickServer(settings, on_started)

    def _save(self) -> None:
        if self.config.state_file is None:
            return
        try:
            save_state(self.config.state_file, self.world, wires_in(self.app))
        except OSError as error:
            sys.stderr.write(f"simulator: cannot write its state to {self.config.state_file}: {error.strerror}\n")
