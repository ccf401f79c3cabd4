"""What a provider made belongs to one paid call: an id that another submission or picture owns is refused."""

from dataclasses import replace

import pytest
from sqlalchemy.exc import IntegrityError

from shared.db import submissions
from shared.db.engine import Engine, transaction
from shared.db.intents import Intent
from shared.db.submissions import Answer
from tests.support import rows

BOUGHT = rows.accepted()
SAME_RECEIPT = replace(BOUGHT, images=())
SAME_PICTURE = replace(BOUGHT, upstream_id="another")


def record(engine: Engine, intent: Intent, answer: Answer) -> None:
    with transaction(engine) as connection:
        submissions.record(connection, intent.submission_id, answer)


@pytest.mark.parametrize("twin", [SAME_RECEIPT, SAME_PICTURE], ids=["receipt", "picture"])
def test_two_calls_never_own_the_same_receipt_nor_the_same_picture(twin: Answer, engine: Engine) -> None:
    first, second = rows.one_intent(engine), rows.one_intent(engine)
    record(engine, first, BOUGHT)
    with pytest.raises(IntegrityError):
        record(engine, second, twin)
    assert rows.rows(engine, "SELECT outcome FROM submission ORDER BY opened_at") == [("accepted",), (None,)]
