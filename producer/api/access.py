"""Who calls, and what the caller may do: tokens are looked up at most every 30 seconds, and their pace is bounded."""

import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from uuid import UUID

from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from producer.api.doors import ApiDoors
from producer.api.problems import ProblemError
from producer.client import Client, NoSuchJobError
from shared.db.audit import Actor
from shared.db.read.inbox_row import MARK as UNCHECKED
from shared.db.read.job import JobFacts
from shared.db.tokens import Token
from shared.tokens import Scope, token_id

_TRUSTED_SECONDS: Final = 30.0
_KNOWN: Final = 10_000
_BURST_SECONDS: Final = 2.0
OPEN: Final = Token(
    id="",
    name="trial",
    scopes=frozenset({Scope.ADMIN}),
    caps=None,
    batch_prefix="",
    posts_per_second=1_000_000,
    purse="",
    created_at=datetime(1970, 1, 1, tzinfo=UTC),
    expires_at=None,
    revoked_at=None,
    last_used_at=None,
    alive=True,
)
"""Whoever calls a trial's API on its own machine."""


def sees_sums(token: Token) -> bool:
    """Tell whether a token may know what an account has and spends, which is money of all batches together."""
    return token.allows(Scope.MONEY_READ) and not token.batch_prefix


@dataclass(frozen=True, slots=True)
class Caller:
    """A token and a client that acts in its name."""

    token: Token
    client: Client
    doors: ApiDoors

    @property
    def own_batch(self) -> str:
        """The batch of jobs that name none."""
        return f"{self.token.batch_prefix}{self.token.name}"

    def batch(self, name: str) -> str:
        """Return the name of a batch that the token may touch; raises `ProblemError`."""
        if not self.token.covers(name):
            raise ProblemError("batch_not_allowed", f"its batches begin with {self.token.batch_prefix!r}")
        return name

    def job(self, job_id: UUID) -> JobFacts:
        """Return a job of a batch that the token may touch; raises `ProblemError` and `NoSuchJobError`."""
        try:
            facts = self.client.job(job_id)
        except NoSuchJobError:
            if not self.token.batch_prefix:
                raise
            facts = None  # what is known of an id that is no job may be another tenant's
        if facts is None or not self.token.covers(facts.job["batch"]):
            raise NoSuchJobError(f"there is no job {job_id}")
        return facts

    def checked_job(self, job_id: UUID) -> JobFacts:
        """Return the same of what is a job already; raises `ProblemError` for a row that no worker has checked yet."""
        facts = self.job(job_id)
        if facts.job["epoch"] == UNCHECKED.epoch:
            raise ProblemError("not_checked_yet")
        return facts


@dataclass(slots=True)
class _Known:
    """A caller of the last seconds: when its token was looked up, and how many requests it may send at once now."""

    caller: Caller
    read_at: float
    room: float
    filled_at: float


class SeenTokens:
    """The tokens that this process has seen. Used by the event loop alone, so it needs no lock."""

    def __init__(self, doors: ApiDoors) -> None:
        self._doors = doors
        self._known: OrderedDict[str, _Known] = OrderedDict()

    async def caller(self, request: Request) -> Caller:
        """Return who calls; raises `ProblemError` if the token is missing, dead or too fast."""
        presented = _presented(request)
        if presented is None:
            if self._doors.open_to_all:
                return self._caller(OPEN)
            raise ProblemError("token_missing")
        known = await self._looked_up(presented)
        if known is None or not _lives(known.caller.token):
            raise ProblemError("token_invalid")
        _take_room(known)
        return known.caller

    async def is_trusted(self, request: Request) -> bool:
        """Tell whether the caller of an answer that takes long may still have it."""
        presented = _presented(request)
        if presented is None:
            return self._doors.open_to_all
        known = await self._looked_up(presented)
        return known is not None and _lives(known.caller.token)

    def _caller(self, token: Token) -> Caller:
        name = f"{token.name} {token.id}".strip()
        return Caller(token, self._doors.client.acting_as(Actor(name, "api")), self._doors)

    async def _looked_up(self, presented: str) -> _Known | None:
        now = time.monotonic()
        known = self._known.get(presented)
        if known is not None and now - known.read_at < _TRUSTED_SECONDS:
            return known
        token = await run_in_threadpool(self._doors.client.find_token, presented) if token_id(presented) else None
        if token is None:
            self._known.pop(presented, None)
            return None
        caller = self._caller(token)
        known = self._known.get(presented)  # those who looked it up beside this one share one pace
        if known is None:
            known = self._known[presented] = _Known(caller, now, token.posts_per_second * _BURST_SECONDS, now)
        known.caller, known.read_at = caller, now
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return known


def _presented(request: Request) -> str | None:
    scheme, _, presented = request.headers.get("authorization", "").partition(" ")
    return presented.strip() if scheme.lower() == "bearer" else None


def _lives(token: Token) -> bool:
    return token.alive and (token.expires_at is None or token.expires_at > datetime.now(UTC))


def _take_room(known: _Known) -> None:
    """Take one request out of the token's bucket, which holds two seconds' worth."""
    now, pace = time.monotonic(), known.caller.token.posts_per_second
    known.room = min(pace * _BURST_SECONDS, known.room + (now - known.filled_at) * pace)
    known.filled_at = now
    if known.room < 1:
        raise ProblemError(
            "rate_limited", f"the token may send {pace} requests each second", headers={"Retry-After": "1"}
        )
    known.room -= 1


class Needs:
    """A dependency: the caller, if its token has a scope. The scope table of the documentation reads `scope`."""

    def __init__(self, scope: Scope | None) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Caller:
        """Return the caller; raises `ProblemError`."""
        tokens: SeenTokens = request.app.state.tokens
        caller = await tokens.caller(request)
        if self.scope is not None and not caller.token.allows(self.scope):
            raise ProblemError("scope_missing", f"this needs the scope {self.scope}")
        return caller


def needs(scope: Scope | None) -> Any:
    """Return the dependency for an endpoint's `caller`; None = any live token."""
    return Depends(Needs(scope))
