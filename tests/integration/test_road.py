"""The whole road in one process: from rows to objects, judged by the simulator's bill and the bucket."""

import hashlib
from typing import Any

from ops.simulator import Simulator
from producer import Client
from producer.client import is_settled
from shared.settings import Settings
from tests.support.drain import drain
from worker.runtime import Runtime

BLOOM = {"provider": "bloom", "prompt": "a quiet harbour"}
GETIMG = {"provider": "getimg", "model": "seedream-5-lite", "prompt": "a quiet harbour"}


def ended(client: Client, batch: str = "b") -> Any:
    return lambda: is_settled(client.totals(batch))


def paid(simulated: Simulator) -> int:
    return sum(int(count) for count in simulated.counters()["accepted"].values())


def test_every_image_is_stored_with_the_hash_that_the_simulator_served(
    client: Client, runtime: Runtime, simulated: Simulator, settings: Settings
) -> None:
    client.enqueue([{**BLOOM, "n": 3}, BLOOM, GETIMG], batch="b")
    drain(runtime, ended(client))
    rows = list(client.results("b"))
    assert [row["state"] for row in rows] == ["stored"] * 5
    for row in rows:
        found = runtime.storage.head(row["key"])
        assert found is not None
        assert found.length == row["bytes"]
    assert paid(simulated) == 3


def test_a_lost_reply_is_held_and_never_sent_again(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    client.enqueue([GETIMG, {**GETIMG, "prompt": "another"}], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"in_doubt": 1, "succeeded": 1}
    assert paid(simulated) == 2


def test_a_429_slows_down_and_spends_no_attempt(client: Client, runtime: Runtime, simulated: Simulator) -> None:
    simulated.put_faults([{"match": {"route": "submit"}, "times": 3, "fault": {"kind": "429", "retry_after": 0}}])
    client.enqueue([GETIMG], batch="b")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 1}
    assert paid(simulated) == 1


def test_a_402_pauses_the_account_and_a_resume_finishes_the_jobs(
    client: Client, runtime: Runtime, simulated: Simulator
) -> None:
    simulated.put_faults([{"match": {"route": "submit", "provider": "bloom"}, "fault": "402"}])
    client.enqueue([BLOOM] * 3, batch="b")
    drain(runtime, lambda: any(account["paused_at"] for account in client.accounts()))
    paused = next(account for account in client.accounts() if account["paused_at"])
    assert paused["paused_code"] == "account_out_of_credit"
    assert str(paused["action_url"]).startswith("http")
    client.resume("bloom")
    drain(runtime, ended(client))
    assert client.totals("b") == {"succeeded": 3}


def test_an_object_in_the_bucket_is_what_its_row_says(client: Client, runtime: Runtime) -> None:
    client.enqueue([GETIMG], batch="b")
    drain(runtime, ended(client))
    (row,) = client.results("b")
    import io

    file = io.BytesIO()
    runtime.storage.get_to(row["key"], file)
    assert hashlib.sha256(file.getvalue()).hexdigest() == row["sha256"]
