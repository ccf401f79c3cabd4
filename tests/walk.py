"""`python -m tests.walk`: the files that one job passes through, and how often it moves from one to another.

A profile hook notes each call of ours and each return. Where the file changes, that is a move: what a reader of the
code must follow. The job is one Bloom image: enqueue on the way in; then submit, one look, and transfer.
"""

import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, Final

from pydantic import SecretStr

from ops.simulator import Simulator, SimulatorConfig
from ops.stack import Home, Stack
from producer import Client
from shared.db.engine import open_engine
from tests.support import rows
from tests.support.drain import BRAND, run_stage, runtime_for, settings_for
from tests.support.servers import Databases
from tests.support.waiting import until
from worker.claiming import Parcel
from worker.dispatch import Dispatcher

_ROOT: Final = Path(__file__).parents[1]
_OURS: Final = ("worker", "producer", "shared")
_LOOP: Final = "worker/event_loop.py"
"""It is under every task: each step of a task would count as two moves."""
_SHOWN: Final = 12


class Walk:
    """Counts moves between files of ours, in every thread that starts while it watches."""

    def __init__(self) -> None:
        self.moves: Counter[tuple[str, str]] = Counter()
        self._stacks = threading.local()

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Count from here to the end of the block."""
        threading.setprofile(self._note)
        sys.setprofile(self._note)
        try:
            yield
        finally:
            sys.setprofile(None)
            threading.setprofile(None)

    def _note(self, frame: FrameType, event: str, _: Any) -> None:
        if event not in {"call", "return"} or (name := _ours(frame.f_code.co_filename)) is None:
            return
        stack: list[str] = self._stacks.__dict__.setdefault("files", [])
        if event == "call":
            self._count(stack[-1] if stack else None, name)
            stack.append(name)
        elif stack:
            stack.pop()
            self._count(name, stack[-1] if stack else None)

    def _count(self, here: str | None, there: str | None) -> None:
        if here and there and here != there:
            self.moves[here, there] += 1

    @property
    def files(self) -> set[str]:
        """The files that were passed through."""
        return {name for pair in self.moves for name in pair}


def _ours(path: str) -> str | None:
    try:
        name = str(Path(path).relative_to(_ROOT))
    except ValueError:
        return None
    return name if name.startswith(_OURS) and name != _LOOP else None


def main() -> int:
    """Walk one job and print what it took."""
    with tempfile.TemporaryDirectory() as home, Stack(Home(Path(home) / "home")) as stack:
        databases = Databases(stack.endpoints)
        databases.prepare()
        simulator = Simulator(SimulatorConfig(time_scale=200, pixels=64))
        with simulator.serve() as simulated, databases.fresh() as url:
            _walk(settings_for(url, stack.endpoints, simulated.url, poll_first_seconds=0.3), stack.endpoints)
    return 0


def _walk(settings: Any, endpoints: Any) -> None:
    way_in, road = Walk(), Walk()
    with Client(settings=settings) as client:
        row = {"provider": "bloom", "prompt": "a lighthouse", "options": {"brand_session_id": BRAND}}
        del row["options"]
        client.enqueue([{**row, "prompt": "the first of all"}], batch="warm")
        with way_in.watched():
            client.enqueue([row], batch="walk")
    _print("on the way in", way_in)
    with runtime_for(settings, endpoints) as runtime:
        _follow(runtime, road, settings)
    _print("in the worker", road)


def _follow(runtime: Any, road: Walk, settings: Any) -> None:
    parcels: list[Parcel] = []
    dispatcher = Dispatcher(runtime, parcels.append, parcels.append)
    dispatcher._register()
    engine = open_engine(SecretStr(settings.database_url.get_secret_value()), application="walk", pool_size=1)
    rows.rows(
        engine,
        "UPDATE job SET state = 'cancelled', due_at = NULL, finished_at = now() WHERE custom_id IN "
        "(SELECT custom_id FROM job JOIN batch ON batch.id = batch_id WHERE name = 'warm') "
        "AND batch_id = (SELECT id FROM batch WHERE name = 'warm')",
    )
    due = "SELECT 1 AS due FROM job WHERE due_at <= now() AND due_at IS NOT NULL"
    left = "SELECT 1 AS due FROM job WHERE due_at IS NOT NULL"
    while rows.rows(engine, left):
        until(lambda: rows.rows(engine, due) or not rows.rows(engine, left))
        with road.watched():
            dispatcher.tick()
            taken, parcels[:] = list(parcels), []
            run_stage(runtime, *taken)
    (job,) = rows.rows(engine, "SELECT state FROM job JOIN batch ON batch.id = batch_id WHERE batch.name = 'walk'")
    assert job.state == "succeeded", job.state
    engine.dispose()


def _print(name: str, walk: Walk) -> None:
    sys.stdout.write(f"{name}: {len(walk.files)} files, {walk.moves.total()} moves\n")
    both: Counter[str] = Counter()
    for pair, count in walk.moves.items():
        both[" <-> ".join(sorted(pair))] += count
    for names, count in both.most_common(_SHOWN):
        sys.stdout.write(f"  {count:5}  {names}\n")


if __name__ == "__main__":
    sys.exit(main())
