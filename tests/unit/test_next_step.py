"""Where a job goes next, as tables: what is known, and where that leads. No database, no clock, no network."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.lifecycle import FINAL, IMAGE_FINAL, ImageState, JobState, Outcome
from shared.moves import Claim, Move
from tests.support.decisions import POLICY, SETTINGS
from worker import next_step
from worker.next_step import CopyWait, LookAgain
from worker.providers.contract import Refused, RetryRule

CLAIM = Claim(UUID(int=1), 3)
DIES = datetime(2026, 1, 1, tzinfo=UTC)
P, D, R, S, U, F = (
    ImageState.PENDING,
    ImageState.PROCESSING,
    ImageState.READY,
    ImageState.STORED,
    ImageState.UPSTREAM_ONLY,
    ImageState.FAILED,
)


@dataclass(frozen=True)
class Picture:
    state: ImageState
    error_code: str | None = None
    error: str | None = None
    link_expires_at: datetime | None = None
    lacking_looks: int = 0
    asked: bool = True


@dataclass(frozen=True)
class Looked:
    job_state: JobState = JobState.PENDING
    claim: Claim = CLAIM
    job_tries: int = 0
    model: str = ""
    age_seconds: float = 5.0


@dataclass(frozen=True)
class Closed:
    outcome: Outcome | None = Outcome.UNKNOWN
    error_code: str | None = "answer_lost"
    error: str | None = "the connection closed"
    sender: str = "w"


@dataclass(frozen=True)
class Call:
    held_note: str | None = None
    held_code: str | None = None
    may_close: bool = True
    cancelled: bool = False
    resends: int = 0
    quiet_in: float = 0.0


def refused(outcome: Outcome, again: RetryRule = RetryRule.AFTER, code: str = "rate_limited", **more: Any) -> Refused:
    return Refused(outcome, again, code, "words", **more)


def pictures(*states: ImageState) -> list[Picture]:
    return [Picture(state, "generation_failed" if state is F else None) for state in states]


@pytest.mark.parametrize(
    ("states", "after"),
    [
        ((F, F), JobState.FAILED),
        ((R, F), JobState.TRANSFERRING),
        ((U, R), JobState.TRANSFERRING),
        ((P, R), JobState.PENDING),
        ((D,), JobState.PENDING),
    ],
)
def test_a_purchase_leads_to_its_pictures(states: tuple[ImageState, ...], after: JobState) -> None:
    assert next_step.after_purchase(POLICY, CLAIM, pictures(*states)).after is after


def test_a_purchase_with_links_stays_in_the_hands_of_its_buyer_until_the_first_link_may_die() -> None:
    step = next_step.after_purchase(POLICY, CLAIM, [Picture(R, link_expires_at=DIES), Picture(R)])
    assert (step.keep_claim, step.link_expires_at, step.due_seconds) == (True, DIES, POLICY.transfer_lease)


def test_a_purchase_without_links_that_nobody_can_be_asked_for_is_held() -> None:
    step = next_step.after_purchase(replace(POLICY, can_look=False), CLAIM, pictures(P))
    assert (step.after, step.on_hold, step.code) == (JobState.IN_DOUBT, True, "answer_unreadable")


@pytest.mark.parametrize("again", RetryRule)
@pytest.mark.parametrize("outcome", [Outcome.NOT_SENT, Outcome.REJECTED])
def test_a_call_that_bought_nothing_fails_or_waits_in_line(outcome: Outcome, again: RetryRule) -> None:
    step = next_step.after_refusal(POLICY, CLAIM, refused(outcome, again), tries=4, shows_in=1)
    fails = again is RetryRule.NEVER
    assert step.after is (JobState.FAILED if fails else JobState.QUEUED)
    assert step.tries == {RetryRule.NEVER: 0, RetryRule.RESUME: 4, RetryRule.AFTER: 5}[again]


@pytest.mark.parametrize("again", RetryRule)
def test_a_call_that_may_have_bought_something_is_never_sent_again_whatever_its_answer_says(again: RetryRule) -> None:
    step = next_step.after_refusal(POLICY, CLAIM, refused(Outcome.UNKNOWN, again), tries=0, shows_in=40)
    assert (step.after, step.due_seconds, step.on_hold) == (JobState.IN_DOUBT, 50.0, False)


def test_a_lost_call_whose_provider_lists_nothing_is_left_to_a_person() -> None:
    unlisted = replace(POLICY, find_by="nothing")
    step = next_step.lost(unlisted, CLAIM, JobState.SUBMITTING, shows_in=1, code="c", note="n")
    assert (step.on_hold, step.due_seconds) == (True, SETTINGS.held_recheck_seconds)


def test_a_job_fails_once_its_provider_was_unavailable_so_often() -> None:
    away = refused(Outcome.REJECTED, code=next_step.UNAVAILABLE)
    for times, after in ((SETTINGS.submit_tries - 1, JobState.QUEUED), (SETTINGS.submit_tries, JobState.FAILED)):
        assert next_step.after_refusal(POLICY, CLAIM, away, tries=0, shows_in=1, times=times).after is after


@pytest.mark.parametrize("asked", [0.0, 0.5, 1.9])
def test_a_server_that_asks_for_hardly_any_wait_is_called_again_after_a_growing_one(asked: float) -> None:
    busy = refused(Outcome.REJECTED, after_seconds=asked)
    waits = [next_step.wait_after_refused_call(POLICY, busy, tries=tries) for tries in range(0, 20, 2)]
    assert waits[0] >= 0.8 * SETTINGS.retry_first_seconds
    assert waits[4] >= 10 * waits[0]
    assert next_step.wait_after_refused_call(POLICY, refused(Outcome.REJECTED, after_seconds=2.0), tries=9) == 2.0


def test_a_server_may_ask_for_a_day_at_most() -> None:
    assert next_step.wait_after_refused_call(POLICY, refused(Outcome.REJECTED, after_seconds=1e12), tries=0) == 86_400


LOOKS = [
    ([P, P], JobState.PENDING),
    ([P, D], JobState.PROCESSING),
    ([P, R], JobState.PROCESSING),
    ([R, F], JobState.TRANSFERRING),
    ([S, R], JobState.TRANSFERRING),
    ([F, F], JobState.FAILED),
]


@pytest.mark.parametrize(("states", "after"), LOOKS)
def test_a_look_leads_to_what_is_left_to_wait_for(states: list[ImageState], after: JobState) -> None:
    step = next_step.after_look(POLICY, Looked(), pictures(*states))
    assert (step.after, step.needs_claim) == (after, True)


def test_a_picture_that_was_ready_before_waits_no_longer_for_its_neighbours() -> None:
    for states in ([R, P], [R, D], [R, F, D]):
        assert next_step.after_look(POLICY, Looked(), pictures(*states), waited=True).after is JobState.TRANSFERRING
    for states in ([P, D], [S, P], [F, D]):
        assert next_step.after_look(POLICY, Looked(), pictures(*states), waited=True).after is JobState.PROCESSING


def test_a_picture_that_was_not_asked_for_fails_no_job() -> None:
    extra = Picture(F, "result_invalid", "a page", asked=False)
    assert next_step.after_copying(POLICY, CLAIM, [Picture(S), extra], None).after is JobState.SUCCEEDED
    step = next_step.after_copying(POLICY, CLAIM, [Picture(F, "c"), replace(extra, state=S)], None)
    assert (step.after, step.code) == (JobState.FAILED, "c")


def test_pictures_that_are_there_do_not_wait_for_one_that_may_be_gone() -> None:
    missing = Picture(D, "upstream_gone", "404", lacking_looks=next_step.MISSING_LOOKS)
    here = JobState.PROCESSING
    assert next_step.after_look(POLICY, Looked(here), [Picture(R), missing]).after is JobState.TRANSFERRING
    step = next_step.after_look(POLICY, Looked(here), [Picture(D), missing])
    assert (step.after, step.code) == (here, "upstream_gone")


@pytest.mark.parametrize(("longest", "part"), [(30.0, 0.75), (9.0, None)])
def test_a_long_wait_for_the_next_look_ends_with_a_second_so_that_jobs_share_requests(
    longest: float, part: float | None
) -> None:
    settings = SETTINGS.model_copy(update={"poll_max_seconds": longest})
    inputs = replace(POLICY, settings=settings, random=Random(7))
    waits = [next_step.after_look(inputs, Looked(job_tries=40), [Picture(P)]).due_seconds or 0.0 for _ in range(40)]
    assert all(longest * 0.95 - 1 < wait <= longest for wait in waits)
    ends = {round(wait % 1, 6) for wait in waits}
    assert ends == {part} if part else len(ends) > 20


@pytest.mark.parametrize(
    ("again", "after_seconds", "wait"),
    [(RetryRule.RESUME, None, SETTINGS.retry_max_seconds), (RetryRule.AFTER, 1e9, 60.0), (RetryRule.AFTER, 7.0, 7.0)],
)
def test_a_refused_look_waits_at_the_servers_word_but_not_for_long(
    again: RetryRule, after_seconds: float | None, wait: float
) -> None:
    no = refused(Outcome.REJECTED, again, after_seconds=after_seconds)
    step = next_step.after_refused_look(POLICY, CLAIM, JobState.PENDING, no, tries=6, at_most=60.0)
    assert (step.after, step.due_seconds, step.tries) == (JobState.PENDING, wait, 6)


@pytest.mark.parametrize(
    ("states", "after", "code"),
    [
        ((S, U), JobState.SUCCEEDED, None),
        ((S, F), JobState.FAILED, "partial_result"),
        ((F, F), JobState.FAILED, "generation_failed"),
        ((S, P), JobState.PENDING, None),
        ((S, R), JobState.TRANSFERRING, "result_timeout"),
    ],
)
def test_a_transfer_leads_to_the_end_or_to_what_is_left(
    states: tuple[ImageState, ...], after: JobState, code: str | None
) -> None:
    wait = CopyWait(5.0, "result_timeout", "slow", 2)
    step = next_step.after_copying(POLICY, CLAIM, pictures(*states), wait)
    assert (step.after, step.code) == (after, code)


def test_what_a_person_can_take_is_the_reason_that_is_shown() -> None:
    failed = [Picture(F, "result_expired"), Picture(F, "result_unverified")]
    assert next_step.after_copying(POLICY, CLAIM, failed, None).code == "result_unverified"


@pytest.mark.parametrize(
    ("outcome", "code", "states", "after"),
    [
        (Outcome.REJECTED, "rate_limited", (), JobState.QUEUED),
        (Outcome.NOT_SENT, "provider_unreachable", (), JobState.QUEUED),
        (Outcome.REJECTED, "content_refused", (), JobState.FAILED),
        (Outcome.ACCEPTED, None, (), JobState.IN_DOUBT),
        (Outcome.ACCEPTED, None, (F,), JobState.FAILED),
        (Outcome.ACCEPTED, None, (P, R), JobState.PENDING),
        (Outcome.ACCEPTED, None, (R, S), JobState.TRANSFERRING),
    ],
)
def test_late_evidence_leads_where_its_answer_would_have(
    outcome: Outcome, code: str | None, states: tuple[ImageState, ...], after: JobState
) -> None:
    submission = Closed(outcome, code)
    step = next_step.after_evidence(SETTINGS, CLAIM, JobState.SUBMITTING, submission, pictures(*states))
    assert step.after is after


def test_a_call_that_bought_nothing_is_sent_again_only_with_every_consent() -> None:
    def step(call: Call, *, gone: bool = True) -> Move | LookAgain:
        return next_step.after_unbought(POLICY, CLAIM, Closed(), call, "none", sender_gone=gone)

    sent = step(Call())
    assert isinstance(sent, Move)
    assert (sent.after, sent.code) == (JobState.QUEUED, next_step.NOT_BOUGHT)
    for held in (step(Call(may_close=False)), step(Call(resends=2)), step(Call(), gone=False)):
        assert isinstance(held, Move)
        assert (held.after, held.on_hold) == (JobState.IN_DOUBT, True)


def test_a_cancelled_job_is_let_go_however_often_it_was_sent() -> None:
    step = next_step.after_unbought(POLICY, CLAIM, Closed(), Call(cancelled=True, resends=9), "none", sender_gone=True)
    assert isinstance(step, Move)
    assert step.after is JobState.QUEUED


@pytest.mark.parametrize("call", [Call(), Call(cancelled=True)])
def test_a_call_whose_answer_states_a_charge_is_never_taken_for_unbought(call: Call) -> None:
    charged = Closed(error_code="charge_stated")
    step = next_step.after_unbought(POLICY, CLAIM, charged, call, "none", sender_gone=True)
    assert isinstance(step, Move)
    assert (step.after, step.on_hold) == (JobState.IN_DOUBT, True)
    assert "states a charge" in (step.note or "")


def test_a_job_that_is_held_is_told_the_same_only_once() -> None:
    first = next_step.hold(CLAIM, Closed(), Call(), "two pictures may be its own", seconds=9)
    assert isinstance(first, Move)
    again = next_step.hold(
        CLAIM, Closed(), Call(held_note=first.note, held_code=first.code), "two pictures may be its own", seconds=9
    )
    assert again == LookAgain(CLAIM, 9)


@pytest.mark.parametrize("before", [state for state in JobState if state not in FINAL])
def test_a_job_that_kills_its_workers_ends_or_is_held_where_its_money_may_be_out(before: JobState) -> None:
    step = next_step.poisoned(SETTINGS, CLAIM, before, crashes=7)
    maybe_bought = before in {JobState.SUBMITTING, JobState.IN_DOUBT}
    assert (step.after is JobState.IN_DOUBT, step.on_hold, step.code) == (maybe_bought, maybe_bought, next_step.POISON)


STATES = st.lists(st.sampled_from(ImageState), min_size=1, max_size=4)


@given(STATES)
def test_no_evidence_of_a_purchase_ever_leads_back_to_paying(states: list[ImageState]) -> None:
    shown = pictures(*states)
    steps = [
        next_step.after_purchase(POLICY, CLAIM, shown),
        next_step.after_look(POLICY, Looked(job_tries=1), shown),
        next_step.after_copying(POLICY, CLAIM, shown, None),
        next_step.after_evidence(SETTINGS, CLAIM, JobState.IN_DOUBT, Closed(Outcome.ACCEPTED), shown),
    ]
    assert JobState.QUEUED not in {step.after for step in steps}


@given(STATES)
def test_a_job_succeeds_only_when_every_picture_is_kept(states: list[ImageState]) -> None:
    step = next_step.after_copying(POLICY, CLAIM, pictures(*states), None)
    kept = all(state in IMAGE_FINAL and state is not F for state in states)
    assert (step.after is JobState.SUCCEEDED) == kept
