"""What looks learn of a model is kept, found again by another worker, and bounded."""

from ops.simulator import Simulator
from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.jobs import model_times
from tests.support import rows
from tests.support.drain import drain
from tests.support.outcome import ended
from worker.dispatch import Dispatcher
from worker.runtime import Runtime


def test_a_worker_starts_with_what_earlier_jobs_have_shown(
    client: Client, runtime: Runtime, engine: Engine, simulated: Simulator
) -> None:
    client.enqueue([{"provider": "bloom", "prompt": f"harbour {number}"} for number in range(10)], batch="b")
    Dispatcher(runtime, lambda _: None, lambda _: None)._register()
    drain(runtime, ended(client))
    (known,) = rows.rows(engine, "SELECT account, cardinality(sooner) AS spans, later FROM model_time")
    assert (known.account, known.spans) == ("bloom", 10)
    assert min(known.later) > 0
    runtime.times = {}
    Dispatcher(runtime, lambda _: None, lambda _: None)._register()
    policy = runtime.decision_inputs(runtime.accounts["bloom"])
    (model,) = policy.times
    assert policy.times[model].until_likely(0.0, at_most=30) is not None
    assert runtime.seen_open == {}


def test_only_the_newest_jobs_of_a_model_are_kept(engine: Engine) -> None:
    rows.add(engine, [rows.new_job("a")])
    with transaction(engine) as connection:
        model_times.learn(connection, "bloom", {"swift": [(1.0, 2.0)] * model_times.MOST})
        known = model_times.learn(connection, "bloom", {"swift": [(3.0, 4.0)] * 10})
        assert model_times.load(connection, ["bloom", "getimg"]) == {"bloom": known}
    assert known["swift"] == [(3.0, 4.0)] * 10 + [(1.0, 2.0)] * (model_times.MOST - 10)
