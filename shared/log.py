"""Structured logs: one line per event, readable on a terminal and JSON otherwise, without secrets.

A traceback shows files and lines but no local variables, because keys lie in local variables. No line shows a URL's
query or password, because result links are signed in their query.
"""

import logging
import re
import sys
import threading
import time
from collections.abc import Callable, MutableMapping
from typing import Any, Final, Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer

MOST: Final = 5
"""Warnings of one cause in a minute."""
_SPARING_SECONDS: Final = 60.0
_MOST_CAUSES: Final = 1000
_CAUSE: Final = ("event", "account", "code", "kind", "error", "stage", "sqlstate")
_PROCESSORS: Final[list[structlog.typing.Processor]] = []
"""One list for the whole process: a logger keeps the list that it first used, and would miss a later `configure`."""
_CHATTY: Final = ("httpx", "httpcore", "botocore", "boto3", "s3transfer", "urllib3", "aiohttp", "asyncio", "PIL")
_QUERY: Final = re.compile(r"\?[^\s\"'<>\\?]*=[^\s\"'<>\\]*")
_PASSWORD: Final = re.compile(r"(://[^\s\"'/@:]*):[^\s\"'/]*@")


def configure(level: str, style: Literal["auto", "json", "text"]) -> None:
    """Set up structlog and route the libraries' own records through the same renderer, to standard error."""
    text = sys.stderr.isatty() if style == "auto" else style == "text"
    common: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if not text:
        common.append(structlog.processors.ExceptionRenderer(ExceptionDictTransformer(show_locals=False)))
    _PROCESSORS[:] = [*common, Sparing(), structlog.stdlib.ProcessorFormatter.wrap_for_formatter]
    structlog.configure(
        processors=_PROCESSORS,
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelName(level.upper())),
        cache_logger_on_first_use=True,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=common,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, _renderer(text=text), _redacted],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    for chatty in _CHATTY:
        # Their lines below a warning contain whole URLs and headers.
        logging.getLogger(chatty).setLevel(logging.WARNING)


class Sparing:
    """Drops a warning of the same cause that was told `MOST` times within a minute; the next one counts them.

    An error is never dropped: its ids may be needed.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._told: dict[tuple[str, ...], tuple[float, int]] = {}

    def __call__(self, _logger: Any, method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Return the event; raise `DropEvent` for one that was told often enough."""
        if method != "warning":
            return event
        cause = tuple(str(event.get(name)) for name in _CAUSE)
        with self._lock:
            began, count = self._told.get(cause, (self._clock(), 0))
            if self._clock() - began > _SPARING_SECONDS:
                dropped, began, count = max(count - MOST, 0), self._clock(), 0
            else:
                dropped = 0
            self._told[cause] = began, count + 1
            if len(self._told) > _MOST_CAUSES:
                self._told.clear()
        if count >= MOST:
            raise structlog.DropEvent
        return {**event, "unsaid": dropped} if dropped else event


def _renderer(*, text: bool) -> structlog.typing.Processor:
    if not text:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _redacted(_logger: Any, _method: str, line: Any) -> str:
    return redact(str(line))


def redact(text: str) -> str:
    """Return `text` without the queries and passwords of URLs."""
    return _PASSWORD.sub(r"\1:***@", _QUERY.sub("?***", text))
