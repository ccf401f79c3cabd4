"""Wires whose provider gives canned answers, for tests of what an answer means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from io import BytesIO
from typing import Any, cast

import httpx
from pydantic import SecretStr

from shared.errors import CODES
from shared.lifecycle import Outcome
from worker import event_loop
from worker.providers import WireSettings, wire_for
from worker.providers.contract import PaidCall, Refused, RetryRule
from worker.providers.receipt import kept
from worker.transport.paid_post import NotSent, PaidReply

BASE = "https://provider.example/api/v1"
KEY = "sk-planted-secret"


@dataclass
class Canned:
    """Stands in for the POST and the GET: gives one answer to whatever is asked, or by a part of the URL.

    As the real one, it puts the body of a success into the sink where there is one. `asked` has each URL's path and
    parameters.
    """

    answer: Any
    asked: list[tuple[str, Any]] = field(default_factory=list)

    async def send(self, url: str, *, sink: Any = None, **_: Any) -> Any:
        answer = self._for(url)
        if sink is None or isinstance(answer, NotSent) or answer.status is None or answer.status // 100 != 2:
            return answer
        sink.write(answer.body)
        return replace(answer, body=b"")

    async def get(self, url: str, *, params: Any = None, **_: Any) -> Any:
        self.asked.append((url.removeprefix(BASE), dict(params or {})))
        answer = self._for(url)
        return answer(params) if callable(answer) else answer

    def _for(self, url: str) -> Any:
        if not isinstance(self.answer, Mapping):
            return self.answer
        return next(answer for part, answer in self.answer.items() if part in url)


def reply(status: int, body: Any = b"", headers: Mapping[str, str] | None = None) -> PaidReply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return PaidReply(status, httpx.Headers(headers or {}), content)


def wire(provider: str, answer: Any, **settings: Any) -> Any:
    canned: Any = answer if isinstance(answer, Canned) else Canned(answer)
    return wire_for(provider, WireSettings(BASE, SecretStr(KEY), canned, canned, **settings))


def submitted(provider: str, answer: Any) -> Any:
    """Return what one submit came to; an inline answer is kept and read."""
    asked, file = wire(provider, answer), BytesIO()
    outcome = event_loop.run(asked.submit, PaidCall({}, 0, "", cast("Any", file) if asked.inline else None))
    return kept(outcome, asked, file) if asked.inline else outcome


def polled(answer: Any, *ids: str, provider: str = "bloom", media_without_url: str = "fail") -> Any:
    return event_loop.run(wire(provider, answer, media_without_url=media_without_url).poll, ids)


def page(provider: str, answer: Any, following: str | None = None) -> Any:
    return event_loop.run(wire(provider, answer).page, following)


def account(provider: str, answer: Any) -> Any:
    return event_loop.run(wire(provider, answer).account)


def verdict(refused: Refused) -> tuple[Outcome, RetryRule, str]:
    assert refused.code in CODES
    return refused.outcome, refused.again, refused.code
