"""What a stage asks of a provider and what it may answer: one vocabulary for all wires."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING, Any, BinaryIO, ClassVar, Final, Literal, Protocol, runtime_checkable

from pydantic import SecretStr

from shared import backoff
from shared.lifecycle import ImageState, Outcome
from worker.providers.state_words import sounds_open
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import PaidPost, Sink

if TYPE_CHECKING:
    from worker.providers.offering import Offered

FindBy = Literal["reference", "prompt", "time", "usage", "nothing"]
"""Our own reference is certain; a prompt can tell calls apart; a time alone only where a single call is in doubt.

Usage finds no picture, but can prove that nothing was bought.
"""
LONGEST_WAIT_SECONDS: Final = backoff.LONGEST_WAIT_SECONDS
"""A provider may ask for any wait; a longer one is cut to this, or a header could stop an account for good."""
OWN_SCHEME: Final = "reply"
"""The scheme of links into answers that we keep; no provider may give one."""
MOST_READ: Final = 100
"""So many ids or links are read from one answer: ten times what any document lets a call ask for."""

UNSURE_LINK: Final = "answer_unreadable"
"""The code of an image whose link stands somewhere in an answer that could not be read: a person must look at it."""
CHARGE_STATED: Final = "charge_stated"
"""The code of a call without images whose answer states what was charged for it."""


class RetryRule(StrEnum):
    """When to try again what was refused."""

    NEVER = "never"
    AFTER = "after"
    RESUME = "resume"
    """When the account resumes: it is paused until then."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No image: whether it was bought (`outcome`) and when to try again are two independent answers.

    A call that may have been bought is never sent again. Then `again` only sets when the account's next call may start.
    """

    outcome: Outcome
    again: RetryRule
    code: str
    message: str
    http_status: int | None = None
    after_seconds: float | None = None
    action_url: str | None = None
    body: bytes = field(default=b"", repr=False)
    """What came with an answer that may have been bought and could not be read: the stage keeps it."""


@dataclass(frozen=True, slots=True)
class UpstreamImage:
    """One picture as the provider describes it now."""

    state: ImageState
    upstream_id: str | None = None
    link: str | None = None
    link_expires_at: datetime | None = None
    error_code: str | None = None
    error: str | None = None
    sure: bool = True
    """False where a later look may say otherwise: a 404, or a failure without a reason that ends it.

    It is believed only after several looks.
    """
    lacks_link: bool = False
    """Whether it is unfinished only because its provider, which calls it finished, gives no link to it yet."""
    stated: tuple[int, int] | None = None
    """The width and height that its provider states, in pixels."""
    unknown_word: str | None = None
    """Its provider's word for its state, where no document of ours has that word; empty where it is no word."""
    early_link: str | None = None
    """The link that its provider gives while it calls it unfinished or failed.

    It is taken at the job's collection deadline; if a failure is believed, it is taken for a person to look at.
    """

    @property
    def is_vague(self) -> bool:
        """Whether a row of a list settles nothing here: the picture's own answer may say more."""
        word = self.unknown_word
        linked = self.link is not None or self.early_link is not None
        return self.lacks_link or (word is not None and not linked and not sounds_open(word))


@dataclass(frozen=True, slots=True)
class Accepted:
    """Bought. `settled` is the provider's own figure of what it cost, where it gives one."""

    http_status: int
    images: tuple[UpstreamImage, ...]
    upstream_id: str | None = None
    settled: Decimal | None = None
    elsewhere: Decimal | None = Decimal(0)
    """What the account's owner pays to a model provider under the owner's own key; None = an unknown amount."""
    remaining: Decimal | None = None
    """What the provider says is left on the account, in its unit."""
    whole: bool = True
    """Whether the answer is known to have come to its end: a provider may bill only what it delivered."""
    left_out: int = 0
    """How many entries of the answer were not read: no ids or links, or more than anybody asks for."""
    charged_images: int | None = None
    """How many images are charged, if the provider charges each image in the answer; None = as many as asked for."""
    cut: bool = False
    """Whether the answer broke off inside, or could not be read: what can be seen of its images counts, but what the
    call cost may be open."""
    body: bytes = field(default=b"", repr=False)
    """What came, where it could not be read as a whole: the stage keeps it."""

    @property
    def cost_is_open(self) -> bool:
        """Whether there are images but no cost of the call."""
        return self.cut and (self.settled is None or not self.whole)


@dataclass(frozen=True, slots=True)
class PaidCall:
    """One paid call: its JSON, the moment by which it must be sent, and how it is recognised afterwards.

    `send_before` is as in `PaidPost.send`. `reference` is the submission's id, for providers that keep one for us.
    `sink` takes the answer of a wire that is `inline`, and elsewhere one that is too long to be read.
    """

    body: Mapping[str, Any]
    send_before: float
    reference: str = ""
    sink: Sink | None = None


@dataclass(frozen=True, slots=True)
class Listed:
    """One row of a provider's own list of what it made, as far as it could be read; None = it does not say.

    `made_at` is by the provider's clock. `reference` is ours, if the row carries one. `width` and `height` in pixels.
    """

    upstream_id: str | None = None
    made_at: datetime | None = None
    prompt: str | None = None
    reference: str | None = None
    width: int | None = None
    height: int | None = None
    is_local: bool = False
    """Whether its time names no zone, and was read as UTC."""
    stated: tuple[tuple[str, str], ...] = ()
    """What else it says of its call, by the names of the request's fields; only values of their documented forms."""
    failed: bool = False
    """Whether it says that its picture failed; a provider may try that again."""


@dataclass(frozen=True, slots=True)
class Page:
    """One answer of a provider's list, in the order of the answer.

    `more`: what its pagination says of further rows; None where it says nothing. `following` asks for the next page.
    `overlaps`: the next page begins with the last row of this one, which proves that no row is left out between them.
    `total`: how many rows it says the list has. `fault`: why it may hold more rows than were read.
    """

    rows: tuple[Listed, ...]
    more: bool | None = None
    following: str | None = None
    overlaps: bool = False
    total: int | None = None
    fault: str | None = None


@dataclass(frozen=True, slots=True)
class AccountFacts:
    """What a provider says of an account: what is left in its unit (None where it does not say), and anything odd."""

    balance: Decimal | None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class WireSettings:
    """What a wire needs to speak for one account.

    `media_without_url` says what a finished picture without a link is: "fail", or "succeed" where it lies upstream.
    `with_deleted`: whether a list is to show what was deleted too, where its provider can; a proof of absence needs it.
    """

    base_url: str
    api_key: SecretStr
    post: PaidPost
    get: ApiGet
    media_without_url: str = "fail"
    with_deleted: bool = False


class Wire(Protocol):
    """One provider's HTTP API, with its capabilities as data."""

    poll_page: ClassVar[int]
    """Pictures that one status request can ask for; 0 = cannot be polled, the answer to the POST is the result."""
    submit_parcel: ClassVar[int]
    """Jobs per submit message: such a parcel holds its slot until its slowest job is done."""
    find_by: ClassVar[FindBy]
    """How the purchase of a lost call is known again: all but `usage` and `nothing` make the wire a `ListWire`."""
    inline: ClassVar[bool]
    """Whether the answer carries the images themselves: then the wire is an `InlineWire`."""

    def __init__(self, settings: WireSettings) -> None: ...

    async def submit(self, call: PaidCall) -> Accepted | Refused:
        """Pay once for what `call` asks."""
        ...

    async def poll(self, upstream_ids: Sequence[str]) -> Mapping[str, UpstreamImage] | Refused:
        """Return what is known of up to `poll_page` pictures; those left out are still to be asked for."""
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

    def read_error(self, status: int, body: bytes) -> "Refused | None":
        """Return the error that a success of `status` holds in place of images; None where it holds none."""
        ...

    def extract(self, file: BinaryIO, index: int, sink: Sink) -> None:
        """Write the image at `index` of an answer into `sink`; raises `UnreadableError`, and what `sink` raises."""
        ...


class ListWire(Wire, Protocol):
    """A wire that finds by `reference`, `prompt` or `time`: its provider lists what it made."""

    most_pages: ClassVar[int]
    """Pages that one reading of the list may ask for."""

    async def page(self, following: str | None = None) -> Page | Refused:
        """Ask for a page of the list: the first one, or the one that `following` of the last page names."""
        ...


class ReferenceWire(ListWire, Protocol):
    """A wire that finds by `reference`, whose list may leave the reference out."""

    async def look(self, upstream_id: str) -> Listed | Refused:
        """Ask for one row by itself, with the reference that it carries."""
        ...


@dataclass(frozen=True, slots=True)
class Used:
    """What a key has used up in all, in the account's unit: at its provider, and at others under its owner's keys.

    `elsewhere` is None where the provider does not say: that is not 0.
    """

    here: Decimal
    elsewhere: Decimal | None = Decimal(0)


class UsageWire(Wire, Protocol):
    """A wire that finds by `usage`: its provider says what the key has used up."""

    async def used(self) -> Used | Refused:
        """Ask what the key has used up in all; free of charge, and only charges move the figures."""
        ...


@runtime_checkable
class OfferWire(Protocol):
    """A wire whose provider states its models and prices to the key that asks."""

    async def offers(self) -> "Offered | Refused":
        """Ask what the account is offered; free of charge, one request or one a model."""
        ...


@runtime_checkable
class CostsWire(Protocol):
    """A wire whose provider states what each day cost."""

    async def costs(self, first: date, last: datetime) -> Mapping[date, Decimal] | Refused:
        """Ask what each UTC day from `first` to the moment `last` cost, in the account's unit; free of charge."""
        ...
