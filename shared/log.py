"""Structured logs: one line per event, readable on a terminal and JSON otherwise, without secrets in it.

A traceback shows files and lines but no local variables, and no line shows the query of a URL or a password in one:
result links are signed in their query, and keys lie in local variables.
"""

import logging
import re
import sys
from typing import Any, Final, Literal

import structlog
from structlog.tracebacks import ExceptionDictTransformer

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
    structlog.configure(
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
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
        # Their lines below a warning hold whole URLs and headers.
        logging.getLogger(chatty).setLevel(logging.WARNING)


def _renderer(*, text: bool) -> structlog.typing.Processor:
    if not text:
        return structlog.processors.JSONRenderer()
    return structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)


def _redacted(_logger: Any, _method: str, line: Any) -> str:
    return _PASSWORD.sub(r"\1:***@", _QUERY.sub("?***", str(line)))
