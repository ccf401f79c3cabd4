"""What `genqueue doctor` checks by asking the database: itself, workers, accounts, money, and what is wrong."""

from collections.abc import Iterator
from datetime import datetime
from typing import Final

from ops.cli.checks.running import Check, Finding
from ops.cli.join import prove_database
from producer import Client
from producer.cli.bill import balance_verdict, unpriced_words
from producer.cli.tables import cell
from shared import catalog
from shared.db.engine import DatabaseUnavailableError
from shared.db.payments.drift import FigureVerdict
from shared.db.purpose import Purpose
from shared.db.workers import ALIVE_SECONDS, STUCK_SECONDS
from shared.errors import CODES
from shared.notes import counted
from shared.pause_ends import ends_pause
from shared.problems import Problem, problems
from shared.settings import Settings

_SKEW_SECONDS: Final = 2.0
_TOLD_ELSEWHERE: Final = frozenset({"account_paused", "worker_silent", "worker_stuck", "no_worker", "drift"})
"""Problems that a check of its own tells."""
_AROUND_WORKERS: Final = frozenset({"bucket", "broker", "disk", "clock"})
_FOR_A_PERSON: Final = frozenset({"held", "cap_reached", "price_unknown", "balance_low"})
"""Problems of a queue that works: nothing is broken, and somebody has to decide."""


def of_queue(settings: Settings, client: Client) -> dict[str, Check]:
    """Return the checks that ask the database."""
    return {
        "database": lambda: [*_database(settings, client), _purpose(settings, client)],
        "queue": lambda: [*_workers(client), *_waiting_for_room(client), *_problems(client)],
        "accounts": lambda: [*_accounts(settings, client), *_balances(client), *_unpriced(client), *_prices(client)],
    }


def _database(settings: Settings, client: Client) -> Iterator[Finding]:
    facts = client.database_facts()
    yield Finding("database", ok=True, seen=f"PostgreSQL {facts.version}, schema {facts.revision}")
    yield _sessions(settings)
    skew = facts.clock_skew_seconds
    yield Finding(
        "clock",
        ok=abs(skew) <= _SKEW_SECONDS,
        seen=f"{skew:+.1f} s against the database",
        do="synchronise this machine's clock" if abs(skew) > _SKEW_SECONDS else "",
    )
    if settings.send_within_seconds >= settings.lease_slack_seconds:
        yield Finding(
            "leases",
            ok=False,
            seen="GENQUEUE_SEND_WITHIN_SECONDS is not below GENQUEUE_LEASE_SLACK_SECONDS",
            do="raise GENQUEUE_LEASE_SLACK_SECONDS",
        )


def _sessions(settings: Settings) -> Finding:
    """Prove what a worker needs of the server; a producer does without."""
    try:
        prove_database(settings)
    except DatabaseUnavailableError as error:
        seen, _, do = str(error).partition(": ")
        return Finding("sessions", ok=False, seen=seen, do=do)
    return Finding("sessions", ok=True, seen="locks, LISTEN and writes work, as a worker needs them")


def _purpose(settings: Settings, client: Client) -> Finding:
    found = client.purpose()
    if found is Purpose.TRIAL and settings.trial is None:
        do = "set GENQUEUE_TRIAL as `genqueue env --trial` prints it: none of your accounts may serve a trial"
        return Finding("purpose", ok=False, seen="TRIAL: a trial's database, but your own accounts", do=do)
    words = {
        Purpose.TRIAL: "TRIAL: every account is the simulator's; no real money is paid",
        Purpose.REAL: "REAL: jobs go to the providers and cost money",
    }
    return Finding("purpose", ok=True, seen=words[found])


def _workers(client: Client) -> Iterator[Finding]:
    rows = client.workers()
    if not any(float(str(row["tick_age_seconds"])) < ALIVE_SECONDS for row in rows):
        yield Finding("workers", ok=False, seen="none runs", do="start one: genqueue up, or genqueue worker")
    for row in rows:
        age, stuck = float(str(row["tick_age_seconds"])), float(str(row["stuck_seconds"]))
        ok = age < ALIVE_SECONDS
        do = "" if ok else "it is stopped, frozen or cut off; look at its log"
        seen = f"last tick {age:.0f} s ago, {row['slots']} slots"
        if ok and stuck > STUCK_SECONDS:
            ok, seen = False, f"{seen}; PostgreSQL has not accepted its answers for {stuck:.0f} s"
            do = "its log names the SQLSTATE (write_waits); its unrecorded answers are in its spool, under evidence/"
        yield Finding(f"worker {row['name']}", ok=ok, seen=seen, do=do)


def _accounts(settings: Settings, client: Client) -> Iterator[Finding]:
    for name in catalog.names():
        if not any(account.provider == name and account.api_key for account in settings.accounts.values()):
            yield Finding(f"key of {name}", ok=True, seen=f"not set here (GENQUEUE_{name.upper()}_API_KEY)")
    for row in client.accounts():
        name, paused = str(row["name"]), row["paused_at"]
        if isinstance(paused, datetime):
            seen = f"paused since {paused:%Y-%m-%d %H:%M}: {row['paused_reason']}"
            link, probe_at = str(row["action_url"] or ""), row["probe_at"]
            probed = probe_at if isinstance(probe_at, datetime) else None
            do = ends_pause(name, str(row["paused_code"]), link=link, probe_at=probed)
            yield Finding(f"account {name}", ok=False, seen=seen, do=do)
        elif row["seen_at"] is None:
            yield Finding(f"account {name}", ok=True, seen="no worker with its key has run yet")
        else:
            left = f", {cell(row['balance'])} {row['unit']} left" if row["balance"] is not None else ""
            notes = f"; {row['notes']}" if row["notes"] else ""
            yield Finding(
                f"account {name}", ok=True, seen=f"{counted(int(str(row['concurrency'])), 'call')} at once{left}{notes}"
            )


def _balances(client: Client) -> Iterator[Finding]:
    for span in client.balance_spans():
        if not span.current:
            continue
        taken = span.verdict is FigureVerdict.MORE
        seen = f"since {cell(span.base.at)}: {cell(span.expected)} {span.unit} expected, {cell(span.last.balance)} left"
        do = f"look at the provider's history; if others use the key: genqueue bill --accept-drift {span.account}"
        exact = span.verdict is FigureVerdict.EXACT
        words = f"as expected since {cell(span.base.at)}" if exact else f"{seen}: {balance_verdict(span)}"
        yield Finding(f"balance {span.account}", ok=not taken, seen=words, do=do if taken else "")


def _waiting_for_room(client: Client) -> Iterator[Finding]:
    for row in client.waiting_for_room():
        seen = f"{counted(row['jobs'], 'job waits', 'jobs wait')} ({row['error_code']}): {row['error']}"
        yield Finding(f"answers of {row['account']}", ok=False, seen=seen, do=CODES[row["error_code"]].you_can)


def _unpriced(client: Client) -> Iterator[Finding]:
    """Say which accounts' sums are incomplete because a cost is unknown. This is not a fault."""
    for row in client.bill():
        if words := unpriced_words(row):
            do = "look it up in the provider's own history; set a price to prevent this"
            yield Finding(f"bill {row['account']}", ok=True, seen=words, do=do)


def _prices(client: Client) -> Iterator[Finding]:
    """Say when models and prices were read, and which prices changed."""
    for row in client.offer_readings():
        read = f"read {cell(row['read_at'])} from {row['source']}" if row["read_at"] else "never read"
        without = f", {row['unbounded']} without an upper bound" if row["unbounded"] else ""
        note = f"; {row['note']}" if row["note"] else ""
        do = "" if row["fresh"] else "rows are not checked against the list until it can be read again"
        seen = f"{read}, {row['models']} models{without}{note}"
        yield Finding(f"prices {row['account']}", ok=True, seen=seen, do=do)
    for row in client.price_changes():
        after = cell(row["after"]) if row["after"] is not None else "no upper bound"
        seen = f"{row['model']}: {cell(row['before'])} -> {after} USD per image at most, at {cell(row['at'])}"
        yield Finding(f"price changed {row['account']}", ok=True, seen=seen)


def _problems(client: Client) -> Iterator[Finding]:
    """Say what is wrong with the queue as `status` sees it, unless another check tells it."""
    for problem in problems(client.status()):
        if problem.code not in _TOLD_ELSEWHERE:
            yield _as_finding(problem)


def _as_finding(problem: Problem) -> Finding:
    look = problem.code in _FOR_A_PERSON
    since = f" (since {problem.since:%Y-%m-%d %H:%M} UTC)" if problem.since else ""
    whose = "of workers" if problem.code in _AROUND_WORKERS else problem.subject
    name = " ".join(filter(None, (problem.code.replace("_", " "), whose)))
    do = "" if problem.then == "genqueue doctor" else problem.then
    return Finding(name, ok=look, seen=f"{problem.words}{since}", do=do, look=look)
