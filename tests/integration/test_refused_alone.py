"""Looks at one job's images that are always refused: only that job waits. Ids are asked for in another case too."""

from typing import Any, Final

import pytest

from shared.db.engine import Engine
from shared.lifecycle import ImageState, Outcome, Stage
from shared.settings import Settings
from tests.integration.test_belief import job_of, paused, pending, tell
from tests.support import rows
from tests.support.drain import run_stage, runtime_for
from tests.support.image_host import Answer, serving_images
from worker.claiming import Parcel
from worker.providers.contract import AccountFacts, Refused, RetryRule, UpstreamImage
from worker.runtime import Runtime

RESUME, AFTER = RetryRule.RESUME, RetryRule.AFTER
ALWAYS: Final = [
    (401, RESUME, "account_unauthorized"),
    (403, RESUME, "account_forbidden"),
    (404, RESUME, "account_address_wrong"),
    (302, RESUME, "account_address_wrong"),
    (404, AFTER, "not_found"),
    (410, AFTER, "provider_error"),
]


@pytest.fixture
def patient(settings: Settings, endpoints: Any) -> Any:
    """A runtime whose waits are those of real life."""
    with runtime_for(settings.model_copy(update={"believe_seconds": 900.0}), endpoints) as made:
        yield made


def said(status: int, again: RetryRule, code: str) -> Refused:
    return Refused(Outcome.REJECTED, again, code, "not this one", http_status=status)


def probed(engine: Engine) -> None:
    """End any pause as a probe does."""
    rows.rows(engine, "UPDATE account SET paused_at = NULL, paused_code = NULL, paused_reason = NULL, probe_at = NULL")


def passed(engine: Engine, minutes: int) -> None:
    rows.rows(
        engine, "UPDATE account SET looks_failing_since = looks_failing_since - :m * interval '1 minute'", m=minutes
    )


@pytest.mark.parametrize(("status", "again", "code"), ALWAYS)
def test_one_job_that_is_always_refused_does_not_pause_its_account_by_turns(
    patient: Runtime, engine: Engine, status: int, again: RetryRule, code: str
) -> None:
    one = pending(engine)
    for _ in range(3):
        tell(patient, engine, said(status, again, code))
        probed(engine)
        passed(engine, 11)
    tell(patient, engine, said(status, again, code))
    assert paused(engine) is None
    job = job_of(engine, one)
    assert (job.state, job.error_code) == ("pending", "look_failed")
    assert code in job.error


@pytest.mark.parametrize(("status", "again", "code"), ALWAYS)
def test_two_jobs_that_are_refused_are_the_accounts_matter(
    patient: Runtime, engine: Engine, status: int, again: RetryRule, code: str
) -> None:
    pending(engine)
    for _ in range(2):
        tell(patient, engine, said(status, again, code))
        probed(engine)
    pending(engine)
    tell(patient, engine, said(status, again, code))
    passed(engine, 11)
    tell(patient, engine, said(status, again, code))
    assert paused(engine) == (code if again is RESUME else "looks_failing")


def test_an_account_that_refuses_its_own_question_too_is_paused_each_time(
    patient: Runtime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending(engine)
    refused = said(401, RESUME, "account_unauthorized")

    async def account(_wire: Any) -> Refused:
        return refused

    monkeypatch.setattr(type(patient.accounts["bloom"].wire), "account", account)
    for _ in range(3):
        tell(patient, engine, refused)
        assert paused(engine) == "account_unauthorized"
        probed(engine)


def test_an_account_without_credit_is_paused_each_time(
    patient: Runtime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending(engine)

    async def account(_wire: Any) -> AccountFacts:
        return AccountFacts(balance=0)  # type: ignore[arg-type]

    monkeypatch.setattr(type(patient.accounts["bloom"].wire), "account", account)
    for _ in range(2):
        tell(patient, engine, said(402, RESUME, "account_out_of_credit"))
        assert paused(engine) == "account_out_of_credit"
        probed(engine)


def test_a_refused_download_whose_new_link_is_refused_too_pauses_no_account(
    patient: Runtime, engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def poll(_wire: Any, _ids: Any) -> Refused:
        return said(403, RESUME, "account_forbidden")

    monkeypatch.setattr(type(patient.accounts["bloom"].wire), "poll", poll)
    with serving_images(Answer(403, b"")) as host:
        rows.transferring(engine, ImageState.READY)
        rows.rows(engine, "UPDATE image SET link = :link", link=f"{host.url}/a")
        rows.rows(engine, "UPDATE job SET claimed_by = NULL, due_at = now()")
        run_stage(patient, Parcel(Stage.TRANSFER, "bloom", tuple(rows.claim(engine, "transfer"))))
    assert paused(engine) is None
    (job,) = rows.rows(engine, "SELECT state, error_code FROM job")
    assert job == ("transferring", "result_expired")


def test_an_image_that_its_provider_knows_in_another_case_is_found_there(patient: Runtime, engine: Engine) -> None:
    for spell in (str.upper, str.lower):
        one = pending(engine)
        rows.rows(engine, "UPDATE image SET upstream_id = :new WHERE upstream_id = :old", new=spell("aBc"), old=one)
        known = spell("aBc").swapcase()
        asked = tell(patient, engine, {known: UpstreamImage(ImageState.READY, known, link="https://example.com/1")})
        assert list(asked[-1]) == [known]
        job = job_of(engine, spell("aBc"))
        assert (job.state, job.image) == ("transferring", "ready")
        rows.rows(engine, "DELETE FROM image")


def test_a_picture_whose_list_row_has_no_link_is_asked_for_by_itself_when_the_last_bound_passes(
    patient: Runtime, engine: Engine
) -> None:
    one, two = pending(engine), pending(engine)
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    shown = {name: UpstreamImage(ImageState.PROCESSING, name) for name in (one, two)}
    linked = UpstreamImage(ImageState.PROCESSING, one, early_link="https://example.com/1")
    tell(patient, engine, shown, alone={one: {one: linked}})
    links = rows.rows(engine, "SELECT upstream_id, link FROM image")
    assert dict(map(tuple, links)) == {one: "https://example.com/1", two: None}
    assert job_of(engine, two)[:2] == ("failed", "never_finished")
