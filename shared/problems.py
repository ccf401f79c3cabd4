"""What is wrong with a queue, from its state: pure. `status`, `doctor`, the metrics and the alert command tell it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Final

from shared.db.read.status import HeldLine, QueueStatus, StageLine, WorkerLine
from shared.db.webhooks.endpoints import GONE
from shared.db.workers import STUCK_SECONDS
from shared.errors import CODES
from shared.lifecycle import FINAL, JobState, Stage
from shared.notes import counted
from shared.pause_ends import ends_pause
from shared.wait_facts import AccountState, WaitReason

NO_PROGRESS_SECONDS: Final = 120.0
"""If nothing is taken for longer than this, although work is due and nothing known stops it, workers are stuck."""
LINK_SECONDS: Final = 300.0
"""A link with less left than this is in danger if its download does not begin."""
LOW_HOURS: Final = 6.0
"""A balance is low if it lasts for less than this at today's pace."""
_PACE_HOURS: Final = 1.0  # the day must be this old before its pace says anything
_ALIVE: Final = {state.value for state in JobState if state not in FINAL} | {"checking"}
_AROUND: Final = {
    "bucket": "the bucket refuses",
    "broker": "the broker takes no messages",
    "disk": "the disk has no room",
    "clock": "a clock is off",
}
BATCH_HELD: Final = "batch_held"
_MONEY: Final = {"batch_cap_reached", "price_unknown"}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that a person should know. `code` and `subject` together name it for as long as it lasts."""

    code: str
    subject: str
    words: str
    then: str = ""
    """What ends it; its commands are complete."""
    since: datetime | None = None


def problems(status: QueueStatus) -> list[Problem]:
    """Return what is wrong, what stops everything first."""
    return [
        *_no_worker(status),
        *_servers(status),
        *(problem for worker in status.workers for problem in _worker(worker, status)),
        *(problem for account in status.accounts for problem in _account(account, status.at)),
        *_keys(status),
        *(problem for line in status.lines for problem in _line(line, status.at)),
        *_held(status),
        *_drifts(status),
        *_webhooks(status),
    ]


def _no_worker(status: QueueStatus) -> Iterator[Problem]:
    waiting = sum(jobs for state, jobs in status.totals.items() if state in _ALIVE - {"in_doubt"})
    if waiting and not status.live_workers:
        yield Problem(
            "no_worker",
            "",
            f"no worker runs, and {counted(waiting, 'job waits', 'jobs wait')}",
            "genqueue up, or genqueue worker",
        )


def _servers(status: QueueStatus) -> Iterator[Problem]:
    for one in status.troubles:
        words = f"{_AROUND.get(one.kind, one.kind)} ({one.workers} worker(s)): {one.said}"
        yield Problem(one.kind, "", words, "genqueue doctor", one.since)


def _worker(worker: WorkerLine, status: QueueStatus) -> Iterator[Problem]:
    if not worker.alive:
        words = f"worker {worker.name} has not ticked for {worker.tick_age_seconds:.0f} s"
        since = status.at - timedelta(seconds=worker.tick_age_seconds)
        yield Problem("worker_silent", worker.name, words, "it is stopped, frozen or cut off: look at its log", since)
    elif worker.stuck_seconds > STUCK_SECONDS:
        words = f"worker {worker.name}: PostgreSQL has not taken its answers for {worker.stuck_seconds:.0f} s"
        since = status.at - timedelta(seconds=worker.stuck_seconds)
        yield Problem("worker_stuck", worker.name, words, "its log names the SQLSTATE (write_waits)", since)


def _account(account: AccountState, now: datetime) -> Iterator[Problem]:
    if account.paused_at is not None:
        words = f"account {account.name} is paused: {account.paused_reason}"
        link, probe_at = account.action_url, account.probe_at
        then = ends_pause(account.name, account.paused_code, link=link, probe_at=probe_at)
        yield Problem("account_paused", account.name, words, then, account.paused_at)
    hours = hours_left(account, now)
    if hours is not None and hours < LOW_HOURS and account.balance is not None:
        left = f"{account.balance.normalize():f} {account.unit}"
        words = f"account {account.name} has {left} left, which lasts for {hours:.1f} h at today's pace"
        yield Problem("balance_low", account.name, words, "top up at the provider")


def hours_left(account: AccountState, now: datetime) -> float | None:
    """Return for how many hours the balance lasts at the pace of this UTC day; None where nothing says so."""
    hours = (now - now.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() / 3600
    if account.balance is None or account.spent_today <= 0 or hours < _PACE_HOURS:
        return None
    return float(account.balance / (account.spent_today / Decimal(hours)))


def _keys(status: QueueStatus) -> Iterator[Problem]:
    missing = dict.fromkeys(line.account for line in status.lines if line.wait.reason is WaitReason.NO_KEY)
    if status.live_workers and not missing and not any(account.served for account in status.accounts):
        words = "workers run, and none of them has the key of any account: nothing is bought"
        yield Problem("key_missing", "", words, "set a provider's key for the workers and start them again")
    for name in missing:
        words = f"jobs wait for account {name}, whose key no worker has"
        yield Problem("key_missing", name, words, "set the account's key for a worker and start it again")


def _line(line: StageLine, now: datetime) -> Iterator[Problem]:
    subject = f"{line.account} {line.stage.value}"
    at_work = line.wait.reason in {WaitReason.LINE, WaitReason.IN_BROKER, WaitReason.IN_HAND}
    if line.due and at_work and line.stalled_seconds > NO_PROGRESS_SECONDS:
        words = f"{subject}: work has been due for {line.stalled_seconds:.0f} s, and no worker takes any"
        yield Problem("no_progress", subject, words, "genqueue doctor; then the workers' logs")
    if line.stage is Stage.TRANSFER and line.link_expires_at is not None and line.due:
        left = (line.link_expires_at - now).total_seconds()
        if left < LINK_SECONDS:
            words = f"a link of account {line.account} expires in {left:.0f} s, and its download waits: {line.wait}"
            yield Problem("link_expiring", line.account, words, "genqueue doctor; then the workers' logs")


def _held(status: QueueStatus) -> Iterator[Problem]:
    for one in status.held:
        if one.code == BATCH_HELD:
            continue  # a person wants it so
        code = CODES.get(one.code or "")
        held = f"{counted(one.jobs, 'job')} at {one.provider} {'is' if one.jobs == 1 else 'are'} held"
        words = f"{held}: {code.meaning if code else 'for a person'}"
        if one.code in _MONEY:
            yield Problem(_cap_code(one), f"{one.provider}", words, _plain(code.you_can if code else ""))
        else:
            state = "in_doubt" if one.state == JobState.IN_DOUBT else "on_hold"
            then = f"genqueue batches, genqueue jobs BATCH --state {state}, genqueue explain JOB: it says what ends it"
            since = status.held_since if one.state == JobState.IN_DOUBT else None
            yield Problem("held", f"{one.provider} {one.code or ''}".strip(), words, then, since)


def _cap_code(one: HeldLine) -> str:
    return "price_unknown" if one.code == "price_unknown" else "cap_reached"


def _plain(advice: str) -> str:
    return advice.replace("`", "")


def _webhooks(status: QueueStatus) -> Iterator[Problem]:
    for off in status.endpoints_off:
        why = "its receiver said that it wants no more" if off.code == GONE else "it failed for days"
        then = f"genqueue webhook resume {off.id}, or: genqueue webhook remove {off.id}"
        yield Problem("webhook_off", off.id, f"webhook {off.id} is switched off: {why}", then, off.since)


def _drifts(status: QueueStatus) -> Iterator[Problem]:
    for span in status.drifts:
        taken = f"{span.drift.normalize():f} {span.unit}"
        words = f"account {span.account}: the provider took {taken} more than the ledger knows"
        then = f"look at its history; if others use the key: genqueue bill --accept-drift {span.account}"
        yield Problem("drift", span.account, words, then, span.base.at)
