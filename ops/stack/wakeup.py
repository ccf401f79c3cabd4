"""Waiting on the main thread for the end of a child or for a signal that asks to stop, without polling."""

import select
import signal
import socket
from types import TracebackType
from typing import Any, Self

STOP_SIGNALS = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})


class Wakeup:
    """Signals as bytes on a socket while the context lasts; the handlers from before come back after it."""

    def __init__(self) -> None:
        self.stop_asked = False
        self._handlers: dict[int, Any] = {}

    def __enter__(self) -> Self:
        self._inbox, self._outbox = socket.socketpair()
        self._inbox.settimeout(0)
        self._outbox.settimeout(0)
        self._wakeup_fd = signal.set_wakeup_fd(self._outbox.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, *STOP_SIGNALS):
            # A handler of Python's must exist for the byte to be written.
            self._handlers[number] = signal.signal(number, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._wakeup_fd)
        self._inbox.close()
        self._outbox.close()

    def wait(self, seconds: float | None) -> None:
        """Return when a child ended, a signal asks to stop (see ``stop_asked``), or the time is over."""
        select.select([self._inbox], [], [], seconds)
        try:
            received = self._inbox.recv(4096)
        except BlockingIOError:
            return
        self.stop_asked = self.stop_asked or not STOP_SIGNALS.isdisjoint(received)
