"""A logger for modules that commands import too: structlog, and what it draws with, is imported by the first event.

It is a tenth of the time in which a command starts.
"""

from typing import Any


class LateLogger:
    """Writes events as a logger of structlog with the same name does."""

    def __init__(self, name: str) -> None:
        self._name = name

    def info(self, event: str, **about: Any) -> None:
        """Write an event that is in order."""
        self._opened().info(event, **about)

    def warning(self, event: str, **about: Any) -> None:
        """Write an event that a person may want to know."""
        self._opened().warning(event, **about)

    def _opened(self) -> Any:
        import structlog  # noqa: PLC0415 - see the module's docstring

        return structlog.get_logger(self._name)
