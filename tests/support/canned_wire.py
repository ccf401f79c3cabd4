"""Wires whose provider gives one canned answer, for tests of what an answer means."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import httpx
from pydantic import SecretStr

from shared.errors import CODES
from shared.lifecycle import Outcome
from worker.paid_post import Reply
from worker.providers import WireSettings, wire_for
from worker.providers.contract import Again, PaidCall, Refused

BASE = "https://provider.example/api/v1"
KEY = "sk-planted-secret"


@dataclass
class Canned:
    """Stands in for the POST and the GET: gives one answer to whatever is asked."""

    answer: Any

    async def send(self, *_: Any, **__: Any) -> Any:
        return self.answer

    get = send


def reply(status: int, body: Any = b"", headers: Mapping[str, str] | None = None) -> Reply:
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Reply(status, httpx.Headers(headers or {}), content)


def wire(provider: str, answer: Any) -> Any:
    canned: Any = Canned(answer)
    return wire_for(provider, WireSettings(BASE, SecretStr(KEY), canned, canned))


def submitted(provider: str, answer: Any) -> Any:
    return anyio.run(lambda: wire(provider, answer).submit(PaidCall({}, 0)))


def polled(answer: Any, *ids: str) -> Any:
    return anyio.run(wire("bloom", answer).poll, ids)


def verdict(refused: Refused) -> tuple[Outcome, Again, str]:
    assert refused.code in CODES
    return refused.outcome, refused.again, refused.code
