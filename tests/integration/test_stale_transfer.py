"""A transfer that lost its job while it was copying: whatever it thinks has come of it, it ends nothing."""

from shared.db import images
from shared.db.engine import Engine, transaction
from tests.support import rows
from worker import transfer
from worker.runtime import Runtime


def test_whoever_lost_the_job_while_copying_gives_up_no_picture_past_the_last_bound(
    runtime: Runtime, engine: Engine
) -> None:
    rows.transferring(engine)
    (stale,) = rows.claim(engine, "transfer", lease=0)
    (fresh,) = rows.claim(engine, "transfer")
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    with transaction(engine) as connection:
        assert transfer._end(runtime, stale, None, asked_again=False, connection=connection) is None
        assert [picture.state for picture in images.states(connection, fresh.job_id)] == ["ready"]
    assert rows.states(engine) == {"transferring": 1}
