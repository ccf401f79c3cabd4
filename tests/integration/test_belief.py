"""Looks: one 404 ends nothing that is paid for, several over some time do, and none of it may stop what is bought."""

from dataclasses import replace
from typing import Any

import pytest

from ops.simulator import PostEverywhereSettings, Simulator, SimulatorConfig
from producer import Client
from shared.db.engine import Engine
from shared.lifecycle import ImageState, Outcome
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, runtime_for, settings_for
from tests.support.five import five_accounts
from tests.support.image_host import Answer, serving_images
from tests.support.looking import pending, tell
from tests.support.outcome import BLOOM, ended, ends, paid
from worker.next_step import MISSING_LOOKS
from worker.providers.asking import gone
from worker.providers.contract import Refused, RetryRule, UpstreamImage
from worker.runtime import Runtime

GONE = {"kind": "error_5xx", "status": 404, "code": "IMAGE_NOT_FOUND"}
ABSURD = [1.0, 60.0, 86_400.0, 1e12]


def age(engine: Engine, seconds: float) -> None:
    """Make the findings so far so much older."""
    rows.rows(engine, "UPDATE image SET lacking_since = lacking_since - :s * interval '1 second'", s=seconds)


def job_of(engine: Engine, upstream: str) -> Any:
    (row,) = rows.rows(
        engine,
        "SELECT job.state, job.error_code, job.error, extract(epoch FROM due_at - now()) AS wait, image.state AS image "
        "FROM job JOIN image ON job_id = id WHERE upstream_id = :one",
        one=upstream,
    )
    return row


def paused(engine: Engine) -> Any:
    (row,) = rows.rows(engine, "SELECT paused_code FROM account WHERE name = 'bloom'")
    return row[0]


@pytest.fixture
def patient(settings: Settings, endpoints: Any) -> Any:
    """A runtime whose waits are those of real life."""
    with runtime_for(settings.model_copy(update={"believe_seconds": 900.0}), endpoints) as made:
        yield made


def test_one_404_ends_nothing_and_the_wait_says_why(patient: Runtime, engine: Engine) -> None:
    one = pending(engine)
    tell(patient, engine, {})
    tell(patient, engine, {})
    job = job_of(engine, one)
    assert (job.state, job.error_code, job.image) == ("pending", "upstream_gone", "pending")
    assert "Bloom answered 404 for this image, 2 time(s) since" in job.error
    assert 0 < job.wait <= 180
    tell(patient, engine, {one: UpstreamImage(ImageState.PROCESSING, one)})
    assert job_of(engine, one)[:3] == ("processing", None, None)
    assert rows.rows(engine, "SELECT lacking_looks, lacking_since, error_code FROM image") == [(0, None, None)]


def test_five_looks_in_a_row_are_not_enough_before_a_quarter_of_an_hour(patient: Runtime, engine: Engine) -> None:
    one, two = pending(engine), pending(engine)
    for _ in range(MISSING_LOOKS * 2):
        tell(patient, engine, {two: UpstreamImage(ImageState.READY, two, link="https://example.com/2")})
    assert job_of(engine, one).state == "pending"


def test_a_quarter_of_an_hour_is_not_enough_before_five_looks(patient: Runtime, engine: Engine) -> None:
    one, two = pending(engine), pending(engine)
    found = {two: UpstreamImage(ImageState.READY, two, link="https://example.com/2")}
    tell(patient, engine, found)
    age(engine, 901)
    for _ in range(MISSING_LOOKS - 2):
        tell(patient, engine, found)
        assert job_of(engine, one).state == "pending"
    tell(patient, engine, found)
    assert job_of(engine, one)[:2] == ("failed", "upstream_gone")


def test_what_is_gone_is_believed_only_if_another_image_was_found_since(patient: Runtime, engine: Engine) -> None:
    one = pending(engine)
    other = pending(engine)
    tell(patient, engine, {other: UpstreamImage(ImageState.READY, other, link="https://example.com/2")})
    rows.rows(engine, "UPDATE account SET found_at = now() - interval '1 hour'")
    for _ in range(MISSING_LOOKS + 1):
        age(engine, 300)
        tell(patient, engine, {})
    job = job_of(engine, one)
    assert (job.state, job.error_code) == ("pending", "upstream_gone")
    assert "no other image of this account was found since" in job.error
    assert paused(engine) is None  # one job alone may really be gone
    new = pending(engine)
    tell(patient, engine, {new: UpstreamImage(ImageState.READY, new, link="https://example.com/3")})
    assert job_of(engine, one)[:2] == ("failed", "upstream_gone")


def test_a_list_alone_vouches_for_nothing(patient: Runtime, engine: Engine) -> None:
    one, two, three = pending(engine), pending(engine), pending(engine)
    listed = {name: UpstreamImage(ImageState.PROCESSING, name) for name in (two, three)}
    for _ in range(MISSING_LOOKS + 1):
        tell(patient, engine, listed)
        age(engine, 300)
    assert job_of(engine, one).state == "pending"


def test_an_account_that_knows_nothing_any_more_pauses_and_what_it_bought_waits(
    patient: Runtime, engine: Engine
) -> None:
    names = [pending(engine) for _ in range(3)]
    for _ in range(MISSING_LOOKS):
        tell(patient, engine, {})
        age(engine, 300)
    assert paused(engine) is None or paused(engine) == "account_address_wrong"
    tell(patient, engine, {})
    assert paused(engine) == "account_address_wrong"
    assert {job_of(engine, name).state for name in names} == {"pending"}
    tell(patient, engine, {names[0]: UpstreamImage(ImageState.READY, names[0], link="https://example.com/1")})
    assert paused(engine) is None


def test_a_pause_that_a_paid_call_began_is_not_ended_by_a_look(patient: Runtime, engine: Engine) -> None:
    one = pending(engine)
    wrong = "UPDATE account SET paused_at = now(), paused_code = 'account_address_wrong', paused_reason = 'x'"
    rows.rows(engine, wrong)
    tell(patient, engine, {one: UpstreamImage(ImageState.PROCESSING, one)})
    assert paused(engine) == "account_address_wrong"


def test_an_image_of_a_key_that_was_replaced_is_not_believed_gone_by_those_of_the_new_key(
    patient: Runtime, engine: Engine
) -> None:
    one, two = pending(engine), pending(engine)
    old = "UPDATE submission SET key_id = :key WHERE id = (SELECT submission_id FROM image WHERE upstream_id = :one)"
    rows.rows(engine, old, one=one, key="another")
    rows.rows(engine, old, one=two, key=patient.accounts["bloom"].key_id)
    found = {two: UpstreamImage(ImageState.PROCESSING, two, link="https://example.com/2")}
    for _ in range(MISSING_LOOKS + 2):
        age(engine, 300)
        tell(patient, engine, found)
    assert (job_of(engine, one).state, job_of(engine, one).error_code) == ("pending", "upstream_gone")


def test_a_lonely_image_is_looked_for_until_the_last_bound_which_says_why(runtime: Runtime, engine: Engine) -> None:
    one = pending(engine)
    for _ in range(MISSING_LOOKS + 2):
        age(engine, 300)
        tell(runtime, engine, {})
    assert job_of(engine, one).state == "pending"
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    tell(runtime, engine, {})
    job = job_of(engine, one)
    assert (job.state, job.error_code) == ("failed", "never_finished")
    assert "Bloom answered 404" in job.error


def test_a_link_to_what_is_never_called_finished_is_taken_when_the_last_bound_passes(
    runtime: Runtime, engine: Engine
) -> None:
    one, two = pending(engine), pending(engine)
    with serving_images(Answer()) as host:
        drawing = UpstreamImage(ImageState.PROCESSING, one, early_link=f"{host.url}/1")
        refused = UpstreamImage(ImageState.PROCESSING, two, early_link="http://10.0.0.1/2")
        tell(runtime, engine, {one: drawing, two: refused})
        assert (job_of(engine, one).state, host.asked) == ("processing", [])
        rows.rows(engine, "UPDATE job SET collect_until = now()")
        tell(runtime, engine, {one: drawing, two: refused})
    assert (job_of(engine, one).state, job_of(engine, one).image) == ("succeeded", "stored")
    assert (job_of(engine, two).state, job_of(engine, two).error_code) == ("failed", "result_address_refused")


def test_what_a_believed_failure_has_a_link_to_is_kept_for_a_person(runtime: Runtime, engine: Engine) -> None:
    one, two = pending(engine), pending(engine)
    with serving_images(Answer()) as host:
        failed = UpstreamImage(ImageState.FAILED, error_code="generation_failed", error="no reason", sure=False)
        both = {one: replace(failed, early_link=f"{host.url}/1"), two: failed}
        for _ in range(MISSING_LOOKS):
            assert host.asked == []
            tell(runtime, engine, both)
            age(engine, 300)
        tell(runtime, engine, both)
        assert host.asked == ["/1"]
    assert (job_of(engine, one).error_code, job_of(engine, two).error_code) == (
        "result_unverified",
        "generation_failed",
    )
    assert "no reason" in job_of(engine, one).error
    assert "gives a link to it" in job_of(engine, one).error


def test_a_link_beside_a_state_that_is_no_end_is_remembered_until_the_last_bound(
    runtime: Runtime, engine: Engine
) -> None:
    one = pending(engine)
    down = Refused(Outcome.REJECTED, RetryRule.AFTER, "provider_error", "HTTP 503", http_status=503)
    with serving_images(Answer()) as host:
        for link in (f"{host.url}/1", f"{host.url}/2"):
            tell(runtime, engine, {one: UpstreamImage(ImageState.PROCESSING, one, early_link=link)})
        tell(runtime, engine, {one: UpstreamImage(ImageState.PROCESSING, one)})
        rows.rows(engine, "UPDATE job SET collect_until = now()")
        tell(runtime, engine, down)
        assert host.asked == ["/2"]
    assert (job_of(engine, one).state, job_of(engine, one).image) == ("succeeded", "stored")


def test_pictures_that_are_there_do_not_wait_for_one_that_may_be_gone(patient: Runtime, engine: Engine) -> None:
    claim = rows.transferring(engine, ImageState.PENDING, ImageState.PENDING)
    rows.rows(engine, "UPDATE job SET state = 'pending' WHERE id = :id", id=claim.job_id)
    with serving_images(Answer()) as host:
        (there, _lost) = [row[0] for row in rows.rows(engine, "SELECT upstream_id FROM image ORDER BY index")]
        found = {there: UpstreamImage(ImageState.READY, there, link=f"{host.url}/1")}
        for _ in range(MISSING_LOOKS):
            tell(patient, engine, found)
    states = [row[0] for row in rows.rows(engine, "SELECT state FROM image ORDER BY index")]
    assert states == ["stored", "pending"]
    assert rows.states(engine) in ({"pending": 1}, {"processing": 1})


def test_a_provider_that_restarts_loses_no_image(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    simulated.put_faults([{"match": {"route": "poll"}, "fault": GONE, "times": 4}])
    client.enqueue([{**BLOOM, "custom_id": "a", "n": 2}], batch="b")
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


def test_a_retry_of_what_was_gone_asks_again_for_nothing(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults([{"match": {"route": "poll"}, "fault": GONE, "times": None}])
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")

    def vouched() -> bool:
        rows.rows(engine, "UPDATE account SET found_at = now() WHERE name = 'bloom'")
        return ended(client)()

    drain(runtime, vouched)
    assert ends(client) == {"a": ("failed", "upstream_gone")}
    simulated.put_faults([])
    plan = client.plan_retry(batch="b")
    assert (len(plan.ask), len(plan.buy_again)) == (1, 0)
    client.retry(plan)
    drain(runtime, ended(client))
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


def test_a_404_for_a_new_link_ends_no_image(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    simulated.put_faults([{"match": {"route": "download"}, "fault": "early_expiry", "times": 3}])
    asked: list[int] = []

    def lose() -> bool:
        if simulated.requests(outcome="early_expiry") and not asked:
            asked.append(1)
            died = {"match": {"route": "download"}, "fault": "early_expiry", "times": 2}
            simulated.put_faults([died, {"match": {"route": "poll"}, "fault": GONE, "times": 2}])
        return ended(client)()

    drain(runtime, lose)
    assert ends(client) == {"a": ("succeeded", None)}
    assert paid(simulated) == 1


@pytest.mark.parametrize(("said", "end"), [("fail", "result_not_downloadable"), ("succeed", None)])
@pytest.mark.parametrize("comes", [True, False])
def test_a_link_that_comes_later_than_its_state_is_waited_for(
    database_url: str, endpoints: Any, said: str, end: str | None, *, comes: bool
) -> None:
    config = SimulatorConfig(time_scale=100, pixels=64, posteverywhere=PostEverywhereSettings(url="url"))
    with Simulator(config).serve() as provider:
        accounts = {"posteverywhere": {**five_accounts(provider.url)["posteverywhere"], "media_without_url": said}}
        settings = settings_for(database_url, endpoints, provider.url, accounts=accounts)
        with runtime_for(settings, endpoints) as runtime, Client(settings=settings) as client:
            wire = runtime.accounts["posteverywhere"].wire
            late = without_links(wire, looks=MISSING_LOOKS - 1 if comes else 10_000)
            runtime.accounts["posteverywhere"] = replace(runtime.accounts["posteverywhere"], wire=late)
            row = {"provider": "posteverywhere", "model": "flux-schnell", "prompt": "x", "custom_id": "a"}
            client.enqueue([row], batch="b")
            drain(runtime, ended(client))
            stored = [one["state"] for one in client.results("b")]
            if comes:
                assert (ends(client), stored) == ({"a": ("succeeded", None)}, ["stored"])
            else:
                assert ends(client) == {"a": ("failed" if end else "succeeded", end)}
                assert late.looks >= MISSING_LOOKS


def without_links(wire: Any, *, looks: int) -> Any:
    """Return a wire that shows finished pictures without their link for so many looks."""

    class Late(type(wire)):  # type: ignore[misc]
        looks = 0

        def _image(self, item: Any, upstream_id: str) -> Any:
            if isinstance(item, dict) and item.get("status") == "ready":
                self.looks += 1
                item = {**item, "url": None} if self.looks <= looks else item
            return super()._image(item, upstream_id)

    return Late(wire._settings)


def refusal(after: float | None = None, **changes: Any) -> Refused:
    given: dict[str, Any] = {"http_status": 503, "after_seconds": after, **changes}
    return Refused(Outcome.UNKNOWN, RetryRule.AFTER, "provider_error", "HTTP 503: no message", **given)


@pytest.mark.parametrize("after", ABSURD)
def test_one_look_that_is_refused_slows_looks_and_paying_by_a_minute_at_most(
    patient: Runtime, engine: Engine, after: float
) -> None:
    one = pending(engine)
    tell(patient, engine, refusal(after))
    job = job_of(engine, one)
    assert (job.state, job.error_code) == ("pending", "look_failed")
    assert "HTTP 503" in job.error
    assert 0 < job.wait <= min(after, 60)
    (row,) = rows.rows(
        engine, "SELECT extract(epoch FROM not_before - now()) AS wait FROM account WHERE name = 'bloom'"
    )
    assert 0 < row.wait <= 60


@pytest.mark.parametrize(("failing", "most"), [("3 minutes", 185), ("3 hours", 900)])
def test_looks_that_keep_being_refused_wait_ever_longer_and_a_quarter_of_an_hour_at_most(
    patient: Runtime, engine: Engine, failing: str, most: float
) -> None:
    one = pending(engine)
    tell(patient, engine, refusal(86_400))
    since = "UPDATE account SET looks_failing_since = now() - CAST(:failing AS interval)"
    rows.rows(engine, since, failing=failing)
    tell(patient, engine, refusal(86_400))
    assert 60 < job_of(engine, one).wait <= most


def test_a_wait_that_a_look_is_told_never_passes_the_jobs_last_bound(patient: Runtime, engine: Engine) -> None:
    one = pending(engine)
    tell(patient, engine, refusal(600))
    rows.rows(engine, "UPDATE account SET looks_failing_since = now() - interval '1 hour'")
    rows.rows(engine, "UPDATE job SET collect_until = now() + interval '90 seconds'")
    tell(patient, engine, refusal(600))
    assert 60 < job_of(engine, one).wait <= 90


def test_looks_that_fail_for_ten_minutes_stop_the_buying_and_the_first_answer_resumes_it(
    patient: Runtime, engine: Engine
) -> None:
    one = pending(engine)
    for minutes in (0, 5, 4):
        rows.rows(
            engine, "UPDATE account SET looks_failing_since = looks_failing_since - :m * interval '1 minute'", m=minutes
        )
        tell(patient, engine, refusal())
        assert paused(engine) is None
    rows.rows(engine, "UPDATE account SET looks_failing_since = looks_failing_since - interval '61 seconds'")
    tell(patient, engine, refusal())
    assert paused(engine) == "looks_failing"
    (row,) = rows.rows(engine, "SELECT paused_reason FROM account WHERE name = 'bloom'")
    assert "HTTP 503" in row[0]
    tell(patient, engine, {one: UpstreamImage(ImageState.PROCESSING, one)})
    assert paused(engine) is None
    assert rows.rows(engine, "SELECT looks_failing_since FROM account WHERE name = 'bloom'") == [(None,)]


@pytest.mark.parametrize(("status", "code"), [(401, "account_unauthorized"), (402, "account_out_of_credit")])
def test_a_look_that_says_what_is_wrong_with_the_account_pauses_it_as_ever(
    patient: Runtime, engine: Engine, status: int, code: str
) -> None:
    pending(engine)
    said = Refused(Outcome.REJECTED, RetryRule.RESUME, code, "no", http_status=status)
    tell(patient, engine, said)
    assert paused(engine) == code


@pytest.mark.parametrize("status", [401, 402, 403])
def test_a_refusal_of_one_picture_among_others_that_are_shown_pauses_no_account(
    patient: Runtime, engine: Engine, status: int
) -> None:
    one, two, three = pending(engine), pending(engine), pending(engine)
    said = Refused(Outcome.REJECTED, RetryRule.RESUME, "account_forbidden", "not this one", http_status=status)
    shown = {name: UpstreamImage(ImageState.PROCESSING, name) for name in (two, three)}
    tell(patient, engine, shown, alone={one: said})
    assert paused(engine) is None
    assert [job_of(engine, name).error_code for name in (one, two, three)] == ["look_failed", None, None]
    tell(patient, engine, said)
    assert paused(engine) == "account_forbidden"


def finding(name: str, one: str) -> UpstreamImage:
    """Return what a look finds of an image that may be lost: one of the findings that several looks must confirm."""
    match name:
        case "gone":
            return gone(one, "Bloom")
        case "no link":
            return UpstreamImage(ImageState.PROCESSING, one, lacks_link=True, sure=False)
        case _:
            return UpstreamImage(ImageState.FAILED, one, error_code=name, error="it says why", sure=False)


FINDINGS = ("gone", "no link", "generation_failed", "content_refused_after_purchase")


@pytest.mark.parametrize("first", FINDINGS)
@pytest.mark.parametrize("then", [name for name in FINDINGS if name not in {"gone", "no link"}])
def test_another_finding_before_it_keeps_no_finding_from_being_believed(
    patient: Runtime, engine: Engine, first: str, then: str
) -> None:
    one = pending(engine)
    tell(patient, engine, {one: finding(first, one)})
    for _ in range(MISSING_LOOKS):
        tell(patient, engine, {one: finding(then, one)})
        age(engine, 300)
    tell(patient, engine, {one: finding(then, one)})
    assert job_of(engine, one)[:2] == ("failed", then)


@pytest.mark.parametrize("first", [name for name in FINDINGS if name != "gone"])
def test_another_finding_before_it_keeps_no_image_from_being_gone(patient: Runtime, engine: Engine, first: str) -> None:
    one, two = pending(engine), pending(engine)
    tell(patient, engine, {one: finding(first, one)})
    found = {two: UpstreamImage(ImageState.READY, two, link="https://example.com/2")}
    for _ in range(MISSING_LOOKS):
        tell(patient, engine, found)
        age(engine, 300)
    tell(patient, engine, found)
    assert job_of(engine, one)[:2] == ("failed", "upstream_gone")
