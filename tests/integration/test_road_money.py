"""What a sender does with its money when the ground moves: the database, the answer, or a neighbour in the batch."""

from dataclasses import fields, replace
from typing import Any, cast

import anyio

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import DatabaseUnavailableError, Engine
from shared.db.jobs.transitions import Claim
from shared.lifecycle import ImageState, Stage
from tests.support import rows
from tests.support.drain import drain, run_stage
from tests.support.outcome import BLOOM, GETIMG, ended, ends, only, paid, paid_posts
from worker.claiming import Parcel
from worker.providers.contract import Accepted, PaidCall, UpstreamImage
from worker.runtime import Runtime
from worker.stages.submit import submit


class Unlucky(Runtime):
    """A runtime whose database fails as `losing` says; evidence still gets through."""

    losing: "Losing"

    async def in_transaction(self, work: Any, *given: Any, **options: Any) -> Any:
        return await self._run(super().in_transaction, work, *given, **options)

    async def one_statement(self, work: Any, *given: Any, **options: Any) -> Any:
        return await self._run(super().one_statement, work, *given, **options)

    async def _run(self, run: Any, work: Any, *given: Any, **options: Any) -> Any:
        if self.losing.refuses(work):
            raise DatabaseUnavailableError("the connection was refused")
        result = await run(work, *given, **options)
        if self.losing.loses(work):
            raise DatabaseUnavailableError("the connection was lost")
        return result


class Losing:
    """Fails the first call of the statement function `name`: before it, or (`commits`) only after its commit."""

    def __init__(self, name: str, *, commits: bool) -> None:
        self._name, self._commits, self._done = name, commits, False

    def refuses(self, work: Any) -> bool:
        return not self._commits and self._hits(work)

    def loses(self, work: Any) -> bool:
        return self._commits and self._hits(work)

    def _hits(self, work: Any) -> bool:
        hit = not self._done and getattr(work, "func", work).__name__ == self._name
        self._done |= hit
        return hit


def given(runtime: Runtime) -> dict[str, Any]:
    return {field.name: getattr(runtime, field.name) for field in fields(runtime) if field.init}


def losing(runtime: Runtime, what: Losing) -> Runtime:
    made = Unlucky(**given(runtime))
    made.losing = what
    return made


def in_haste(runtime: Runtime, **changes: Any) -> Runtime:
    return Runtime(**{**given(runtime), "settings": runtime.settings.model_copy(update=changes)})


def with_wire(runtime: Runtime, name: str, submit: Any) -> None:
    """Have the account answer a payment by `submit(body)`, at no cost to anybody."""
    account = runtime.accounts[name]

    class Told(type(account.wire)):  # type: ignore[misc]
        async def submit(self, call: PaidCall) -> Any:
            assert call.send_before
            return await submit(call.body)

    runtime.accounts[name] = replace(account, wire=Told(cast("Any", account.wire)._settings))


def bought(*upstream_ids: str, name: str | None = None) -> Accepted:
    images = tuple(UpstreamImage(ImageState.PENDING, upstream_id) for upstream_id in upstream_ids)
    return Accepted(202, images, upstream_id=name or upstream_ids[0])


def claim_all(engine: Engine, count: int = 10) -> tuple[Claim, ...]:
    return tuple(rows.claim(engine, count=count))


def test_an_intent_whose_commit_lost_its_answer_is_taken_back_and_paid_once(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([BLOOM, BLOOM], batch="b")
    drain(losing(runtime, Losing("open_intents", commits=True)), ended(client))
    assert client.totals("b") == {"succeeded": 2}
    outcomes = rows.rows(engine, "SELECT outcome, count(*) FROM submission GROUP BY outcome ORDER BY outcome")
    assert outcomes == [("accepted", 2), ("not_sent", 2)]
    assert paid(simulated) == paid_posts(simulated) == 2


def test_an_intent_that_was_refused_gives_its_jobs_back_at_once(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    client.enqueue([BLOOM, BLOOM], batch="b")
    drain(losing(runtime, Losing("open_intents", commits=False)), ended(client), seconds=15)
    assert client.totals("b") == {"succeeded": 2}
    assert paid_posts(simulated) == 2


def test_a_second_message_that_meets_a_broken_database_takes_nothing_back(
    client: Client, runtime: Runtime, engine: Engine
) -> None:
    client.enqueue([BLOOM], batch="b")
    claims = claim_all(engine)
    twin = losing(runtime, Losing("open_intents", commits=False))

    async def while_the_twin_fails(_body: Any) -> Accepted:
        async with anyio.create_task_group() as group:
            twin.start(group)
            await submit(twin, "bloom", claims)
            group.cancel_scope.cancel()
        return bought("up-1")

    with_wire(runtime, "bloom", while_the_twin_fails)
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", claims))
    assert rows.rows(engine, "SELECT outcome FROM submission") == [("accepted",)]
    assert rows.states(engine) == {"pending": 1}


def test_an_answer_with_an_id_of_anothers_and_nothing_else_is_held_with_its_ids(
    runtime: Runtime, engine: Engine
) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])

    async def same(_body: Any) -> Accepted:
        return bought("same", name="call-7")

    with_wire(runtime, "bloom", same)
    first, second = claim_all(engine)
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", (first,)))
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", (second,)))
    job = rows.job(engine, second.job_id)
    assert (job.state, job.error_code) == ("in_doubt", "answer_unreadable")
    assert f"same, which is job {first.job_id}'s" in job.error
    assert job.error.endswith("it named call-7, same")
    assert rows.rows(engine, "SELECT outcome FROM submission ORDER BY opened_at") == [("accepted",), ("unknown",)]


def test_trouble_after_one_purchase_cancels_no_neighbour_who_is_being_paid_for(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    simulated.put_faults(
        [{"match": {"route": "submit", "prompt_contains": "slow"}, "fault": {"kind": "slow", "seconds": 60}}]
    )
    client.enqueue([{**GETIMG, "prompt": prompt, "custom_id": prompt} for prompt in ("slow", "quick")], batch="b")
    troubled = losing(runtime, Losing("of_claims", commits=False))
    claims = tuple(rows.claim(engine, account="getimg", count=2))
    run_stage(troubled, Parcel(Stage.SUBMIT, "getimg", claims))
    assert ends(client) == {"slow": ("succeeded", None), "quick": ("transferring", None)}
    rows.rows(engine, "UPDATE job SET due_at = now() WHERE state = 'transferring'")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 2}
    assert paid_posts(simulated) == 2


def test_a_row_that_this_code_cannot_read_fails_by_itself_and_unspent(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([{**BLOOM, "custom_id": name} for name in ("strange", "fine")], batch="b")
    strange = """UPDATE job SET request = '{"prompt": "p", "invented": 1}' WHERE custom_id = 'strange'"""
    rows.rows(engine, strange)
    drain(runtime, ended(client))
    assert ends(client) == {"strange": ("failed", "provider_rejected"), "fine": ("succeeded", None)}
    assert paid_posts(simulated) == 1


def test_a_defect_in_a_wire_holds_what_it_may_have_bought(runtime: Runtime, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a"), rows.new_job("b")])

    async def broken(_body: Any) -> Accepted:
        raise KeyError("a defect")

    with_wire(runtime, "bloom", broken)
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", claim_all(engine)))
    assert rows.rows(engine, "SELECT DISTINCT state, error_code FROM job") == [("in_doubt", "answer_unreadable")]


def test_more_pictures_than_were_asked_for_are_all_kept(runtime: Runtime, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a", n=2)])

    async def generous(_body: Any) -> Accepted:
        return bought("one", "two", "three")

    with_wire(runtime, "bloom", generous)
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", claim_all(engine)))
    found = rows.rows(engine, "SELECT index, upstream_id FROM image ORDER BY index")
    assert found == [(0, "one"), (1, "two"), (2, "three")]


def test_a_picture_that_came_unasked_displaces_none_that_is_stored(runtime: Runtime, engine: Engine) -> None:
    intent = rows.one_intent(engine, n=3)
    first = rows.accepted(ImageState.FAILED, ImageState.READY, ImageState.READY)
    rows.settle(
        engine, intent, first, rows.Move(intent.claim, rows.JobState.SUBMITTING, rows.JobState.FAILED, code="x")
    )
    rows.rows(engine, "UPDATE image SET state = 'stored', key = 'k', sha256 = '\\x00' WHERE index > 0")
    rows.rows(engine, "UPDATE job SET state = 'queued', due_at = now(), finished_at = NULL")

    async def generous(body: Any) -> Accepted:
        assert body["variantCount"] == 1
        return bought("asked", "unasked")

    with_wire(runtime, "bloom", generous)
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", claim_all(engine)))
    found = rows.rows(engine, "SELECT index, state, upstream_id FROM image ORDER BY index")
    assert [(row.index, row.state) for row in found] == [(0, "pending"), (1, "stored"), (2, "stored"), (3, "pending")]
    assert (found[0].upstream_id, found[3].upstream_id) == ("asked", "unasked")


def test_fewer_pictures_than_were_asked_for_end_as_not_delivered(runtime: Runtime, engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a", n=2)])

    async def stingy(_body: Any) -> Accepted:
        return bought("one")

    with_wire(runtime, "bloom", stingy)
    run_stage(runtime, Parcel(Stage.SUBMIT, "bloom", claim_all(engine)))
    found = rows.rows(engine, "SELECT state, error_code FROM image ORDER BY index")
    assert found == [("pending", None), ("failed", "not_delivered")]
    assert rows.states(engine) == {"pending": 1}


def test_a_sender_that_was_held_up_too_long_after_its_intent_sends_nothing(
    client: Client, runtime: Runtime, simulated: Simulator, engine: Engine
) -> None:
    client.enqueue([GETIMG], batch="b")
    late = in_haste(runtime, send_within_seconds=1e-9)
    run_stage(late, Parcel(Stage.SUBMIT, "getimg", tuple(rows.claim(engine, account="getimg"))))
    assert rows.rows(engine, "SELECT outcome FROM submission") == [("not_sent",)]
    assert paid_posts(simulated) == 0
    drain(runtime, ended(client))
    assert only(client)["job"]["state"] == "succeeded"
