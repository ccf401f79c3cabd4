"""The pages that only read. Each has at most three statements, and each URL can be kept as a bookmark."""

import csv
import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ops.dashboard import pictures, words
from ops.dashboard.charts import Column, Segment, bar, columns
from ops.dashboard.page import Dashboard, needs, of, person_of, render
from ops.dashboard.reading import ENDED, BatchSums
from ops.dashboard.sessions import Person, Right
from producer.cli import explain
from producer.cli.bill import balance_verdict
from producer.cli.tables import plain
from shared.db.read.batch_page import Filter
from shared.db.read.flow import StageFlow
from shared.db.read.pages import BatchCursor
from shared.db.read.status import IN_LINE
from shared.problems import problems

_BATCHES: Final = 40
_WORD_CHARS: Final = 200
_DAYS_SHOWN: Final = 30
_HOURS: Final = 24
_FAILURES_SHOWN: Final = 40
_NOT_FOUND: Final = 404
_OUTCOMES: Final = ("accepted", "in_air", "unknown", "rejected", "not_sent")
"""The outcomes of attempts, in the order in which they stand on each other; the style sheet has the colour of each."""


@needs(Right.SEE)
def now(request: Request) -> Response:
    """Show the state of the whole queue."""
    return render(request, "now.html", **_now(of(request), request.query_params, person_of(request)))


def _now(dashboard: Dashboard, _query: Mapping[str, str], _person: Person) -> dict[str, Any]:
    found = dashboard.reads.status()
    hours = dashboard.reads.attempts()
    shares = [Column(f"{hour.began:%H}h", {name: hour.outcomes.get(name, 0) for name in _OUTCOMES}) for hour in hours]
    return {
        "status": found,
        "problems": problems(found),
        "in_line": IN_LINE,
        "flow": dashboard.reads.flow(),
        "no_flow": StageFlow(),
        "hours": hours,
        "attempts": columns(shares, "attempts to pay by hour and outcome"),
        "outcomes": _OUTCOMES,
    }


@needs(Right.SEE)
def batches(request: Request) -> Response:
    """List the batches, newest first."""
    part = _word(request.query_params, "name")
    rows = of(request).reads.batches(part, _batch_cursor(request), _BATCHES)
    more = f"{rows[-1]['created_at'].isoformat()} {rows[-1]['id']}" if len(rows) == _BATCHES else None
    return render(request, "batches.html", rows=[(row, progress(row, row["jobs"])) for row in rows], more=more)


@needs(Right.SEE)
def batch(request: Request) -> Response:
    """Show one batch: how far it is, its money, why jobs failed, and its jobs with their pictures."""
    dashboard, person = of(request), person_of(request)
    given = _batch(dashboard, request.query_params, person)
    after = _uuid(request.query_params.get("after"))
    found = dashboard.reads.batch_jobs(given["head"].id, given["which"], after)
    return render(
        request, "batch.html", **given, found=found, picture_of=pictures.link, sees=person.may(Right.PICTURES)
    )


def _batch(dashboard: Dashboard, query: Mapping[str, str], person: Person) -> dict[str, Any]:
    name = query.get("name", "")
    facts = dashboard.reads.batch(name.replace("\0", ""))
    if facts is None:
        raise HTTPException(_NOT_FOUND, f"there is no batch {words.short(name, 80)!r}")
    sees = person.may(Right.PICTURES)
    return {
        "facts": facts,
        "head": facts.head,
        "progress": progress(facts.head.states, sum(facts.head.states.values())),
        "pace": left(facts),
        "which": _filter(query, sees=sees),
    }


def _filter(query: Mapping[str, str], *, sees: bool) -> Filter:
    """Return the filter of a batch's page. A word such as `sku=17` asks for metadata; who sees no prompts may not."""
    word = _word(query, "q")
    key, equals, value = (word or "").partition("=")
    metadata = (key.strip(), value.strip()) if sees and equals and key.strip() else None
    return Filter(_word(query, "state"), _word(query, "code"), word, in_prompts=sees, metadata=metadata)


LIVE: Final[Mapping[str, tuple[str, Callable[[Dashboard, Mapping[str, str], Person], dict[str, Any]]]]] = {
    "now": ("now.html", _now),
    "batch": ("batch.html", _batch),
}
"""The pages with a live part: their template, and its values."""


@needs(Right.SEE)
def job(request: Request) -> Response:
    """Show one job's story: times, money, attempts, pictures, and what can be done."""
    asked = _uuid(str(request.path_params["job"]))
    story = of(request).reads.job(asked) if asked else None
    if story is None:
        raise HTTPException(_NOT_FOUND, "there is no such job")
    if not person_of(request).may(Right.MONEY):
        story = _without_money(story)
    return render(
        request,
        "job.html",
        story=story,
        job=story["job"],
        why=[line.strip() for line in (*explain.why(story["job"]), *explain.kept(story))],
        timeline=sorted(explain.timeline(story), key=lambda pair: pair[0]["at"]),
        money=[line.strip() for line in explain.money(story)],
        spans=_spans(story),
        picture_of=pictures.link,
        sees=person_of(request).may(Right.PICTURES),
    )


def _without_money(story: Mapping[str, Any]) -> dict[str, Any]:
    return {**story, "job": {**story["job"], "caps": {}, "daily_cap": None}, "ledger": []}


@needs(Right.SEE)
def find(request: Request) -> Response:
    """Go to the job with an id, its beginning, a custom_id or BATCH/custom_id; list them if there are several."""
    dashboard, wanted = of(request), request.query_params.get("job", "").replace("\0", "").strip()
    found = dashboard.reads.find(wanted) if wanted else []
    if len(found) == 1:
        return RedirectResponse(dashboard.url(f"/job/{found[0]}"), 303)
    return render(request, "find.html", wanted=wanted, found=found)


@needs(Right.SEE)
def held(request: Request) -> Response:
    """Show what waits for a person, one decision a row."""
    found = of(request).reads.held()
    groups = Counter((one.facts["account"], one.facts["error_code"]) for one in found.lost)
    sees = person_of(request).may(Right.PICTURES)
    return render(request, "held.html", held=found, groups=groups.most_common(), sees=sees)


@needs(Right.SEE)
def failures(request: Request) -> Response:
    """Show jobs by reason, when the newest failed, and a sample of them."""
    facts = of(request).reads.failures()
    totals = [(code, provider, jobs) for provider, codes in facts.by_code.items() for code, jobs in codes.items()]
    hours = Counter(row["hour"] for row in facts.newest)
    drawn = columns(
        [Column(f"{hour:%d. %H}h", {"bad": n}) for hour, n in sorted(hours.items())][-_HOURS:], "failed by hour"
    )
    seen: dict[tuple[str, str], Any] = {}
    for row in facts.newest:
        seen.setdefault((row["error_code"], row["provider"]), row)
    return render(
        request,
        "failures.html",
        totals=sorted(totals, key=lambda one: -one[2]),
        newest=facts.newest[:_FAILURES_SHOWN],
        looked=len(facts.newest),
        last=seen,
        hours=drawn,
        numbers=sorted(hours.items(), reverse=True)[:_HOURS],
    )


@needs(Right.SEE)
def accounts(request: Request) -> Response:
    """Show the accounts: limits, windows, and what was learned of their times."""
    reads = of(request).reads
    return render(request, "accounts.html", status=reads.status(), learned=reads.learned())


@needs(Right.HOOKS)
def webhooks(request: Request) -> Response:
    """Show the endpoints of webhooks, and the newest deliveries of one."""
    chosen = _uuid(request.query_params.get("endpoint"))
    only_failed = "failed" in request.query_params
    facts = of(request).reads.webhooks(chosen, only_failed=only_failed)
    return render(request, "webhooks.html", facts=facts, chosen=chosen, only_failed=only_failed)


@needs(Right.MONEY)
def money(request: Request) -> Response:
    """Show what was spent, in all, by day and account, and what the providers' balances say."""
    facts = of(request).reads.money()
    return render(
        request,
        "money.html",
        facts=facts,
        charts={unit: columns(_by_day(facts.days, unit), f"spent by day in {unit}") for unit in _units(facts.days)},
        balance_verdict=balance_verdict,
    )


@needs(Right.MONEY)
def money_csv(request: Request) -> Response:
    """Return the days of the money page as CSV."""
    names = ("day", "provider", "account", "unit", "submissions", "accepted", "settled", "elsewhere", "reserved",
             "held", "settled_unpriced", "held_unpriced", "daily_cap")  # fmt: skip
    file = io.StringIO()
    writer = csv.writer(file)
    writer.writerow(names)
    for row in of(request).reads.money().days:
        writer.writerow("" if row[name] is None else plain(row[name]) for name in names)
    headers = {"Content-Disposition": 'attachment; filename="genqueue-money.csv"'}
    return Response(file.getvalue(), media_type="text/csv; charset=utf-8", headers=headers)


def progress(counts: Mapping[str, Any], jobs: int) -> Any:
    """Return a bar of a batch's states."""
    kinds = {"good": ("succeeded",), "bad": ("failed",), "over": ("cancelled",), "held": ("in_doubt", "on_hold"),
             "run": ("running", "submitting", "pending", "processing", "transferring", "checking")}  # fmt: skip
    said = {"good": "succeeded", "bad": "failed", "over": "cancelled", "held": "held", "run": "running"}
    parts = {kind: sum(counts.get(name, 0) for name in names) for kind, names in kinds.items()}
    return bar([Segment(n / jobs, kind, f"{n:,} {said[kind]}") for kind, n in parts.items() if n and jobs])


def left(facts: BatchSums) -> dict[str, float | str] | None:
    """Return the seconds until the end, and at which pace: the last minutes' if it is known, else the whole time's."""
    head = facts.head
    ended = sum(head.states.get(state, 0) for state in ENDED)
    jobs = sum(head.states.values()) - ended - head.states.get("in_doubt", 0) - head.states.get("on_hold", 0)
    if not jobs or not ended:
        return None
    lately = facts.pace.seconds_left(jobs)
    if lately is not None:
        return {"seconds": lately, "pace": "lately"}
    return {"seconds": (head.now - head.created_at).total_seconds() / ended * jobs, "pace": "so far"}


def _spans(story: Mapping[str, Any]) -> list[tuple[str, float]]:
    """Return how long a job was in each state, in order, without those that it only passed through."""
    moments: list[tuple[datetime, str]] = [(story["job"]["created_at"], "queued")]
    moments += [(row["at"], row["to_state"]) for row in story["events"] if row["from_state"] != row["to_state"]]
    ends = [at for at, _ in moments[1:]] + [story["job"]["finished_at"] or story["job"]["now"]]
    spans = [(state, (end - at).total_seconds()) for (at, state), end in zip(moments, ends, strict=True)]
    return [(state, seconds) for state, seconds in spans if state not in ENDED]


def _units(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return sorted({row["unit"] for row in rows if row["unit"] != "unbilled"})


def _by_day(rows: Iterable[Mapping[str, Any]], unit: str) -> list[Column]:
    """Return the columns of a chart: what was settled, reserved and held on each day, oldest first."""
    days: dict[Any, dict[str, Any]] = {}
    for row in rows:
        if row["unit"] == unit:
            amounts = days.setdefault(row["day"], {"settled": 0, "reserved": 0, "held": 0})
            for kind in amounts:
                amounts[kind] += row[kind]
            amounts["settled"] += row["elsewhere"]
    newest = sorted(days.items())[-_DAYS_SHOWN:]
    return [Column(f"{day:%m-%d}", amounts) for day, amounts in newest]


def _batch_cursor(request: Request) -> BatchCursor | None:
    at, _, name = request.query_params.get("after", "").partition(" ")
    found = _uuid(name)
    try:
        return BatchCursor(datetime.fromisoformat(at), found) if found else None
    except ValueError:
        return None


def _uuid(text: str | None) -> UUID | None:
    try:
        return UUID(text) if text else None
    except ValueError:
        return None


def _word(query: Mapping[str, str], name: str) -> str | None:
    """Return a word of the query without what no database takes; None if it is empty."""
    return query.get(name, "").replace("\0", "").strip()[:_WORD_CHARS] or None
