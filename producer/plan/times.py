"""How long a batch takes: the least time, by limits and the jobs ahead in line, and the usual one, by recent calls."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final, NamedTuple

from producer.plan.shares import Share
from shared import catalog
from shared.account_settings import RateWindow
from shared.catalog.estimates import estimate
from shared.db.read.planning import Standing
from shared.db.read.usual import Usual
from shared.lifecycle import COLLECTED, JobState


class Bound(NamedTuple):
    """The least seconds until a share's last paid call has been made, and what bounds it; none known = 0 and empty."""

    seconds: float
    because: str


_NONE = Bound(0.0, "")
_SOON_SECONDS: Final = 1.0
_UNBOUGHT: Final = (JobState.QUEUED, JobState.SUBMITTING)
_OPEN: Final = COLLECTED.union(_UNBOUGHT)


def ahead_of(share: Share, line: Mapping[int, int]) -> int:
    """Count the jobs in `line`, by priority, that are bought before the last of `share`; equal priorities alternate."""
    if not share.rows:
        return 0
    last = min(share.priorities)
    before = sum(jobs for priority, jobs in line.items() if priority > last)
    return before + min(line.get(last, 0), share.priorities[last])


def least_time(share: Share, ahead: int, standing: Standing | None) -> Bound:
    """Return the least time for a share behind `ahead` jobs, under the registered limits, or the documented ones."""
    longest = max(_bounds(share, ahead, standing), key=lambda bound: bound.seconds, default=_NONE)
    return longest if longest.seconds else _NONE


def _bounds(share: Share, ahead: int, standing: Standing | None) -> Iterator[Bound]:
    if not share.rows:
        return
    provider = catalog.get(share.provider)
    concurrency = standing.concurrency if standing else provider.concurrency
    windows = standing.windows if standing else [RateWindow(**window._asdict()) for window in provider.windows]
    calls = ahead + share.rows
    yield Bound(-(-calls // concurrency) * estimate(share.provider).call_seconds, f"{concurrency} at once")
    for window in windows:
        requests = calls + (share.polls if window.scope == "all" else 0)
        yield Bound((requests - 1) // window.requests * window.seconds, str(window))


def usual_time(calls: int, usual: Usual) -> float:
    """Return the seconds until the pictures of the last of `calls` more calls are there, if all goes as it did lately.

    With no call left, the pictures of the newest call are waited for.
    """
    if not calls:
        return max(usual.ready_seconds - usual.since_seconds, _SOON_SECONDS)
    waves = -(-calls // usual.concurrency) * usual.call_seconds
    return max(waves, *((calls - 1) // one.requests * one.seconds for one in usual.windows), 0.0) + usual.ready_seconds


def time_left(counts: Mapping[str, Mapping[str, int]], usual: Sequence[Usual]) -> float | None:
    """Return the seconds that jobs, counted by provider and state, usually take until they have ended.

    Accounts of a provider share its jobs evenly. None where nothing is open, or nothing is known of a provider.
    """
    times: list[float] = []
    for provider, states in counts.items():
        if not any(states.get(state) for state in _OPEN):
            continue
        accounts = [one for one in usual if one.provider == provider]
        if not accounts:
            return None
        unbought = -(-sum(states.get(state, 0) for state in _UNBOUGHT) // len(accounts))
        times += [usual_time(unbought, one) for one in accounts]
    return max(times, default=None)


def duration(seconds: float) -> str:
    """Return a time as a person reads it, rounded down: 40 s, 12 min, 1 h 12 min, 3 d 2 h."""
    whole = int(seconds)
    for size, unit, rest, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            more = whole % size // rest
            return f"{whole // size} {unit}" + (f" {more} {smaller}" if more else "")
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - seconds in a minute
