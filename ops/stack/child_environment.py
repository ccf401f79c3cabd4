"""What a child may know: its own settings and secrets, and nothing else that this process's environment holds."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Final

_HARMLESS: Final = (
    *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LC_*", "TZ", "TMPDIR", "TERM", "COLUMNS", "NO_COLOR"),
    *("PYTHON*", "VIRTUAL_ENV", "LD_*", "MALLOC_*", "XDG_*", "COVERAGE_*", "COV_*"),
)
_LOG: Final = ("GENQUEUE_LOG_*",)
WORKER: Final = ("GENQUEUE_*", "AWS_*", "PG*", "*_PROXY", "SSL_*", "*_CA_BUNDLE")
"""Its accounts, its servers, and how it reaches both."""
FLOWER: Final = (*_LOG, "GENQUEUE_BROKER_*", "FLOWER_*", "SSL_*")
"""The broker, and its own password."""
API: Final = (
    *(*_LOG, "GENQUEUE_DATABASE_*", "GENQUEUE_S3_*", "GENQUEUE_API_*", "GENQUEUE_HOME", "GENQUEUE_TRIAL"),
    *("GENQUEUE_DEADLINE_SECONDS", "GENQUEUE_COLLECT_SECONDS", "GENQUEUE_*_PRICES", "AWS_*", "PG*", "SSL_*"),
    "GENQUEUE_WEBHOOK_KEY",
)
"""The database and the bucket, what bounds the cost of a row, and the key of webhooks; no provider's key."""
SIMULATOR: Final = ()


def reduced(environment: Mapping[str, str], needs: Iterable[str]) -> dict[str, str]:
    """Return the variables that hold no secret, and those whose names match a pattern of `needs`, in any case."""
    patterns = (*_HARMLESS, *needs)
    return {
        name: value
        for name, value in environment.items()
        if any(fnmatchcase(name.upper(), pattern) for pattern in patterns)
    }
