"""Claims: fair between batches, priority first, each job once, and fast at 200,000 rows without statistics."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import text

from shared.db.engine import PLAN_ONCE, Connection, Engine, transaction
from shared.db.jobs import claims
from shared.db.jobs.transitions import Claim, give_back
from shared.lifecycle import JobState, Stage
from tests.support import rows


def names(engine: Engine, found: list[Any]) -> list[str]:
    known = {row.id: row.custom_id for row in rows.rows(engine, "SELECT id, custom_id FROM job")}
    return [known[claim.job_id] for claim in found]


def test_a_claim_raises_the_epoch_and_hides_the_job_until_its_lease_ends(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (first,) = rows.claim(engine, lease=60)
    assert rows.claim(engine) == []
    rows.rows(engine, "UPDATE job SET due_at = now()")
    (second,) = rows.claim(engine, worker="another")
    assert second.epoch == first.epoch + 1
    assert rows.job(engine, first.job_id).claimed_by == "another"


def test_two_batches_take_turns(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"a{number}") for number in range(20)], batch="a")
    rows.add(engine, [rows.new_job(f"b{number}") for number in range(20)], batch="b")
    first = names(engine, rows.claim(engine, count=10))
    assert sorted(first) == [*(f"a{number}" for number in range(5)), *(f"b{number}" for number in range(5))]


def test_a_single_later_job_does_not_wait_behind_thousands(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"a{number}") for number in range(3000)], batch="a")
    rows.claim(engine, count=100)
    rows.add(engine, [rows.new_job("late")], batch="late")
    assert "late" in names(engine, rows.claim(engine, count=2))


def test_a_later_job_is_not_put_back_by_what_a_higher_priority_has_used_up(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"low{number}") for number in range(500)], batch="low")
    rows.add(engine, [rows.new_job(f"high{number}", priority=5) for number in range(300)], batch="high")
    rows.claim(engine, count=300)
    rows.add(engine, [rows.new_job("late")], batch="late")
    assert "late" in names(engine, rows.claim(engine, count=2))


def test_a_job_that_waits_for_a_time_of_its_own_holds_nobody_back(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("stuck"), *(rows.new_job(f"a{number}") for number in range(400))], batch="a")
    taken = rows.claim(engine, count=200)
    with transaction(engine) as connection:
        give_back(connection, taken[:1], states=[JobState.QUEUED], due_seconds=3600)
    rows.add(engine, [rows.new_job(f"b{number}") for number in range(200)], batch="b")
    share = [name[0] for name in names(engine, rows.claim(engine, count=40))]
    assert 15 <= share.count("a") <= 25


def test_a_quarter_goes_to_who_has_waited_longest_whatever_priority_or_batches_without_end_come(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"old{number}", priority=-9) for number in range(9)], batch="old")
    rows.rows(engine, "UPDATE job SET created_at = now() - interval '2 hours'")
    rows.add(engine, [rows.new_job(f"high{number}", priority=9) for number in range(50)], batch="high")
    first = names(engine, rows.claim(engine, count=8))
    assert sorted(name for name in first if name.startswith("old")) == ["old0", "old1"]
    assert len(first) == 8
    position = rows.rows(engine, "SELECT fair_position FROM account WHERE name = 'bloom'")[0].fair_position
    assert position == 6  # of the newer ones alone
    singly = [name for _ in range(60) for name in names(engine, rows.claim(engine, count=1))]
    assert min(singly.index(name) for name in singly if name.startswith("old")) < singly.index("high49")


def test_within_an_hour_nobody_goes_before_a_higher_priority(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("low")])
    rows.add(engine, [rows.new_job(f"high{number}", priority=9) for number in range(20)], batch="high")
    assert "low" not in names(engine, rows.claim(engine, count=16))


def test_the_higher_priority_goes_first(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("low"), rows.new_job("high", priority=9), rows.new_job("lowest", priority=-9)])
    assert [names(engine, rows.claim(engine))[0] for _ in range(3)] == ["high", "low", "lowest"]


def test_claimants_at_once_never_get_the_same_job(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"c{number}") for number in range(200)])
    with ThreadPoolExecutor(8) as pool:
        taken = [claim for part in pool.map(lambda _: rows.claim(engine, count=10), range(20)) for claim in part]
    assert len({claim.job_id for claim in taken}) == len(taken)


def test_a_job_past_its_deadline_is_not_claimed_but_found_whatever_its_account(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a", account="getimg"), rows.new_job("b")], deadline=0)
    assert rows.claim(engine, count=5) == []
    with transaction(engine) as connection:
        assert len(claims.past_deadline(connection)) == 2


def test_a_job_in_a_sender_hand_is_not_ended_by_its_deadline(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    rows.claim(engine)
    rows.rows(engine, "UPDATE job SET deadline_at = now()")
    with transaction(engine) as connection:
        assert claims.past_deadline(connection) == []


def test_only_running_leases_count_as_in_hand(engine: Engine) -> None:
    rows.add(engine, [rows.new_job(f"c{number}") for number in range(4)])
    rows.claim(engine, count=2)
    rows.claim(engine, count=1, lease=0)
    with transaction(engine) as connection:
        assert claims.in_hand(connection, "bloom").paying == 2
        assert claims.in_hand(connection, "getimg").paying == 0
        assert claims.paying(connection) == {"bloom": 2}


@pytest.fixture
def empty(engine: Engine) -> Engine:
    """No job, and nothing that would tell the planner of those that come."""
    rows.register(engine, rows.account_row())
    rows.rows(engine, "ALTER TABLE job SET (autovacuum_enabled = false)")
    return engine


@pytest.fixture
def backlog(empty: Engine) -> Engine:
    """200,000 jobs just loaded: the planner knows nothing of them yet."""
    load(empty)
    return empty


def load(engine: Engine) -> None:
    for statement in (
        "INSERT INTO batch (id, name) VALUES (gen_random_uuid(), 'b')",
        """INSERT INTO job (id, batch_id, custom_id, account, provider, request, fingerprint, images,
          fair_position, state,
             due_at, deadline_at, collect_until, error_code)
           SELECT gen_random_uuid(), batch.id, i, 'bloom', 'bloom', '{}', '', 1, i,
             (ARRAY['queued', 'pending', 'transferring', 'in_doubt'])[i % 4 + 1], now() - i * interval '1 second',
             now() + interval '1 day', now() + interval '1 day', 'x' FROM batch, generate_series(1, 200000) i""",
    ):
        rows.rows(engine, statement)


INDEXES = {
    "submit": "job_dispatch",
    "poll": "job_poll",
    "transfer": "job_transfer",
    "reconcile": "job_reconcile",
}


def test_every_claim_reads_its_own_index_in_order_even_without_statistics(backlog: Engine) -> None:
    parameters = {"account": "bloom", "count": 20, "worker": "w", "lease": 60}
    with transaction(backlog) as connection:
        for stage, index in INDEXES.items():
            # As the claim itself leaves the planner, in its own transaction.
            found = claims.claim(connection, Stage(stage), "bloom", count=20, worker="w", lease_seconds=60)
            assert len(found.together) == 20
            lines = connection.execute(text(f"EXPLAIN {claims._CLAIMS[Stage(stage)].text}"), parameters).scalars()
            plan = "\n".join(lines)
            assert f"Index Scan using {index}" in plan, plan
            assert "Sort" not in plan, plan
            assert "Seq Scan" not in plan, plan


def test_a_workers_plan_that_was_made_for_an_empty_table_reads_the_same_indexes_once_it_is_full(empty: Engine) -> None:
    with transaction(empty) as connection:
        for setting, value in PLAN_ONCE.items():
            connection.execute(text(f"SET LOCAL {setting} = {value}"))
        connection.execute(claims.BY_INDEX)
        for stage in INDEXES:
            numbered = claims._CLAIMS[Stage(stage)].text
            for number, name in enumerate(("account", "count", "worker", "lease"), 1):
                numbered = numbered.replace(f":{name}", f"${number}")
            connection.exec_driver_sql(f"PREPARE {stage} (text, integer, text, integer) AS {numbered}")
        before = {stage: plan_of(connection, stage) for stage in INDEXES}
        load(empty)
        after = {stage: plan_of(connection, stage) for stage in INDEXES}
    for stage, index in INDEXES.items():
        assert before[stage] == after[stage]
        assert f"Index Scan using {index}" in after[stage]
        assert "Seq Scan" not in after[stage]


def plan_of(connection: Connection, prepared: str) -> str:
    lines = connection.exec_driver_sql(f"EXPLAIN EXECUTE {prepared} ('bloom', 20, 'w', 60)").scalars()
    return "\n".join(lines)


def test_a_job_that_is_begun_soon_after_its_claim_keeps_the_end_of_its_lease_and_so_its_place(engine: Engine) -> None:
    """Its row is then written beside the old version, and to no index."""
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine, lease=65)
    claimed = rows.job(engine, claim.job_id)
    begin(engine, claim, lease=60)
    assert rows.job(engine, claim.job_id).due_at == claimed.due_at


def test_a_job_that_waited_long_in_the_broker_has_its_whole_lease_from_its_beginning(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    (claim,) = rows.claim(engine, lease=59)
    claimed = rows.job(engine, claim.job_id)
    begin(engine, claim, lease=60)
    assert rows.job(engine, claim.job_id).due_at > claimed.due_at


def begin(engine: Engine, claim: Claim, lease: float) -> None:
    with transaction(engine) as connection:
        states = (JobState.QUEUED,)
        assert claims.begin(connection, "bloom", [claim], states=states, worker="a", lease_seconds=lease).together
