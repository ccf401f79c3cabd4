"""The verdict over a run, by the simulator's bill, its log and the bucket as much as by our own rows."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from shared.errors import CODES
from tests.chaos.evidence import Evidence, Job
from tests.chaos.ground import ChaosSite
from tests.chaos.orders import refused_on_purpose

_FINAL: Final = {"succeeded", "failed", "cancelled"}
_BY_HAND: Final = "written_off"
_CUT: Final = {("unknown", "answer_unreadable"), ("rejected", _BY_HAND)}
"""How a call stands whose answer broke off: before and after a person says that it cost nothing."""

_MARK: Final = "submissions/high-water-"
"""How far the database had come, kept beside the answers: a restored one is known by it."""

Check = Callable[[Evidence], Iterator[str]]


def faults(found: Evidence, *, resolved: bool = False) -> list[str]:
    """Return what is wrong, one line each; `resolved` says that a person has ended every job in doubt."""
    checks: list[Check] = [
        ended_or_held,
        nothing_in_the_air,
        charged_once,
        sent_no_more_once_taken,
        nothing_lost,
    ]
    if found.objects:
        checks += [stored_as_served, every_object_owned]
    checks.append(ledger_is_the_bill if resolved else ledger_holds_the_bill)
    return [line for check in checks for line in check(found)]


def ended_or_held(found: Evidence) -> Iterator[str]:
    """Every job has ended or is in doubt, and says why."""
    for job in found.jobs:
        if job.state not in _FINAL | {"in_doubt"}:
            yield f"{job.custom_id} is still {job.state} ({job.error_code})"
        elif job.state in {"failed", "in_doubt"} and job.error_code not in CODES:
            yield f"{job.custom_id} is {job.state} without a reason ({job.error_code})"


def nothing_in_the_air(found: Evidence) -> Iterator[str]:
    """No job is claimed, and no attempt to pay is open."""
    for job in found.jobs:
        if job.claimed_by is not None:
            yield f"{job.custom_id} ({job.state}) is still claimed by {job.claimed_by}"
    for submission, (custom_id, outcome, _) in found.submissions.items():
        if outcome is None:
            yield f"submission {submission} of {custom_id} is still open"


def charged_once(found: Evidence) -> Iterator[str]:
    """The simulator charged no job twice."""
    for custom_id, charges in found.charges.items():
        if len(charges) > 1:
            yield f"{custom_id} was charged {len(charges)} times"


def sent_no_more_once_taken(found: Evidence) -> Iterator[str]:
    """Nothing was sent again after a request that the simulator took, whatever its bill says of it.

    But OpenRouter does not bill an answer that did not arrive: where a batch says so, such a call may be sent again.
    """
    by_bill = {job.custom_id for job in found.jobs if job.may_be_resent}
    for custom_id, posts in found.posts.items():
        taken = [
            number
            for number, post in enumerate(posts)
            if post["paid"] or (_said_to_be_taken(post) and custom_id not in by_bill)
        ]
        if taken and taken[0] != len(posts) - 1:
            yield f"{custom_id} was sent again after it was taken: {[post['outcome'] for post in posts]}"


def _said_to_be_taken(post: Mapping[str, Any]) -> bool:
    """Tell whether its answer was a success; an error under the status of success is none, and the bill decides."""
    return 200 <= post["status"] < 300 and post["outcome"] != "error_in_2xx"


def nothing_lost(found: Evidence) -> Iterator[str]:
    """A job fails only where that was asked for, or where a person gave it up; what is bought has every picture."""
    stored = Counter(row.custom_id for row in found.stored)
    cut = _answered_in_part(found)
    for job in found.jobs:
        charged = bool(found.charges.get(job.custom_id))
        if job.custom_id in cut and stored[job.custom_id]:
            yield from _wrong_after_a_cut(job, stored[job.custom_id])
            continue
        on_purpose = refused_on_purpose(job.prompt) or job.error_code == _BY_HAND
        asked_for = on_purpose or (job.state == "cancelled" and job.id in found.cancelled)
        if job.state in {"failed", "cancelled"} and not asked_for:
            yield f"{job.custom_id} is {job.state}: {job.error_code}"
        collected = job.state == "succeeded" or (job.state == "cancelled" and charged and not on_purpose)
        if collected and stored[job.custom_id] != job.images:
            yield f"{job.custom_id} is {job.state} with {stored[job.custom_id]} of {job.images} pictures"
        if job.state == "succeeded" and not charged:
            yield f"{job.custom_id} succeeded and was never charged"


def _answered_in_part(found: Evidence) -> set[str]:
    """Return whose answer broke off: its whole pictures are kept, its cost stays open, and no bill shows a sale."""
    return {
        custom_id
        for custom_id, outcome, code in found.submissions.values()
        if (outcome, code) in _CUT and not found.charges.get(custom_id)
    }


def _wrong_after_a_cut(job: Job, stored: int) -> Iterator[str]:
    end = ("succeeded", None) if stored == job.images else ("failed", "partial_result")
    if (job.state, job.error_code) != end and job.state != "cancelled":
        yield f"{job.custom_id} is {job.state} ({job.error_code}) with {stored} of {job.images} pictures of it"


def stored_as_served(found: Evidence) -> Iterator[str]:
    """Every row's object is in the bucket with the row's bytes; each picture that was sold to a job is stored once."""
    left = {custom_id: Counter(pictures.values()) for custom_id, pictures in found.pictures.items()}
    cut = _answered_in_part(found)  # the simulator serves only what it billed
    for row in found.stored:
        sha256, length = found.objects.get(row.key, ("", 0))
        # Which variant is which is not told by a list that a lost call is found in: any order is right.
        served = left.get(row.custom_id, Counter())
        served[sha256] -= 1
        if not sha256:
            yield f"{row.custom_id} {row.index}: {row.key} is not in the bucket"
        elif (sha256, length) != (row.sha256, row.bytes):
            yield f"{row.custom_id} {row.index}: {row.key} holds other bytes than its row says"
        elif served[sha256] < 0 and row.custom_id not in cut:
            yield f"{row.custom_id} {row.index}: stored {sha256[:12]}, which the simulator does not serve for it"


def every_object_owned(found: Evidence) -> Iterator[str]:
    """Every object is a row's picture, a submission's kept answer, a candidate's preview, or the database's mark.

    Damaged bytes that others replaced are named by an event of their job, or marked for deletion.
    """
    for key in found.objects:
        if key not in found.owned and not key.startswith(_MARK):
            yield f"nobody owns the object {key}"


def ledger_holds_the_bill(found: Evidence) -> Iterator[str]:
    """By account, settled <= the simulator's bill <= settled + held, and nothing is reserved any more."""
    billed = _billed(found)
    for row in found.money:
        bill = billed[row["account"]]
        if not row["settled"] <= bill <= row["settled"] + row["held"]:
            yield f"{row['account']}: settled {row['settled']}, held {row['held']}, billed {bill}"
        if row["reserved"] or row["held_unpriced"]:
            yield f"{row['account']}: {row['reserved']} reserved, {row['held_unpriced']} unpriced"


def ledger_is_the_bill(found: Evidence) -> Iterator[str]:
    """By account, settled is the simulator's bill to the last digit, and nothing is held."""
    billed = _billed(found)
    for row in found.money:
        bill = billed[row["account"]]
        if row["settled"] != bill or row["held"] or row["reserved"] or row["held_unpriced"]:
            yield f"{row['account']}: settled {row['settled']}, held {row['held']}, billed {bill}"


def _billed(found: Evidence) -> defaultdict[str, Decimal]:
    totals: defaultdict[str, Decimal] = defaultdict(Decimal)
    for charges in found.charges.values():
        for charge in charges:
            totals[charge.provider] += charge.amount
    return totals


def resolve_as_support_would(site: ChaosSite, found: Evidence) -> int:
    """End each held job, and each open cost, by what the simulator's bill shows for it; return how many there were."""
    cut = _answered_in_part(found)
    held = [job for job in found.jobs if job.state == "in_doubt" or job.custom_id in cut]
    for job in held:
        amount = sum((charge.amount for charge in found.charges.get(job.custom_id, ())), Decimal(0))
        site.client.resolve(job.id, resend=False, charged=amount)
    return len(held)


def owned_by_nobody(found: Evidence) -> Counter[str]:
    """Count the pictures that were sold and that no row has, by the reason; and kept answers that stayed behind."""
    reasons: Counter[str] = Counter()
    jobs = {job.custom_id: job for job in found.jobs}
    stored = {(row.custom_id, row.index) for row in found.stored}
    for custom_id, pictures in found.pictures.items():
        missing = sum((custom_id, index) not in stored for index in pictures)
        if missing:
            reasons[f"{jobs[custom_id].account}: pictures sold, {_why(jobs[custom_id])}"] += missing
    for submission, (custom_id, outcome, _) in found.submissions.items():
        if (key := f"submissions/{submission}/reply") in found.objects:
            kept = "whole" if key in found.whole else "broken off"
            reasons[f"kept answers, {kept}, of jobs that are {jobs[custom_id].state}, submission {outcome}"] += 1
    return reasons


def _why(job: Job) -> str:
    return f"the job is {job.state} ({job.error_code})"
