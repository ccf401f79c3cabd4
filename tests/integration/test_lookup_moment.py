"""What a look-up reads of our own calls: one that settles in the middle of it is never taken for a stranger's."""

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

from sqlalchemy import event

from shared.db.engine import Engine, transaction
from shared.db.payments import submissions
from tests.support import rows
from worker.lost_calls import read_list
from worker.providers.contract import Listed


def test_a_call_that_settles_while_a_look_up_reads_is_in_the_air_or_an_owner(engine: Engine) -> None:
    intent = rows.one_intent(engine)
    said = rows.accepted()
    (name,) = [image.upstream_id for image in said.images]
    now = datetime.now(UTC)
    found = SimpleNamespace(rows=[Listed(name, now, "x")])
    account = SimpleNamespace(
        name="bloom",
        wire=SimpleNamespace(find_by="prompt"),
        slack_seconds=1,
        quiet_seconds=1,
        key_id="k",
        body=lambda request, _images: request,
    )
    settled: list[bool] = []
    with transaction(engine) as connection:

        def settle(*_: Any) -> None:
            if not settled:
                settled.append(True)
                with transaction(engine) as other:
                    submissions.record(other, intent.submission_id, said)

        event.listen(connection, "after_cursor_execute", settle)
        call = cast("Any", SimpleNamespace(opened_at=now, request={}, missing=[0]))
        facts = read_list.list_facts(connection, cast("Any", account), call, cast("Any", found))
    assert settled
    assert name in facts.owned or facts.in_the_air_since is not None
