"""A plan's remarks on an account: what would make its jobs wait or fail, and what to do about it."""

import shlex
from collections.abc import Iterator
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from producer.plan.shares import Share
from producer.plan.times import duration
from shared.catalog import Provider
from shared.db.accounts import AccountTerms
from shared.db.read.planning import BoughtElsewhere, Standing
from shared.notes import counted
from shared.pause_ends import ends_pause
from shared.setting_origins import written_as
from shared.settings import Settings

_MODELS_NAMED = 3


class Remark(NamedTuple):
    """One finding and its remedy; `waits` says whether jobs would wait or fail because of it."""

    code: str
    account: str | None
    seen: str
    do: str
    link: str | None = None
    waits: bool = True


NO_WORKER = Remark("no_worker", None, "no worker runs", "start one: genqueue up, or genqueue worker")


def remarks(
    share: Share,
    standing: Standing | None,
    settings: Settings,
    terms: AccountTerms | None,
    *,
    seconds: float,
    capped: bool,
) -> Iterator[Remark]:
    """Yield the remarks on the account of `share`.

    `seconds` is the least time that the share takes; `capped` says that the batch has a cap for the account's provider.
    """
    if standing is not None and standing.paused_at is not None:
        yield _paused(share.account, standing, standing.paused_at)
    elif standing is None or not standing.fresh:
        yield _unseen(share.account, seen=standing is not None and standing.seen)
    if standing is not None:
        yield from _money(share, standing)
    if seconds > settings.deadline_seconds:
        yield _too_long(share, seconds, settings.deadline_seconds)
    if share.without_brand:
        yield from _brand(share, terms)
    if share.unpriced:
        yield _unpriced(share, terms, capped=capped or (standing is not None and standing.daily_cap is not None))


def batch_cap(
    batch: str, provider: Provider, *, cap: Decimal, left: Decimal, wanted: Decimal, is_new: bool = False
) -> Remark:
    """Return the remark that a batch's cap has no room for the highest cost of its rows."""
    left = max(left, Decimal(0))
    seen = _lacking(f"{left:f} {provider.unit} left of the batch's {cap:f} for {provider.name}", left, wanted)
    enough = f"{provider.name}={cap + wanted - left:f}"
    by_command = "" if is_new else f"genqueue cap {shlex.quote(batch)} {enough}, or "
    do = f"{by_command}--max-cost {enough} of enqueue"
    return Remark("batch_cap_short", None, seen, do)


def _paused(account: str, standing: Standing, since: datetime) -> Remark:
    link = standing.action_url
    do = ends_pause(account, standing.paused_code, link=link, probe_at=standing.probe_at)
    return Remark("account_paused", account, f"paused since {since:%Y-%m-%d %H:%M}: {standing.paused_reason}", do, link)


def _unseen(account: str, *, seen: bool) -> Remark:
    said = "no worker with its key was seen within a day" if seen else "no worker with its key has run yet"
    return Remark("account_unseen", account, said, f"give a worker its key: {_setting(account, 'api_key')}=...")


def _money(share: Share, standing: Standing) -> Iterator[Remark]:
    """Yield a remark if the balance or the day's cap has too little room."""
    if standing.balance is not None and standing.balance < share.high:
        seen = _lacking(f"{standing.balance:f} {share.unit} left", standing.balance, share.high)
        do = f"add {share.high - standing.balance:f} {share.unit} at the provider, or send less"
        yield Remark("balance_short", share.account, seen, do)
    if standing.daily_cap is None:
        return
    wanted, left = share.high + share.due, max(standing.daily_cap - standing.spent_today, Decimal(0))
    if wanted > left:
        seen = _lacking(f"{left:f} {share.unit} left of the day's {standing.daily_cap:f}", left, wanted)
        do = f"raise {_setting(share.account, 'daily_cap')}, or let the rest wait for the next day"
        yield Remark("daily_cap_short", share.account, seen, do)


def _too_long(share: Share, seconds: float, deadline: float) -> Remark:
    seen = f"at least {duration(seconds)}, but what has waited {duration(deadline)} is given up unbought"
    return Remark("deadline_short", share.account, seen, "raise GENQUEUE_DEADLINE_SECONDS, or send less")


def _brand(share: Share, known: AccountTerms | None) -> Iterator[Remark]:
    if known and known.has_brand:
        return
    do = f"set options.brandSessionId in the rows, or {_setting(share.account, 'brand_session_id')} for the workers"
    whose = "the account has none" if known else "this command's settings do not show the account's"
    seen = f"{counted(share.without_brand, 'row names', 'rows name')} no brand, and {whose}"
    yield Remark("brand_missing", share.account, seen, do, waits=known is not None)


def _unpriced(share: Share, known: AccountTerms | None, *, capped: bool) -> Remark:
    models = sorted(share.unpriced, key=lambda model: (-share.unpriced[model], model))
    named = ",".join(f"{model}=..." for model in models[:_MODELS_NAMED])
    more = f" and {len(models) - _MODELS_NAMED:,} models more" if len(models) > _MODELS_NAMED else ""
    allowed = known is not None and known.allow_unknown_price and not capped
    whose = "" if known else "; the workers' settings may have it"
    reasons = [f"{model} is {share.why_unpriced[model]}" for model in models if model in share.why_unpriced]
    whose = f"; {'; '.join(reasons[:_MODELS_NAMED])}" if reasons else whose
    seen = f"price unknown of {counted(sum(share.unpriced.values()), 'row')}{whose}"
    do = f"set {_setting(share.account, 'prices')}={named} ({share.unit} an image){more}"
    return Remark("price_unknown", share.account, seen, do, waits=known is not None and not allowed)


def bought_elsewhere(again: BoughtElsewhere) -> Remark:
    """Return the remark that rows of the file are in another batch already."""
    seen = f"{again.jobs:,} of these rows are in batch {again.batch} already, with the same custom_id and request"
    do = f"they would be paid for again; --batch {shlex.quote(str(again.batch))} adds only what is new"
    return Remark("bought_elsewhere", None, seen, do, waits=False)


def _lacking(have: str, left: Decimal, wanted: Decimal) -> str:
    return f"{have}, {wanted - left:f} less than the {wanted:f} it may cost"


def _setting(account: str, field: str) -> str:
    return written_as(("accounts", account, field))[0]
