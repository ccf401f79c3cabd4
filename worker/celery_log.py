"""Lines of Celery and kombu that would quote a message from the broker: a prompt, or what somebody wrote there."""

import logging
from typing import Final

_QUOTING: Final = ("celery.worker.pidbox", "kombu.pidbox", "kombu.transport.redis")


def quote_no_message() -> None:
    """Have these loggers say what happened, and not with what."""
    for name in _QUOTING:
        logger = logging.getLogger(name)
        if _without_values not in logger.filters:
            logger.addFilter(_without_values)


def _without_values(record: logging.LogRecord) -> bool:
    """Keep what a line says and the kind of its error, and nothing of the message that it quotes."""
    error = f" ({record.exc_info[0].__name__})" if record.exc_info and record.exc_info[0] else ""
    record.msg, record.args, record.exc_info = str(record.msg).partition("%")[0].rstrip(" :") + error, (), None
    return True
