"""One seeded run: jobs over five providers, workers and servers that die meanwhile, and the verdict at the end."""

import contextlib
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

from producer.client import is_settled
from shared.db.engine import DatabaseUnavailableError
from tests.chaos import orders, plan, verdict
from tests.chaos.evidence import Evidence, gather
from tests.chaos.ground import ChaosSite
from tests.chaos.monkey import Monkey
from tests.chaos.plan import WORKERS, Action
from tests.chaos.points import PROVIDERS

BATCH: Final = "chaos"
RESEND: Final = "chaos-resend"
BATCHES: Final = (BATCH, RESEND)
"""Of the second, each lost call that provably bought nothing is sent again."""
_STEP_SECONDS: Final = 0.05
_LOOK_SECONDS: Final = 0.2
_OPERATOR_SECONDS: Final = 2.0
_STUCK_SECONDS: Final = 150.0
_QUIET_SECONDS: Final = 120.0
_RESEND_EVERY: Final = 3
_LEAST_AHEAD: Final = 16
_MOST_AHEAD: Final = 80

_LOST: Final[dict[str, Any]] = {
    "bloom": {
        "reply_lost": 0.03,
        "reset_after_read": {"rate": 0.02, "accepted": True},
        "close_after_read": {"rate": 0.01, "accepted": True},
        "gateway_page": 0.01,
        "error_5xx": {"rate": 0.02, "status": 500, "accepted": True},
        "truncate": 0.02,
        "error_in_2xx": {"rate": 0.01, "accepted": True},
    },
    "banatie": {
        "reply_lost": 0.04,
        "reset_after_read": {"rate": 0.02, "accepted": False},
        "error_5xx": {"rate": 0.02, "status": 504, "accepted": True},
        "html_body": 0.02,
        "gateway_page": {"rate": 0.01, "status": 400},
        "error_in_2xx": {"rate": 0.01, "accepted": False},
    },
    "getimg": {
        "reply_lost": 0.03,
        "gateway_page": {"rate": 0.01, "status": 422},
        "reset_after_read": {"rate": 0.02, "accepted": True},
        "close_after_read": {"rate": 0.02, "accepted": False},
        "truncate": {"rate": 0.02, "chunked": True},
        "empty_body": 0.01,
        "error_in_2xx": {"rate": 0.01, "accepted": True},
    },
    "openrouter": {
        "reply_lost": 0.04,
        "reset_after_read": {"rate": 0.02, "accepted": True},
        "truncate": 0.02,
        "error_5xx": {"rate": 0.02, "status": 502, "accepted": True},
        "error_in_2xx": {"rate": 0.01, "accepted": False},
    },
    "posteverywhere": {
        "reply_lost": 0.03,
        "close_after_read": {"rate": 0.02, "accepted": True},
        "reset_after_read": {"rate": 0.02, "accepted": False},
        "not_utf8": 0.02,
        "error_5xx": {"rate": 0.01, "status": 503, "accepted": True},
        "error_in_2xx": {"rate": 0.01, "accepted": True},
    },
}
_REFUSED: Final = {"429": 0.02}
_FREE: Final = {"error_5xx": 0.02, "truncate": 0.02, "slow": {"rate": 0.02, "seconds": 10}}


@dataclass(slots=True)
class Death:
    """A worker that ended by a signal: when, and the jobs that were in its hands, with their states."""

    at: datetime
    sender: str | None
    jobs: dict[Any, str] | None = None


@dataclass(eq=False)
class Run:
    """What happened; `faults` is empty where all went as it must."""

    seed: int
    jobs: int
    crashes: int
    site: ChaosSite
    monkey: Monkey
    actions: Sequence[Action]
    orders: Sequence[dict[str, Any]]
    deaths: list[Death] = field(default_factory=list)
    fed: int = 0
    resumed: int = 0
    settled_share: float = 0.0
    begun_share: float = 0.0
    """The share of all jobs that is no longer queued: what the plan goes by."""
    seconds: float = 0.0
    resolved: int = 0
    faults: list[str] = field(default_factory=list)
    found: Evidence | None = None

    @property
    def command(self) -> str:
        """What replays this run."""
        return f"make chaos JOBS={self.jobs} CRASHES={self.crashes} SEED={self.seed}"


def carry_out(
    site: ChaosSite, *, seed: int, jobs: int, crashes: int, say: Callable[[str], None] = lambda _line: None
) -> Run:
    """Start workers, enqueue, break, wait for the end, judge; then settle what is in doubt by hand and judge again."""
    actions = plan.draw(seed, jobs, crashes)
    run = Run(seed, jobs, crashes, site, Monkey(site, actions, say), actions, orders.many(jobs, f"s{seed}"))
    site.simulator.put_faults({"seed": seed, "rates": fault_rates()})
    start_workers(site)
    site.await_ticking(len(WORKERS))
    began = time.monotonic()
    _break_until_settled(run, say)
    run.monkey.make_whole()
    _await_quiet(run)
    run.seconds = time.monotonic() - began
    say(f"settled after {run.seconds:.0f} s; judging")
    _judge(run)
    return run


def fault_rates() -> dict[str, Any]:
    """Return the simulator's rates: about one paid reply in ten is lost, and what is free fails now and then."""
    rates: dict[str, Any] = {f"{provider}.submit": {**_LOST[provider], **_REFUSED} for provider in PROVIDERS}
    rates |= {f"{provider}.{route}": _FREE for provider in PROVIDERS for route in ("poll", "list", "download")}
    return rates


def start_workers(site: ChaosSite) -> None:
    """Start three workers: one in order, one early by minutes that publishes twice, one late and on another host."""
    odd: tuple[dict[str, str], ...] = (
        {},
        {"CHAOS_SKEW_SECONDS": "240", "CHAOS_PUBLISHES_TWICE": "1"},
        {"CHAOS_SKEW_SECONDS": "-420", "host": "two"},
    )
    for name, settings in zip(WORKERS, odd, strict=True):
        site.start_worker(name, **settings)


def _break_until_settled(run: Run, say: Callable[[str], None]) -> None:
    looked = operated = moved = time.monotonic()
    while run.settled_share < 1:
        _tend(run)
        _feed(run)
        run.monkey.step(run.begun_share)
        now = time.monotonic()
        if now - operated > _OPERATOR_SECONDS:
            operated = now
            run.resumed += _resume_paused(run.site)
        if now - looked > _LOOK_SECONDS:
            looked = now
            before = run.settled_share
            _look(run)
            if int(run.settled_share * 20) > int(before * 20):
                say(f"{run.settled_share:4.0%} settled, {len(run.deaths)} deaths")
            moved = now if run.settled_share != before else moved
        if now - moved > _STUCK_SECONDS:
            run.faults.append(f"nothing settles any more: {run.site.describe()}")
            return
        time.sleep(_STEP_SECONDS)


def _feed(run: Run) -> None:
    """Enqueue to a little beyond the next action: a death over an empty queue shows nothing, over a long one little."""
    ahead = min(max(run.jobs // 12, _LEAST_AHEAD), _MOST_AHEAD)
    wanted = min(run.jobs, round(run.monkey.next_at * run.jobs) + ahead)
    if wanted <= run.fed:
        return
    with contextlib.suppress(DatabaseUnavailableError):
        numbered = list(enumerate(run.orders))[run.fed : wanted]
        for batch, resend in ((BATCH, False), (RESEND, True)):
            if rows := [row for number, row in numbered if (number % _RESEND_EVERY == 0) is resend]:
                run.site.client.enqueue(rows, batch=batch, on_unknown="resend" if resend else None)
        run.fed = wanted


def _tend(run: Run) -> None:
    run.site.forgive()
    for ended in run.site.stack.tend():
        if ended.name in WORKERS and ended.status < 0:
            run.deaths.append(Death(datetime.now(UTC), run.site.sender(run.site.process(ended.name).pid)))
    for death in run.deaths:
        if death.jobs is None:
            death.jobs = _in_hand(run.site, death.sender)


def _in_hand(site: ChaosSite, sender: str | None) -> dict[Any, str] | None:
    """Return what a dead worker had claimed or was paying for, jobs with states; None while the database is away."""
    question = """
    SELECT id, state FROM job WHERE claimed_by = %s AND due_at > now() AND state <> 'in_doubt'
    UNION SELECT job.id, job.state FROM job JOIN submission s ON s.job_id = job.id
    WHERE s.sender = %s AND s.outcome IS NULL
    """
    rows = site.asked(question, sender, sender)
    return None if rows is None else dict(rows)


def _look(run: Run) -> None:
    with contextlib.suppress(Exception):  # the database may be away just now
        totals = Counter(run.site.client.totals(BATCH)) + Counter(run.site.client.totals(RESEND))
        run.settled_share = sum(count for state, count in totals.items() if is_settled({state: 1})) / run.jobs
        run.begun_share = (sum(totals.values()) - totals.get("queued", 0)) / run.jobs


def _resume_paused(site: ChaosSite) -> int:
    """Resume what paused itself, as a person would once the provider is well again; return how many accounts."""
    resumed = 0
    with contextlib.suppress(Exception):  # the database may be away just now
        for account in site.client.accounts():
            if account["paused_at"] is not None:
                resumed += site.client.resume(str(account["name"]))
    return resumed


def _await_quiet(run: Run) -> None:
    """Wait until nobody holds a job and no attempt to pay is open."""
    question = """
    SELECT (SELECT count(*) FROM submission WHERE outcome IS NULL) + (SELECT count(*) FROM job
    WHERE claimed_by IS NOT NULL)
    """

    def quiet() -> bool:
        _tend(run)
        return run.site.asked(question) == [(0,)]

    with contextlib.suppress(AssertionError):  # the verdict says what is still in the air
        run.site.until(quiet, _QUIET_SECONDS)


def _judge(run: Run) -> None:
    cancelled = run.monkey.cancelled
    run.found = gather(run.site, *BATCHES, cancelled=cancelled)
    run.faults += verdict.faults(run.found)
    run.resolved = verdict.resolve_as_support_would(run.site, run.found)
    after = gather(run.site, *BATCHES, objects=False, cancelled=cancelled)
    run.faults += [f"resolved by hand: {line}" for line in verdict.faults(after, resolved=True)]
