"""Tokens of the HTTP API and the dashboard: their form, their hash and their scopes.

A token is `gq_ID_SECRET`: eight characters that name it, then 256 random bits and a CRC-32, all in base 62. The prefix
and the checksum let a secret scanner find a token that leaked into a repository. The database keeps the SHA-256 of the
whole text: a slow hash protects passwords that people choose, and 256 random bits cannot be guessed.
"""

import hashlib
import re
import secrets
import string
from enum import StrEnum
from typing import Final
from zlib import crc32

from pydantic import SecretStr

_DIGITS: Final = string.digits + string.ascii_uppercase + string.ascii_lowercase
_ID: Final = 8
_SECRET: Final = 43  # the digits in base 62 of 32 bytes
_CHECKSUM: Final = 6  # the same of a CRC-32
_FORM: Final = re.compile(
    rf"(gq_([0-9A-Za-z]{{{_ID}}})_[0-9A-Za-z]{{{_SECRET}}})([0-9A-Za-z]{{{_CHECKSUM}}})", re.ASCII
)


class Scope(StrEnum):
    """What a token may do. `admin` includes all others."""

    JOBS_WRITE = "jobs:write"
    """Add jobs, which spends money; cancel them, and retry free."""
    JOBS_READ = "jobs:read"
    RESULTS_READ = "results:read"
    """Read results and get links to images."""
    MONEY_READ = "money:read"
    MONEY_SPEND = "money:spend"
    """Decide what may pay a second time: `resend`, `buy again`."""
    HOOKS = "hooks"
    """Manage webhooks."""
    OPS = "ops"
    """Pause and resume accounts, resolve held jobs, read the audit."""
    ADMIN = "admin"


BACKEND: Final = (Scope.JOBS_WRITE, Scope.JOBS_READ, Scope.RESULTS_READ)
"""The scopes of a program that orders images and fetches them."""


def new_token() -> tuple[str, SecretStr]:
    """Return the id of a new token and the whole token."""
    named = "".join(secrets.choice(_DIGITS) for _ in range(_ID))
    body = f"gq_{named}_{_base62(secrets.randbits(256), _SECRET)}"
    return named, SecretStr(body + _checksum(body))


def token_id(presented: str) -> str | None:
    """Return the id in a text of a token's form; None for any other text, also for one with a mistyped character."""
    found = _FORM.fullmatch(presented)
    return found[2] if found and found[3] == _checksum(found[1]) else None


def token_hash(presented: str) -> bytes:
    """Return the SHA-256 of a token, which is what the database keeps."""
    return hashlib.sha256(presented.encode()).digest()


def _checksum(body: str) -> str:
    return _base62(crc32(body.encode()), _CHECKSUM)


def _base62(number: int, width: int) -> str:
    digits = ""
    for _ in range(width):
        number, digit = divmod(number, len(_DIGITS))
        digits = _DIGITS[digit] + digits
    return digits
