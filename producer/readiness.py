"""What a plan remarks of an account: whatever would keep its jobs waiting or unmade, and what to do about it."""

import shlex
from collections.abc import Iterator, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from shared.catalog import Provider
from shared.setting_origins import written_as
from shared.settings import Settings

_MODELS_NAMED = 3


class Remark(NamedTuple):
    """One thing that was seen, and what to do; `waits` says whether jobs would wait or fail for it."""

    code: str
    account: str | None
    seen: str
    do: str
    link: str | None = None
    waits: bool = True


class Demand(NamedTuple):
    """What a plan asks of one account; `high` and `due` are of rows whose price is known."""

    account: str
    unit: str
    high: Decimal
    due: Decimal
    """The most that rows of the file may cost which wait in the batch already."""
    unpriced: Mapping[str, int]
    without_brand: int
    seconds: float
    capped: bool
    """Whether the batch has a cap for the account's provider."""
    spent_today: Decimal


NO_WORKER = Remark("no_worker", None, "no worker runs", "start one: genqueue up, or genqueue worker")


def remarks(demand: Demand, row: Mapping[str, Any] | None, settings: Settings, *, fresh: bool) -> Iterator[Remark]:
    """Yield what is to be said of an account, `row` being what workers registered of it.

    `fresh` says that a worker with its key was seen within a day.
    """
    if row is not None and row["paused_at"]:
        yield _paused(demand.account, row)
    elif not fresh:
        yield _unseen(demand.account, row)
    if row is not None and row["balance"] is not None and row["balance"] < demand.high:
        yield _short(demand, row["balance"])
    if row is not None and row["daily_cap"] is not None and demand.high + demand.due > _left(demand, row["daily_cap"]):
        yield _day(demand, row["daily_cap"])
    if demand.seconds > settings.deadline_seconds:
        yield _too_long(demand, settings.deadline_seconds)
    if demand.without_brand:
        yield from _brand(demand, settings)
    if demand.unpriced:
        yield _unpriced(demand, settings, capped=demand.capped or bool(row and row["daily_cap"] is not None))


def batch_cap(batch: str, provider: Provider, *, cap: Decimal, left: Decimal, wanted: Decimal) -> Remark:
    """Say that a batch's cap has no room for what its rows may cost."""
    left = max(left, Decimal(0))
    seen = _lacking(f"{left:f} {provider.unit} left of the batch's {cap:f} for {provider.name}", left, wanted)
    do = f"genqueue cap {shlex.quote(batch)} {provider.name}={cap + wanted - left:f}, or --max-cost of enqueue"
    return Remark("batch_cap_short", None, seen, do)


def duration(seconds: float) -> str:
    """Return a time as a person reads it, rounded down: 40 s, 12 min, 1 h 12 min, 3 d 2 h."""
    whole = int(seconds)
    for size, unit, rest, smaller in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min")):
        if whole >= size:
            more = whole % size // rest
            return f"{whole // size} {unit}" + (f" {more} {smaller}" if more else "")
    return f"{whole // 60} min" if whole >= 60 else f"{whole} s"  # noqa: PLR2004 - seconds in a minute


def _paused(account: str, row: Mapping[str, Any]) -> Remark:
    since: datetime = row["paused_at"]
    link = row["action_url"]
    do = f"settle it{f' {link}' if link else ''}, then genqueue resume {account}"
    return Remark("account_paused", account, f"paused since {since:%Y-%m-%d %H:%M}: {row['paused_reason']}", do, link)


def _unseen(account: str, row: Mapping[str, Any] | None) -> Remark:
    never = row is None or row["seen_at"] is None
    seen = "no worker with its key has run yet" if never else "no worker with its key was seen within a day"
    return Remark("account_unseen", account, seen, f"give a worker its key: {_setting(account, 'api_key')}=...")


def _short(demand: Demand, balance: Decimal) -> Remark:
    seen = _lacking(f"{balance:f} {demand.unit} left", balance, demand.high)
    do = f"add {demand.high - balance:f} {demand.unit} at the provider, or send less"
    return Remark("balance_short", demand.account, seen, do)


def _too_long(demand: Demand, deadline: float) -> Remark:
    seen = f"at least {duration(demand.seconds)}, but what has waited {duration(deadline)} is given up unbought"
    return Remark("deadline_short", demand.account, seen, "raise GENQUEUE_DEADLINE_SECONDS, or send less")


def _brand(demand: Demand, settings: Settings) -> Iterator[Remark]:
    known = settings.accounts.get(demand.account)
    if known and known.brand_session_id:
        return
    do = f"set options.brandSessionId in the rows, or {_setting(demand.account, 'brand_session_id')} for the workers"
    whose = "the account has none" if known else "this command's settings do not show the account's"
    seen = f"{demand.without_brand:,} row(s) name no brand, and {whose}"
    yield Remark("brand_missing", demand.account, seen, do, waits=known is not None)


def _unpriced(demand: Demand, settings: Settings, *, capped: bool) -> Remark:
    models = sorted(demand.unpriced, key=lambda model: (-demand.unpriced[model], model))
    named = ",".join(f"{model}=..." for model in models[:_MODELS_NAMED])
    more = f" and {len(models) - _MODELS_NAMED:,} models more" if len(models) > _MODELS_NAMED else ""
    known = settings.accounts.get(demand.account)
    allowed = known is not None and known.allow_unknown_price and not capped
    whose = "" if known else "; the workers' settings may have it"
    seen = f"price unknown of {sum(demand.unpriced.values()):,} row(s){whose}"
    do = f"set {_setting(demand.account, 'prices')}={named} ({demand.unit} an image){more}"
    return Remark("price_unknown", demand.account, seen, do, waits=known is not None and not allowed)


def _lacking(have: str, left: Decimal, wanted: Decimal) -> str:
    return f"{have}, {wanted - left:f} less than the {wanted:f} it may cost"


def _left(demand: Demand, daily_cap: Decimal) -> Decimal:
    return max(daily_cap - demand.spent_today, Decimal(0))


def _day(demand: Demand, daily_cap: Decimal) -> Remark:
    wanted, left = demand.high + demand.due, _left(demand, daily_cap)
    seen = _lacking(f"{left:f} {demand.unit} left of the day's {daily_cap:f}", left, wanted)
    do = f"raise {_setting(demand.account, 'daily_cap')}, or let the rest wait for the next day"
    return Remark("daily_cap_short", demand.account, seen, do)


def _setting(account: str, field: str) -> str:
    return written_as(("accounts", account, field))[0]
