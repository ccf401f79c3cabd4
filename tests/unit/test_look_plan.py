"""What the looks of one poll lead to, without a database: each job is decided, put off, or given back."""

from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

from shared.images import ClaimedImage
from shared.lifecycle import ImageState, JobState, Outcome
from shared.moves import Claim
from tests.support.decisions import POLICY
from tests.unit.test_next_step_images import IMAGE
from worker.providers.contract import Refused, RetryRule, UpstreamImage
from worker.stages.look_plan import LookPlan, plan_looks
from worker.stages.look_requests import Looks

BUSY = Refused(Outcome.REJECTED, RetryRule.AFTER, "provider_unavailable", "busy", http_status=503)


def job(number: int) -> list[ClaimedImage]:
    return [replace(IMAGE, claim=Claim(UUID(int=number), 1), upstream_id=f"u{number}")]


def found(number: int, *, minute: int) -> UpstreamImage:
    ends = datetime(2026, 1, 1, 0, minute, tzinfo=UTC)
    return UpstreamImage(ImageState.READY, link=f"https://host.example/{number}", link_expires_at=ends)


def plan(looks: Looks, *numbers: int, room: int = 0) -> LookPlan:
    return plan_looks(POLICY, looks, [job(number) for number in numbers], room=room, at_most=60.0)


def test_every_job_is_decided_put_off_or_given_back_and_none_is_two_of_these() -> None:
    half_answered = Looks(known={"u1": found(1, minute=5)})
    unanswered = plan(half_answered, 1, 2)
    refused = plan(replace(half_answered, refusals=[BUSY]), 1, 2)
    for one in (unanswered, refused):
        assert [step.claim.job_id for step in one.moves] == [UUID(int=1)]
    assert (len(unanswered.put_off), [claim.job_id for claim in unanswered.unanswered]) == (0, [UUID(int=2)])
    assert ([step.claim.job_id for step in refused.put_off], list(refused.unanswered)) == ([UUID(int=2)], [])


def test_the_claims_of_the_most_urgent_links_are_kept_as_far_as_there_is_room() -> None:
    looks = Looks(known={"u1": found(1, minute=9), "u2": found(2, minute=3), "u3": found(3, minute=6)})
    moves = plan(looks, 1, 2, 3, room=2).moves
    assert {step.after for step in moves} == {JobState.TRANSFERRING}
    assert [step.keep_claim for step in moves] == [False, True, True]


def test_an_image_of_which_nothing_new_is_known_is_not_written() -> None:
    still = plan(Looks(known={"u1": UpstreamImage(ImageState.PENDING), "u2": found(2, minute=1)}), 1, 2)
    assert [change.upstream_id for change in still.changes] == ["u2"]
    assert len(still.moves) == 2
