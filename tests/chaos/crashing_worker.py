"""The project's own worker with a flaw: it may die in a named gap, run on a wrong clock, or publish everything twice.

Usage: `crashing_worker.py NAME`. The product is wrapped at its seams from here and knows nothing of it. The environment
says what is wrong: CHAOS_DIRECTORY (see `points`), CHAOS_SKEW_SECONDS, CHAOS_PUBLISHES_TWICE. A few waits that are no
settings shrink as the simulator's time does, or each death of a poller would hold its jobs for a minute.
"""

import os
import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from ops.cli.worker import worker as run_worker
from tests.chaos import skewed_clock
from tests.chaos.points import Points
from worker import leases, runtime, served_accounts, tasks
from worker.evidence import inline_answers
from worker.next_step import lost_call
from worker.stages import reconcile, submit, transfer
from worker.transport import paid_post, storage
from worker.transport.download import Fetcher
from worker.transport.paid_post import PaidPost, PaidReply
from worker.transport.quick_put import Put, QuickPut

WAITS = {
    (leases, "API_SECONDS"): 4.0,
    (served_accounts, "API_SECONDS"): 4.0,
    (leases, "RECONCILE_LEASE"): 8.0,
    (reconcile, "_LEASE_SECONDS"): 15.0,
    (lost_call, "_SENDER_SECONDS"): 20.0,
}
"""How long a question, and a look at a doubt, may take; when a call whose sender still runs is looked at again."""
_REQUEST_WRITTEN = "http11.receive_response_headers.started"


def main(name: str) -> None:
    directory = Path(os.environ["CHAOS_DIRECTORY"])
    for (module, constant), seconds in WAITS.items():
        assert hasattr(module, constant)
        setattr(module, constant, seconds)
    die_in_gaps(Points(directory))
    tell_who_pays(directory)
    if os.environ.get("CHAOS_PUBLISHES_TWICE"):
        publish_twice()
    if skew := float(os.environ.get("CHAOS_SKEW_SECONDS", "0")):
        skewed_clock.shift(skew)
    run_worker(name)


def die_in_gaps(points: Points) -> None:
    """Look at every gap whether this worker is to die there."""
    _around_post(points)
    _around_transfer(points)

    paid, paid_and_followed = submit.transfer, submit._pay_and_follow

    @wraps(paid)
    async def before_transfer(*given: Any) -> None:
        await points.pass_by("after_commit")
        await paid(*given)

    @wraps(paid_and_followed)
    async def followed(*given: Any) -> None:
        await paid_and_followed(*given)
        await points.pass_by("after_commit")

    submit.transfer, submit._pay_and_follow = before_transfer, followed


def _around_post(points: Points) -> None:
    send, trace = PaidPost.send, paid_post._Wire.trace

    async def sending(self: PaidPost, url: str, **options: Any) -> Any:
        await points.pass_by("before_post")
        reply = await send(self, url, **options)
        if isinstance(reply, PaidReply):
            await points.pass_by("after_reply")
        return reply

    async def tracing(self: Any, event: str, info: Any) -> None:
        await trace(self, event, info)
        if event == _REQUEST_WRITTEN:
            await points.pass_by("after_request_left")

    PaidPost.send, paid_post._Wire.trace = sending, tracing


def _around_transfer(points: Points) -> None:
    received, extract, put, quick, write = (
        Fetcher._received,
        inline_answers._extract,
        storage.Storage.put,
        QuickPut.put,
        runtime.Runtime.write_joined,
    )

    async def receiving(self: Fetcher, *given: Any) -> Any:
        await points.pass_by("mid_download")
        return await received(self, *given)

    def extracting(*given: Any) -> Any:
        points.pass_by_in_thread("mid_download")
        return extract(*given)

    def putting(self: Any, key: str, *given: Any, **options: Any) -> None:
        put(self, key, *given, **options)
        points.pass_by_in_thread("after_put" if key.startswith("images/") else "after_keep")

    async def putting_quickly(self: Any, bucket: Any, key: str, *given: Any, **options: Any) -> Any:
        end = await quick(self, bucket, key, *given, **options)
        if end is Put.TAKEN:
            await points.pass_by("after_put" if key.startswith("images/") else "after_keep")
        return end

    async def writing(self: Any, work: Callable[..., Any], *given: Any, **options: Any) -> Any:
        if work is transfer.end_all:
            await points.pass_by("before_final_write")
        return await write(self, work, *given, **options)

    Fetcher._received, inline_answers._extract = receiving, extracting
    storage.Storage.put, QuickPut.put, runtime.Runtime.write_joined = putting, putting_quickly, writing


def tell_who_pays(directory: Path) -> None:
    """Leave under this process's number the name that its claims and submissions carry."""
    opened = tasks.open_runtime

    def opening(*given: Any, **options: Any) -> Any:
        made = opened(*given, **options)
        (directory / f"sender-{os.getpid()}").write_text(made.sender.name)
        return made

    tasks.open_runtime = opening


def publish_twice() -> None:
    """Send every message two times."""
    made = tasks.publisher

    def twice(app: Any) -> Any:
        publish = made(app)

        def publishing(parcel: Any) -> None:
            publish(parcel)
            publish(parcel)

        return publishing

    tasks.publisher = twice


if __name__ == "__main__":
    main(sys.argv[1])
