"""The least time until a share's last paid call, from the jobs ahead in line and the limits."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from producer.plan.shares import Share
from shared import catalog
from shared.account_settings import RateWindow
from shared.catalog.estimates import estimate
from shared.db.read.planning import Standing


class Bound(NamedTuple):
    """The least seconds until a share's last paid call has been made, and what bounds it; none known = 0 and empty."""

    seconds: float
    because: str


_NONE = Bound(0.0, "")


def ahead_of(share: Share, line: Mapping[int, int]) -> int:
    """Count the jobs in `line`, by priority, that are bought before the last of `share`; equal priorities alternate."""
    if not share.rows:
        return 0
    last = min(share.priorities)
    before = sum(jobs for priority, jobs in line.items() if priority > last)
    return before + min(line.get(last, 0), share.priorities[last])


def least_time(share: Share, ahead: int, standing: Standing | None) -> Bound:
    """Return the least time for a share behind `ahead` jobs, under the registered limits, else the documented ones."""
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


def duration(seconds: float) -> str:
    """Return a time as a person reads it, rounded down: 40 s, 12 min, 1 h 12 min, 3 d 2 h."""
    whole = int(seconds)
    for size, unit, rest, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            more = whole % size // rest
            return f"{whole // size} {unit}" + (f" {more} {smaller}" if more else "")
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - seconds in a minute
