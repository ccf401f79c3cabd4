"""Who is signed in. A session lives in this process's memory; its cookie holds a random word and nothing else."""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, NamedTuple

from shared.db.tokens import Token

SESSION_SECONDS: Final = 12 * 3600
JUDGED_SECONDS: Final = 30.0
_MOST_SESSIONS: Final = 1000
_FAILURES: Final = 10
_FAILURE_SECONDS: Final = 60.0


class Right(StrEnum):
    """What a signed-in person may do."""

    SEE = "see"
    """Pages without prompts and pictures."""

    PICTURES = "pictures"
    """Prompts and pictures."""

    MONEY = "money"
    """What was spent, and caps."""

    HOOKS = "hooks"
    """Webhooks and their deliveries."""

    OPERATE = "operate"
    """What costs nothing: resume, hold, release, cancel, give up, collect again."""

    SPEND = "spend"
    """What may cost money beyond a batch's plan: send again, buy again, raise a cap."""

    ENQUEUE = "enqueue"
    """Add jobs."""


EVERYTHING: Final = frozenset(Right)


@dataclass(frozen=True, slots=True)
class Person:
    """A signed-in person: the name that the audit shows, and the rights."""

    name: str
    rights: frozenset[Right]
    token: Token | None = None
    """The queue's token with which the person signed in; what is bought counts against its cap."""

    def may(self, right: str) -> bool:
        """Tell whether this person has a right."""
        return right in self.rights


class TooManyTriesError(Exception):
    """Too many wrong tokens within a minute; nobody can sign in until it has passed."""


class Notice(NamedTuple):
    """What an act came to, for the person's next page, and the command that does the same."""

    text: str
    command: str
    rest: str = ""
    """The path of the page that does the rest of it; "" if nothing is left."""


@dataclass(slots=True)
class _Session:
    person: Person
    token: str
    ends: float
    judged: float


@dataclass(slots=True)
class Sessions:
    """The open sessions of this process. `judge` returns the person that a token stands for, None for a wrong token.

    A token is judged again every 30 seconds: a revoked one ends its sessions.
    """

    judge: Callable[[str], Person | None]
    clock: Callable[[], float] = time.monotonic
    _open: dict[str, _Session] = field(default_factory=dict)
    _notices: dict[str, list[Notice]] = field(default_factory=dict)
    _failed: list[float] = field(default_factory=list)

    def sign_in(self, token: str) -> str | None:
        """Return the secret word of a new session, None for a wrong token. Raises `TooManyTriesError`."""
        now = self.clock()
        self._failed = [at for at in self._failed if at > now - _FAILURE_SECONDS]
        if len(self._failed) >= _FAILURES:
            raise TooManyTriesError
        person = self.judge(token)
        if person is None:
            self._failed.append(now)
            return None
        self._drop_old(now)
        word = secrets.token_urlsafe(32)
        self._open[word] = _Session(person, token, now + SESSION_SECONDS, now)
        return word

    def person(self, word: str | None) -> Person | None:
        """Return who has the session with this word, None without one or after its end."""
        found, now = self._open.get(word or ""), self.clock()
        if found is None or found.ends <= now:
            return None
        if now - found.judged >= JUDGED_SECONDS:
            person = self.judge(found.token)
            if person is None:
                self.sign_out(word)
                return None
            found.person, found.judged = person, now
        return found.person

    def say(self, owner: str, text: str, command: str, rest: str = "") -> None:
        """Keep a notice for the next page of a session, or of a person whom a proxy names."""
        self._notices.setdefault(owner, []).append(Notice(text, command, rest))
        while len(self._notices) > _MOST_SESSIONS:
            del self._notices[next(iter(self._notices))]

    def said(self, owner: str) -> list[Notice]:
        """Return the notices for `owner`, and forget them."""
        return self._notices.pop(owner, []) if owner else []

    def sign_out(self, word: str | None) -> None:
        """End a session."""
        self._open.pop(word or "", None)
        self._notices.pop(word or "", None)

    def _drop_old(self, now: float) -> None:
        self._open = {word: found for word, found in self._open.items() if found.ends > now}
        while len(self._open) >= _MOST_SESSIONS:
            del self._open[next(iter(self._open))]
