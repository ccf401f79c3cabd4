"""What a stage asks of a provider and what it may answer: one vocabulary for all wires."""

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from enum import StrEnum
from typing import Any, BinaryIO, ClassVar, Final, Literal, Protocol, TypeVar
from urllib.parse import urljoin, urlsplit

from pydantic import SecretStr

from shared.lifecycle import ImageState, Outcome
from worker.api_get import ApiGet
from worker.paid_post import PaidPost, Sink

T = TypeVar("T")
FindBy = Literal["reference", "prompt", "time", "usage", "nothing"]
"""Our own reference is certain; a prompt can tell calls apart; a time alone only where a single call is in doubt.

Usage finds no picture, but can prove that nothing was bought.
"""
LONGEST_WAIT_SECONDS: Final = 86_400.0
"""A provider may ask for any wait; a longer one is cut to this, or a header could stop an account for good."""
OWN_SCHEME: Final = "reply"
"""The scheme of links into answers that we keep; no provider may give one."""
_UNSTORABLE: Final = re.compile(r"[\x00\ud800-\udfff]")  # JSON can carry them, PostgreSQL cannot


class Again(StrEnum):
    """When to try again what was refused."""

    NEVER = "never"
    AFTER = "after"
    RESUME = "resume"
    """When the account resumes: it is paused until then."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No image: whether it was bought (`outcome`) and when to try again are two independent answers.

    What may have been bought is never sent again, whatever `again` says: there it sets the pace of the account's next.
    """

    outcome: Outcome
    again: Again
    code: str
    message: str
    http_status: int | None = None
    after_seconds: float | None = None
    action_url: str | None = None


@dataclass(frozen=True, slots=True)
class UpstreamImage:
    """One picture as the provider describes it now."""

    state: ImageState
    upstream_id: str | None = None
    link: str | None = None
    link_expires_at: datetime | None = None
    error_code: str | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """Bought. `settled` is the provider's own figure of what it cost, where it gives one."""

    http_status: int
    images: tuple[UpstreamImage, ...]
    upstream_id: str | None = None
    settled: Decimal | None = None
    remaining: Decimal | None = None
    """What the provider says is left on the account, in its unit."""
    whole: bool = True
    """Whether the answer is known to have come to its end: a provider may bill only what it delivered."""


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One paid call: its JSON, the moment by which it must be sent, and what to know it by afterwards.

    `send_before` is as in `PaidPost.send`. `reference` is the submission's id, for providers that keep one for us.
    `sink` takes the answer of a wire that is `inline`.
    """

    body: Mapping[str, Any]
    send_before: float
    reference: str = ""
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A picture that a provider has and that a lost call may have made; `reference` is ours, if it carries one.

    `width` and `height` in pixels, where the list shows them.
    """

    upstream_id: str
    made_at: datetime
    reference: str | None = None
    width: int | None = None
    height: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """What a look at a provider's own list brought.

    `complete`: the list was read back to the moment asked for, every row of it, so that what is not in it was not made.
    """

    candidates: tuple[Candidate, ...]
    complete: bool


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What a provider says of an account: what is left in its unit (None where it does not say), and anything odd."""

    balance: Decimal | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WireSettings:
    """What a wire needs to speak for one account.

    `media_without_url` says what a finished picture without a link is: "fail", or "succeed" where it lies upstream.
    """

    base_url: str
    api_key: SecretStr
    post: PaidPost
    get: ApiGet
    media_without_url: str = "fail"


class Wire(Protocol):
    """One provider's HTTP API, with its capabilities as data."""

    poll_batch: ClassVar[int]
    """Pictures that one status request can ask for; 0 = cannot be polled, the answer to the POST is the result."""
    submit_batch: ClassVar[int]
    """Jobs per submit message: a batch holds its slot until its slowest member is done."""
    find_by: ClassVar[FindBy]
    """How the purchase of a lost call is known again in the provider's list of what it made."""
    inline: ClassVar[bool]
    """Whether the answer carries the images themselves: then the wire is an `InlineWire`."""

    def __init__(self, settings: WireSettings) -> None: ...

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """Pay once for what `call` asks."""
        ...

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """Return what is known of up to `poll_batch` pictures; those left out are still to be asked for."""
        ...

    async def find(self, call: PaidCall | None, since: datetime, owned: Collection[str] = ()) -> Found | Refused:
        """Return what the provider has made since `since` that `call`, whose answer was lost, may have bought.

        Without a call, everything made since. What is `owned` already need not be asked about, and may be left out. A
        wire that finds by `usage` or `nothing` finds nothing, and never completely.
        """
        ...

    async def account(self) -> AccountFacts | Refused:
        """Ask what the account has left and whether it may generate; free of charge."""
        ...


class InlineWire(Wire, Protocol):
    """A wire whose answer carries the images; the stage keeps that answer whole before anything is taken out of it."""

    def read_reply(self, file: BinaryIO) -> Accepted:
        """Return what an answer says was bought; raises `UnreadableError`. The links are the stage's to give.

        The HTTP status and id of the answer are not in the file: `receipt.kept` joins them to it.
        """
        ...

    def extract(self, file: BinaryIO, index: int, sink: Sink) -> None:
        """Write the image at `index` of an answer into `sink`; raises `UnreadableError`, and what `sink` raises."""
        ...


class UsageWire(Wire, Protocol):
    """A wire that finds by `usage`: its provider says what the key has used up."""

    async def used(self) -> Decimal | Refused:
        """Ask what the key has used up in all, in the account's unit; free of charge, and only charges move it."""
        ...


class UnreadableError(Exception):
    """An answer that does not say what its document promises; the message never quotes it."""


def read_json(body: bytes) -> Any:
    """Return the JSON in `body`, numbers with a point as `Decimal`; raises `UnreadableError`."""
    try:
        return json.loads(body, parse_float=Decimal)
    except (ValueError, RecursionError):
        raise UnreadableError(f"{_looks_like(body)} where JSON was due") from None


def member(value: Any, *path: str) -> Any:
    """Return what lies at `path` in nested JSON objects; raises `UnreadableError` that names the path."""
    for step in path:
        if not isinstance(value, dict) or step not in value:
            raise UnreadableError(f"no {'.'.join(path)} in the answer")
        value = value[step]
    return value


def list_of(value: Any) -> list[Any]:
    """Return a JSON list; raises `UnreadableError`."""
    if not isinstance(value, list):
        raise UnreadableError("no list where one was due")
    return value


def readable(listed: Any, read: Callable[[Any], T]) -> tuple[T, ...]:
    """Return what `read` makes of each item, without those it cannot read: one bad entry must not lose the others.

    Raises `UnreadableError` where `listed` is no list.
    """
    found = []
    for item in list_of(listed):
        with suppress(UnreadableError):
            found.append(read(item))
    return tuple(found)


def text_of(value: Any) -> str:
    """Return an id or link as text that can be stored; raises `UnreadableError`."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if not isinstance(value, str) or not value or _UNSTORABLE.search(value):
        raise UnreadableError("an id or link that is not text")
    return value


def same_words(said: Any, asked: Any) -> bool:
    """Tell whether two prompts are the same but for their spaces, which a provider may tidy."""
    return isinstance(said, str) and isinstance(asked, str) and said.split() == asked.split()


def link_of(value: Any, base_url: str) -> str:
    """Return a link as it is, since its signature may cover every character; a relative one is joined to `base_url`.

    Raises `UnreadableError` for what cannot be a link.
    """
    if not isinstance(value, str):
        raise UnreadableError("a link that is not text")
    link = text_of(value)
    try:
        scheme = urlsplit(link).scheme
        joined = link if scheme else urljoin(base_url, link)
    except ValueError:
        raise UnreadableError("a link that is no URL") from None
    if scheme == OWN_SCHEME:
        raise UnreadableError("a link into our own answers")
    return joined


def _looks_like(body: bytes) -> str:
    start = body[:64].lstrip().lower()
    if not start:
        return "an empty body"
    return "an HTML page" if start.startswith((b"<!doctype", b"<html")) else "something unreadable"
