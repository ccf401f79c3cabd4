"""How a state machine is run: a fixed, bounded walk in every test run, and a long random one where somebody asks.

`MODEL_EXAMPLES=3000 python -m pytest tests/integration/test_model_lifecycle.py -s` explores; it prints its seed, and
`MODEL_SEED` walks the same way again.
"""

import os
import secrets
from collections.abc import Callable
from random import Random
from typing import Any, cast

from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis.stateful import RuleBasedStateMachine, run_state_machine_as_test
from sqlalchemy import text

from shared.db.engine import Engine, transaction
from worker.runtime import Runtime

_TABLES = "unowned_image, ledger, request_slot, job_event, image, submission, job, batch, account, worker"
_LONG = 10_000.0
_STEPS = 40


def walk(machine: Callable[[], RuleBasedStateMachine], *, examples: int) -> None:
    """Run `machine` through `examples` walks of up to 40 steps, the same ones each time."""
    wanted = os.environ.get("MODEL_EXAMPLES")
    if not wanted:
        run_state_machine_as_test(cast("Any", machine), settings=_settings(examples, fixed=True))
        return
    number = int(os.environ.get("MODEL_SEED") or secrets.randbits(32))
    print(f"MODEL_SEED={number} MODEL_EXAMPLES={wanted}")  # noqa: T201 - whoever explores wants to come back
    run_state_machine_as_test(seed(number)(cast("Any", machine)), settings=_settings(int(wanted), fixed=False))


def _settings(examples: int, *, fixed: bool) -> settings:
    return settings(
        max_examples=examples,
        stateful_step_count=_STEPS,
        derandomize=fixed,
        database=None,
        deadline=None,
        phases=[Phase.generate, Phase.shrink],
        suppress_health_check=list(HealthCheck),
    )


def standing_still(runtime: Runtime) -> Runtime:
    """Return `runtime` with every wait so long that nothing falls due unless the machine says that time has passed."""
    waits = (
        "poll_first_seconds",
        "poll_max_seconds",
        "retry_first_seconds",
        "retry_max_seconds",
        "lease_slack_seconds",
    )
    return Runtime(
        settings=runtime.settings.model_copy(update=dict.fromkeys((*waits, "send_within_seconds"), _LONG)),
        engine=runtime.engine,
        storage=runtime.storage,
        quick_put=runtime.quick_put,
        fetcher=runtime.fetcher,
        accounts=runtime.accounts,
        sender=runtime.sender,
        replies=runtime.replies,
        evidence=runtime.evidence,
        spool_dir=runtime.spool_dir,
        random=Random(1),
    )


def empty(engine: Engine) -> None:
    """Forget every row: a database of its own for each walk would cost a second."""
    with transaction(engine) as connection:
        connection.execute(text(f"TRUNCATE {_TABLES} RESTART IDENTITY CASCADE"))
