"""The end of a batch in words: money, time, and each reason with a command that is ready to type."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from producer.cli import ending
from producer.cli.pace import Pace
from shared.db.read.ending import BatchEnding, EndReason
from shared.errors import CODES
from shared.lifecycle import JobState
from shared.wait_facts import WaitingJob

BEGAN = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)


def reason(state: str, code: str | None, jobs: int = 1) -> EndReason:
    job = WaitingJob(
        id=UUID(int=7), batch="my batch", custom_id="x 1", account="bloom", provider="bloom", state=JobState.FAILED,
        on_hold=False, due_at=None, claimed_by=None, begun=False, error_code=code, error=None, created_at=BEGAN,
    )  # fmt: skip
    return EndReason(state, code, jobs, None if state == "succeeded" else job)


def of(*reasons: EndReason, images: int | None = 3) -> BatchEnding:
    return BatchEnding(reasons, images, BEGAN, BEGAN + timedelta(seconds=100))


def billed(**changes: Any) -> dict[str, Any]:
    nothing = dict.fromkeys(("settled", "elsewhere", "held", "reserved"), Decimal(0))
    return {"account": "bloom", "provider": "bloom", "unit": "credit", **nothing, **changes}


def test_the_head_says_jobs_images_and_time() -> None:
    assert ending.head(of(reason("succeeded", None, 1200), reason("failed", "poison")), "b") == (
        "b: 1,200 of 1,201 jobs succeeded, 3 images stored, in 1 min"
    )
    assert ending.head(of(reason("succeeded", None, 20), reason("cancelled", None, 20)), "b").startswith(
        "b: 20 of 40 jobs succeeded, 20 cancelled, 3 images stored"
    )
    assert ending.head(BatchEnding((reason("succeeded", None),), None, None, None), "b") == "b: 1 of 1 job succeeded"


def test_money_is_what_was_spent_of_the_cap_and_what_may_have_been() -> None:
    rows = [billed(settled=Decimal("2.50"), held=Decimal(1)), billed(account="p", provider="p", unit="unbilled")]
    assert list(ending.money(rows, {"bloom": Decimal(10)})) == [
        "bloom: 2.5 of at most 10 credit spent; 1 credit held: a lost call may have cost it"
    ]
    assert list(ending.money([billed(reserved=Decimal(1))], {})) == ["bloom: 0 credit spent; 1 credit set aside"]


def test_a_reason_of_one_job_names_that_job_and_one_of_many_names_all_of_them() -> None:
    (said, does) = ending.troubles(of(reason("failed", "deadline_exceeded")), "my batch")
    assert said == f"1 failed: {CODES['deadline_exceeded'].meaning} (deadline_exceeded)"
    assert does == "  you can: `genqueue retry 'my batch/x 1'`"
    (_, does) = ending.troubles(of(reason("failed", "deadline_exceeded", 40)), "my batch")
    assert does == "  you can: `genqueue retry --batch 'my batch' --error-code deadline_exceeded`"


@pytest.mark.parametrize("code", CODES)
def test_every_code_has_a_next_step_without_a_placeholder(code: str) -> None:
    for jobs in (1, 2):
        (_, does) = ending.troubles(of(reason("failed", code, jobs)), "b")
        assert not {"JOB", "BATCH", "ACCOUNT", "PROVIDER"} & set(does.replace("`", " ").replace("/", " ").split())


def test_held_jobs_are_told_and_wanted_cancellations_are_not() -> None:
    held = of(reason("on_hold", "batch_cap_reached"), reason("in_doubt", "answer_lost"), reason("cancelled", None))
    heads = [line for line in ending.troubles(held, "b") if not line.startswith(" ")]
    assert [line.split(":")[0] for line in heads] == ["1 on hold", "1 held in doubt"]


def test_no_images_are_offered_where_there_are_none() -> None:
    assert list(ending.pictures(of(images=0), "b")) == []
    assert list(ending.pictures(of(), "-b")) == ["to have the images here: genqueue download -- -b DIRECTORY"]


def test_a_pace_is_told_once_enough_was_seen_and_is_that_of_the_last_two_minutes() -> None:
    pace = Pace()
    pace.mark(0, 0)
    pace.mark(2, 100)
    assert (pace.per_second, pace.seconds_left(10)) == (None, None)
    for second in range(10, 400, 10):
        pace.mark(second, 100 + second // 10)
    assert pace.per_second == pytest.approx(0.1)
    assert pace.seconds_left(10) == pytest.approx(100)
