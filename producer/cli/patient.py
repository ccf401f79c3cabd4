"""A client that waits for a database which is away for a while, instead of ending the command."""

import time
from collections.abc import Callable
from typing import Final, TypeVar

from producer.cli.terminal import Terminal, visible
from producer.client import Client
from shared.db.engine import DatabaseUnavailableError

T = TypeVar("T")
_PATIENCE_SECONDS: Final = 300.0
"""How long a database may be away: a restart or a failover takes less."""
_BETWEEN_SECONDS: Final = 2.0


class Patient:
    """Asks again while the database is away, for five minutes, and says so once."""

    def __init__(self, client: Client, console: Terminal) -> None:
        self._client = client
        self._console = console

    def ask(self, question: Callable[[Client], T]) -> T:
        """Return the answer; raises `DatabaseUnavailableError` if the database stays away."""
        away_since: float | None = None
        while True:
            try:
                return question(self._client)
            except DatabaseUnavailableError as error:
                if away_since is None:
                    away_since = time.monotonic()
                    self._console.print(visible(f"{error}; the batch is safe, asking again"))
                if time.monotonic() - away_since >= _PATIENCE_SECONDS:
                    raise
                time.sleep(_BETWEEN_SECONDS)
