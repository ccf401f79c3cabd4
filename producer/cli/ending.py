"""How a batch ended, in words: jobs, images, time and money, and each reason with the command that comes next."""

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from decimal import Decimal
from typing import Any, Final

from producer.cli.advice import fill
from producer.cli.tables import words
from producer.plan.times import duration
from shared.db.read.ending import BatchEnding, EndReason
from shared.errors import CODES

_TROUBLE: Final = ("failed", "in_doubt", "on_hold", "cancelled")
_SAID: Final = {"in_doubt": "held in doubt", "on_hold": "on hold"}
_OF_MANY: Final = re.compile(r"genqueue (retry|resolve|cancel) JOB\b")


def head(ending: BatchEnding, batch: str) -> str:
    """Say how many jobs succeeded, with how many images, and in what time."""
    total = sum(reason.jobs for reason in ending.reasons)
    done = sum(reason.jobs for reason in ending.reasons if reason.state == "succeeded")
    parts = [f"{batch}: {done:,} of {total:,} {_jobs(total)} succeeded"]
    if cancelled := sum(reason.jobs for reason in ending.reasons if reason.state == "cancelled" and not reason.code):
        parts.append(f"{cancelled:,} cancelled")  # of the others, `troubles` says how many and why
    if ending.images is not None:
        parts.append(f"{ending.images:,} {'image' if ending.images == 1 else 'images'} stored")
    if ending.began_at and ending.ended_at:
        parts.append(f"in {duration((ending.ended_at - ending.began_at).total_seconds())}")
    return ", ".join(parts)


def money(bill: Sequence[Mapping[str, Any]], caps: Mapping[str, Decimal]) -> Iterator[str]:
    """Yield a line for each account: what was paid, of which cap, and what may have been paid."""
    for row in bill:
        unit = row["unit"]
        if unit == "unbilled":
            continue
        cap = f" of at most {words(caps[row['provider']])}" if row["provider"] in caps else ""
        held = f"; {words(row['held'])} {unit} held: a lost call may have cost it" if row["held"] else ""
        open_still = f"; {words(row['reserved'])} {unit} set aside" if row["reserved"] else ""
        yield f"{row['account']}: {words(row['settled'] + row['elsewhere'])}{cap} {unit} spent{held}{open_still}"


def troubles(ending: BatchEnding, batch: str) -> Iterator[str]:
    """Yield for each reason why jobs did not succeed: how many, why, and what you can do."""
    for reason in ending.reasons:
        if reason.state not in _TROUBLE or (reason.state == "cancelled" and not reason.code):
            continue
        code = CODES.get(reason.code or "")
        meaning = f": {code.meaning}" if code else ""
        yield f"{reason.jobs:,} {_SAID.get(reason.state, reason.state)}{meaning} ({reason.code})"
        yield f"  you can: {_next(reason, code.you_can if code else '', batch)}"


def pictures(ending: BatchEnding, batch: str) -> Iterator[str]:
    """Yield the command that brings the images here."""
    if ending.images is None or ending.images:
        yield f"to have the images here: genqueue download {_word(batch)} DIRECTORY"


def _next(reason: EndReason, advice: str, batch: str) -> str:
    """Return an advice with commands that are ready to type; a command that takes many jobs gets all of this reason."""
    if reason.example is None:
        return f"`genqueue jobs {_word(batch)} --state {reason.state}` lists them"
    if reason.jobs > 1 and reason.code:
        many = f"--batch {_word(batch)} --error-code {reason.code}"
        advice = _OF_MANY.sub(lambda found: f"genqueue {found[1]} {many}", advice)
    advice = advice if advice and advice != "nothing is needed" else "`genqueue explain JOB`"
    return fill(advice, asdict(reason.example))


def _jobs(count: int) -> str:
    return "job" if count == 1 else "jobs"


def _word(batch: str) -> str:
    return f"-- {shlex.quote(batch)}" if batch.startswith("-") else shlex.quote(batch)
