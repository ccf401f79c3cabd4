"""A transfer that lost its job while it was copying: whatever it thinks has come of it, it ends nothing."""

from shared.db.engine import Engine, transaction
from shared.db.jobs import images
from tests.support import rows
from worker.runtime import Runtime
from worker.stages.transfer import Copied, end_all


def test_whoever_lost_the_job_while_copying_gives_up_no_picture_past_the_last_bound(
    runtime: Runtime, engine: Engine
) -> None:
    rows.transferring(engine)
    (stale,) = rows.claim(engine, "transfer", lease=0)
    (fresh,) = rows.claim(engine, "transfer")
    rows.rows(engine, "UPDATE job SET collect_until = now()")
    with transaction(engine) as connection:
        copied = Copied(runtime, runtime.accounts["bloom"], stale, None)
        assert end_all(connection, [copied]) == [None]
        pictures = images.results(connection, [fresh.job_id])[fresh.job_id]
        assert [picture.state for picture in pictures] == ["ready"]
    assert rows.states(engine) == {"transferring": 1}
