"""Lists of a made-up provider, and lost calls to look for in them: the world of the look-up's unit tests."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID, uuid4

from shared.db.lost_calls.lost_calls import LostCall, OtherCall, Purchase
from shared.upstream_ids import folded
from worker.lost_calls.judgement import Judgement
from worker.lost_calls.list_facts import ListFacts
from worker.lost_calls.listing import ListReading
from worker.lost_calls.lookup import judge
from worker.providers.contract import FindBy, Listed

SENT: Final = datetime(2027, 1, 1, tzinfo=UTC)
OVER: Final = SENT + timedelta(seconds=10)
QUIET: Final = SENT + timedelta(minutes=5)
ASKED: Final = SENT + timedelta(minutes=20)
OURS: Final = UUID(int=1)
THEIRS: Final = UUID(int=2)
PROMPT: Final = "a quiet harbour"
KEY: Final = "the key"


def at(seconds: float) -> datetime:
    """Return the moment so many seconds after the lost call began."""
    return SENT + timedelta(seconds=seconds)


def lost_call(*, missing: int = 1, fingerprint: bytes = b"f", submission: UUID = OURS, **request: Any) -> LostCall:
    return LostCall(
        submission_id=submission,
        job_id=uuid4(),
        request={"prompt": PROMPT, **request},
        fingerprint=fingerprint,
        missing=tuple(range(missing)),
        opened_at=SENT,
        over_at=OVER,
        until=QUIET,
        quiet_in=-60,
        may_close=True,
        cancelled=False,
        sender_lock=None,
        held_note=None,
        key_id=KEY,
    )


def rival(prompt: str = PROMPT, *, fingerprint: bytes = b"f", wanted: int = 1, quiet_in: float = -1) -> OtherCall:
    return OtherCall(fingerprint, prompt, wanted, quiet_in)


def made(name: str, second: float = 1, **more: Any) -> Listed:
    """A row of the list; its prompt is that of the lost call unless another is given."""
    return Listed(name, at(second), **{"prompt": PROMPT, **more})


def square(name: str) -> Listed:
    return made(name, width=1024, height=1024)


def purchase(name: str, begin: float, end: float | None = None, *, submission: UUID | None = None) -> Purchase:
    """A picture of ours whose call began and was answered so many seconds after the lost one began."""
    return Purchase(name, submission or uuid4(), at(begin), at(begin + 2 if end is None else end), key_id=KEY)


LATER: Final = purchase("later", 400, submission=UUID(int=3))
EARLIER: Final = purchase("earlier", -700, submission=UUID(int=4))
BOTH: Final = (LATER, EARLIER)


def row_of(bought: Purchase, clock: float = 0, **more: Any) -> Listed:
    """The row that a provider with a clock so many seconds ahead shows of a purchase."""
    shown = {"prompt": "another", "reference": str(bought.submission_id), **more}
    return Listed(bought.upstream_id, bought.opened_at + timedelta(seconds=1 + clock), **shown)


def list_of(*rows: Listed, ours: Sequence[Purchase] = BOTH, clock: float = 0) -> tuple[Listed, ...]:
    """A list, newest first, of the rows and of what we bought."""
    every = [*rows, *(row_of(one, clock) for one in ours)]
    return tuple(sorted(every, key=lambda row: row.made_at or SENT, reverse=True))


def judged(  # noqa: PLR0913 - what tests vary
    find_by: FindBy,
    asked: LostCall,
    rows: Sequence[Listed],
    *,
    rivals: Sequence[OtherCall] = (),
    owned: Sequence[str] = (),
    ours: Sequence[Purchase] = BOTH,
    reading: dict[str, Any] | None = None,
    **more: Any,
) -> Judgement:
    """Judge what a list shows exactly as it stands, its own purchases owned."""
    read = ListReading(tuple(rows), **{"asked_at": ASKED, "ended": True, **(reading or {})})
    facts = ListFacts(
        reading=read,
        find_by=find_by,
        owned={*owned, *(one.upstream_id for one in ours)},
        purchases={folded(one.upstream_id): one for one in ours},
        **{"slack_seconds": 60, "quiet_seconds": 60, "key_id": KEY, **more},
    )
    return judge(asked, facts, rivals=rivals)


def shown(find_by: FindBy, asked: LostCall, *rows: Listed, **more: Any) -> Judgement:
    """Judge a sound list that shows the rows beside purchases of ours from before and after the call."""
    return judged(find_by, asked, list_of(*rows), **more)
