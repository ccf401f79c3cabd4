"""What `genqueue doctor` checks: each check tries one thing as it is used, and says what to do if that fails."""

import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeVar, cast

from ops.cli import broker_check
from ops.cli.download import bucket
from ops.cli.join import adopted, prove_database
from ops.stack import Home
from producer import Client
from producer.cli.listings import balance_verdict, unpriced_words
from producer.cli.tables import cell
from shared import catalog
from shared.db.engine import DatabaseUnavailableError
from shared.db.payments.drift import FigureVerdict
from shared.db.purpose import Purpose
from shared.db.schema import SchemaError
from shared.db.workers import ALIVE_SECONDS, STUCK_SECONDS
from shared.errors import CODES
from shared.pause_ends import ends_pause
from shared.problems import Problem, problems
from shared.setting_origins import unknown_variables
from shared.settings import Settings, load
from worker.evidence import private_files
from worker.evidence.private_files import NotOursError
from worker.evidence.replies import LEAST_ROOM_BYTES
from worker.runtime import spool_directory
from worker.transport.storage_errors import StorageError
from worker.transport.store_proof import prove

SECONDS: Final = 5.0
"""The time of each check; they run side by side."""
_SKEW_SECONDS: Final = 2.0
_SILENCE_SECONDS: Final = 3.0
_OWN: Final = {"broker": "redis", "bucket": "s3", "database": "postgres"}
"""Check -> the server of a home's own stack that it asks."""
_TOLD_ELSEWHERE: Final = frozenset({"account_paused", "worker_silent", "worker_stuck", "no_worker", "drift"})
"""Problems that a check of its own tells."""
_AROUND_WORKERS: Final = frozenset({"bucket", "broker", "disk", "clock"})
_FOR_A_PERSON: Final = frozenset({"held", "cap_reached", "price_unknown", "balance_low"})
"""Problems of a queue that works: nothing is broken, and somebody has to decide."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: whether it passed, what was seen, and what to do if it failed.

    `look`: nothing is broken, but a person has to decide something.
    """

    check: str
    ok: bool
    seen: str
    do: str = ""
    look: bool = False

    @property
    def rank(self) -> int:
        """0 for what is broken, 1 for what a person should look at, 2 for what is well."""
        return 2 if self.ok and not self.look else int(self.ok)


Check = Callable[[], Iterable[Finding]]
T = TypeVar("T")


def side_by_side(checks: Mapping[str, Check], seconds: float = SECONDS) -> Iterator[Finding]:
    """Run every check in a thread of its own, and yield findings as they come.

    A check that says nothing for `seconds` is a finding itself; its thread is left behind.
    """
    said: queue.Queue[tuple[str, list[Finding]]] = queue.Queue()
    for name, check in checks.items():
        threading.Thread(target=lambda n=name, c=check: said.put((n, _tried(n, c))), daemon=True).start()
    waited, end = set(checks), time.monotonic() + seconds
    while waited:
        try:
            name, findings = said.get(timeout=max(end - time.monotonic(), 0.01))
        except queue.Empty:
            break
        waited.discard(name)
        yield from findings
    for name in sorted(waited):
        yield Finding(
            name, ok=False, seen=f"no answer within {seconds:.0f} s", do=_start(name, "it is frozen or overloaded")
        )


def within(seconds: float | None, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises; raise `TimeoutError` and leave it behind after `seconds`."""
    done: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return cast("T", result)


def _tried(name: str, check: Check) -> list[Finding]:
    """Run one check. A fault that it does not foresee is its finding: the other checks go on."""
    try:
        return list(check())
    except (DatabaseUnavailableError, SchemaError) as error:
        do = _start("database", "start PostgreSQL, or correct GENQUEUE_DATABASE_URL")
        return [Finding(name, ok=False, seen=str(error), do=do)]
    except Exception as error:  # noqa: BLE001 - a message may hold values that are secret
        return [Finding(name, ok=False, seen=f"the check itself failed ({type(error).__name__})", do="report it")]


def of_servers(settings: Settings) -> dict[str, Check]:
    """Return the checks that need no database."""
    return {
        "settings": lambda: _unknown_settings(settings),
        "broker": lambda: [_broker(settings)],
        "bucket": lambda: [_bucket(settings)],
        "spool": lambda: [_spool(settings)],
    }


def of_queue(settings: Settings, client: Client) -> dict[str, Check]:
    """Return the checks that ask the database."""
    return {
        "database": lambda: [*_database(settings, client), _purpose(settings, client)],
        "queue": lambda: [*_workers(client), *_waiting_for_room(client), *_problems(client)],
        "accounts": lambda: [*_accounts(settings, client), *_balances(client), *_unpriced(client), *_prices(client)],
    }


def _unknown_settings(settings: Settings) -> Iterator[Finding]:
    for stray in unknown_variables(settings):
        do = f"did you mean {stray.meant}?" if stray.meant else "unset it"
        yield Finding(stray.name, ok=False, seen="no such setting", do=do)


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


def _start(check: str, otherwise: str) -> str:
    """Say what brings a server back: nobody needs to start what a living `genqueue up` starts again by itself."""
    if not adopted():
        return otherwise
    home = Home(load().home)
    if not home.supervised():
        return "start everything: genqueue up"
    log = f"; its log says why it ended: {home.log(_OWN[check])}" if check in _OWN else ""
    return f"wait: `genqueue up` runs and starts it again by itself{log}"


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


def _broker(settings: Settings) -> Finding:
    if not settings.broker_url.get_secret_value():
        return Finding("broker", ok=False, seen="GENQUEUE_BROKER_URL is not set", do="set it; only workers need it")
    state = broker_check.look(settings)
    do = _start("broker", state.do) if state.do.startswith("start Redis") else state.do
    return Finding("broker", ok=not state.do, seen=state.seen, do=do)


def _bucket(settings: Settings) -> Finding:
    try:
        storage = bucket(_SILENCE_SECONDS)
        storage.check()
        prove(storage)
    except StorageError as error:
        do = _start("bucket", "correct the S3 settings; only workers need them")
        return Finding("bucket", ok=False, seen=str(error), do=do)
    return Finding("bucket", ok=True, seen=f"{settings.s3_bucket} takes objects and verifies them")


def _spool(settings: Settings) -> Finding:
    """Check the spool of a worker on this host: whether only we can write there, and whether there is room."""
    path = spool_directory(settings)
    if not path.exists():
        return Finding("spool", ok=True, seen=f"{path} does not exist yet: no worker has run here")
    try:
        private_files.make_private(path, tighten=False)
        free = shutil.disk_usage(path).free
    except (NotOursError, OSError) as error:
        do = "correct it, or set GENQUEUE_SPOOL_DIR to a directory that only the worker can write"
        return Finding("spool", ok=False, seen=str(error), do=do)
    room = free >= LEAST_ROOM_BYTES
    do = "" if room else "free space there: calls with images in their answers wait for it"
    return Finding("spool", ok=room, seen=f"{free >> 20:,} MiB free in {path}", do=do)


def _waiting_for_room(client: Client) -> Iterator[Finding]:
    for row in client.waiting_for_room():
        seen = f"{row['jobs']:,} job(s) wait ({row['error_code']}): {row['error']}"
        yield Finding(f"answers of {row['account']}", ok=False, seen=seen, do=CODES[row["error_code"]].you_can)


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
            yield Finding(f"account {name}", ok=True, seen=f"{row['concurrency']} calls at once{left}{notes}")


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
