"""The operator's command for alerts, whatever it does with its input."""

from types import SimpleNamespace
from typing import Any

from structlog.testing import capture_logs

from shared.alerts import Alert
from shared.problems import Problem
from worker import event_loop
from worker.upkeep import watching

TIMES = 40


def test_an_alert_command_that_does_not_read_its_input_has_done_its_work() -> None:
    runtime: Any = SimpleNamespace(settings=SimpleNamespace(alert_command="sh -c 'exec 0<&-; exit 0'"))
    alert = Alert("began", Problem("spool_full", "", "words " * 1000))

    async def tell() -> None:
        for _ in range(TIMES):
            await watching._run(runtime, alert)

    with capture_logs() as logs:
        event_loop.run(tell)
    assert logs == []
