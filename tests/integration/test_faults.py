"""Each fault of docs/faults.md is brought about, and looked for in every place that the page names."""

import contextlib
import re
import socket
from collections.abc import Callable, Iterator, MutableMapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
import yaml
from pydantic import SecretStr
from structlog.testing import capture_logs

from ops.cli.checks.queue import of_queue
from ops.cli.checks.running import side_by_side
from ops.cli.checks.servers import of_servers
from ops.cli.metrics import registry_of
from ops.monitoring import collector
from ops.simulator import Simulator
from ops.stack import Endpoints
from producer import Client
from producer.cli.explain import _lines
from shared import alerts
from shared.account_settings import RateWindow
from shared.db import rate_windows, workers
from shared.db.engine import transaction
from shared.db.payments import drift
from shared.lifecycle import ImageState
from shared.problems import problems
from shared.settings import Settings
from tests.support import rows
from tests.support.drain import drain, on_loop, runtime_for
from tests.support.outcome import BLOOM, GETIMG, ended
from tests.support.s3_gate import S3Gate
from worker.claiming import Parcel
from worker.dispatch import Dispatcher
from worker.runtime import Runtime
from worker.upkeep import watching
from worker.upkeep.watching import Watch

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
ALWAYS = {"match": {"route": "submit"}, "times": None}
Cells = dict[str, str]


def table() -> dict[str, Cells]:
    """Return fault -> column -> cell, of the page's first table."""
    lines = [line.strip("| ").split(" | ") for line in PAGE.read_text().split("\n\n")[2].splitlines()]
    names = [name.strip("`") for name in lines[0]]
    return {row[0]: dict(zip(names[1:], row[1:], strict=True)) for row in lines[2:]}


@dataclass
class Scene:
    """A queue with a fault in it, and what was logged meanwhile."""

    settings: Settings
    endpoints: Endpoints
    simulated: Simulator
    monkeypatch: pytest.MonkeyPatch
    undo: contextlib.ExitStack
    logs: list[MutableMapping[str, Any]] = field(default_factory=list)
    job: str = "b/a"
    servers: dict[str, str] = field(default_factory=dict)
    """Settings by which doctor finds the servers, if they are others."""
    runtime: Runtime = field(init=False)
    client: Client = field(init=False)
    worker: str = ""

    def __post_init__(self) -> None:
        self.runtime = self.undo.enter_context(runtime_for(self.settings, self.endpoints))
        self.client = self.undo.enter_context(Client(settings=self.settings))

    def again(self, settings: Settings) -> None:
        """Work with other settings from now on."""
        self.settings = settings
        self.runtime = self.undo.enter_context(runtime_for(settings, self.endpoints))

    def serve(self, name: str = "w1", *, stuck: float = 0.0, windows: tuple[RateWindow, ...] = ()) -> None:
        """A worker that ticks, and serves Bloom."""
        self.worker = self.worker or name
        with transaction(self.runtime.engine) as connection:
            workers.heartbeat(connection, name=name, lock_key=1, slots=4, stuck_seconds=stuck)
        rows.register(self.runtime.engine, rows.account_row(windows=windows))

    def sql(self, statement: str) -> None:
        rows.rows(self.runtime.engine, statement)

    def tick(self, publish: Callable[[Parcel], None]) -> None:
        """Let a dispatcher tick twice: a fault of the first is told by the second."""
        dispatcher = Dispatcher(self.runtime, publish, publish)
        dispatcher._register()
        dispatcher.tick()
        dispatcher.tick()

    def look(self) -> None:
        """Look at the queue as its worker does, and tell all at once."""
        self.monkeypatch.setattr(alerts, "_PATIENCE", {})
        if self.worker:
            self.runtime.sender = type(self.runtime.sender)(self.worker, 1)
        on_loop(self.runtime, lambda: watching.look(self.runtime, Watch()))


Staging = Callable[[Scene], None]
STAGES: dict[str, Staging] = {}


def stages(fault: str) -> Callable[[Staging], Staging]:
    def keep(staging: Staging) -> Staging:
        STAGES[fault] = staging
        return staging

    return keep


def one_call(scene: Scene, **account: Any) -> Settings:
    """Return settings with one paid call at Bloom at a time."""
    bloom = scene.settings.accounts["bloom"].model_copy(update={"concurrency": 1, **account})
    changes = {"accounts": {**scene.settings.accounts, "bloom": bloom}, "failures_before_pause": 3}
    return scene.settings.model_copy(update=changes)


def until_paused(scene: Scene) -> None:
    jobs = [{**BLOOM, "custom_id": name} for name in ("1", "2", "3", "4", "5", "a")]
    scene.client.enqueue(jobs, batch="b")
    drain(scene.runtime, lambda: any(one["paused_at"] for one in scene.client.accounts()))
    scene.worker = scene.runtime.sender.name


@stages("the provider is down")
def provider_down(scene: Scene) -> None:
    scene.again(one_call(scene))
    scene.simulated.put_faults([{**ALWAYS, "fault": "error_5xx"}])
    until_paused(scene)


@stages("the key is refused")
def key_refused(scene: Scene) -> None:
    scene.again(one_call(scene, api_key=SecretStr("revoked")))
    until_paused(scene)


@stages("credits are out")
def no_credits(scene: Scene) -> None:
    scene.again(one_call(scene))
    scene.simulated.put_faults([{**ALWAYS, "fault": "402"}])
    until_paused(scene)


def bucket_behind(scene: Scene, do: Callable[[S3Gate], None]) -> None:
    gate = S3Gate(int(scene.endpoints.s3_endpoint_url.rpartition(":")[2]))
    scene.undo.enter_context(gate.serve())
    do(gate)
    changes = {"s3_endpoint_url": gate.url, "s3_timeout_seconds": 1.0, "store_wait_seconds": 0.0}
    scene.again(scene.settings.model_copy(update=changes))
    scene.servers = {"GENQUEUE_S3_ENDPOINT_URL": gate.url}
    scene.client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    drain(scene.runtime, lambda: bool(scene.client.status().troubles))
    scene.worker = scene.runtime.sender.name


@stages("the bucket is away")
def bucket_away(scene: Scene) -> None:
    bucket_behind(scene, S3Gate.refuse)


@stages("the bucket is frozen")
def bucket_frozen(scene: Scene) -> None:
    bucket_behind(scene, lambda gate: gate.slow(3600))


@stages("the bucket is full")
def bucket_full(scene: Scene) -> None:
    bucket_behind(scene, S3Gate.fill)


def broker_raises(scene: Scene, error: Exception) -> None:
    def publish(_parcel: Parcel) -> None:
        raise error

    scene.client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    scene.tick(publish)
    scene.worker = scene.runtime.sender.name


@stages("Redis is away")
def redis_away(scene: Scene) -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    scene.servers = {"GENQUEUE_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
    broker_raises(scene, ConnectionError(f"Error 111 connecting to 127.0.0.1:{port}. Connection refused."))


@stages("Redis is frozen")
def redis_frozen(scene: Scene) -> None:
    port = scene.undo.enter_context(socket.create_server(("127.0.0.1", 0))).getsockname()[1]
    scene.servers = {"GENQUEUE_BROKER_URL": f"redis://127.0.0.1:{port}/0"}
    broker_raises(scene, TimeoutError("Timeout reading from socket"))


@stages("no worker runs")
def no_worker(scene: Scene) -> None:
    scene.client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")


@stages("no worker has the key")
def no_key(scene: Scene) -> None:
    scene.client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b")
    scene.serve()
    scene.sql("UPDATE account SET seen_at = now() - interval '1 hour'")


@stages("a worker is silent")
def silent_worker(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve()
    scene.serve("w9")
    rows.claim(scene.runtime.engine, worker="w9")
    scene.sql("UPDATE worker SET last_tick_at = now() - interval '100 s' WHERE name = 'w9'")


@stages("a worker is stuck")
def stuck_worker(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve(stuck=100.0)


@stages("work stands still")
def no_progress(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve()
    scene.sql("UPDATE job SET due_at = now() - interval '10 minutes'")


@stages("a disk is nearly full")
def disk_low(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.monkeypatch.setattr(watching, "_ROOM_BYTES", 2**62)
    watching._look_at_disk(scene.runtime)
    scene.tick(lambda _parcel: None)
    scene.worker = scene.runtime.sender.name


@stages("a clock is off")
def clock_off(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    watching._look_at_clock(scene.runtime, 42.0)
    scene.tick(lambda _parcel: None)
    scene.worker = scene.runtime.sender.name


@stages("the provider took too much")
def drifted(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve()
    for balance in (Decimal(100), Decimal(90)):
        with transaction(scene.runtime.engine) as connection:
            drift.record(connection, "bloom", balance)


@stages("a balance runs low")
def low_balance(scene: Scene) -> None:
    rows.one_intent(scene.runtime.engine)
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve()
    scene.sql("UPDATE account SET balance = 0.001")


@stages("a job is held")
def held(scene: Scene) -> None:
    scene.simulated.put_faults([{"match": {"route": "submit"}, "fault": "reply_lost"}])
    scene.client.enqueue([{**GETIMG, "custom_id": "a"}], batch="b")
    drain(scene.runtime, ended(scene.client))
    scene.worker = scene.runtime.sender.name


@stages("a cap is reached")
def capped(scene: Scene) -> None:
    scene.client.enqueue([{**BLOOM, "custom_id": "a"}], batch="b", max_cost=["bloom=0.5"])
    drain(scene.runtime, ended(scene.client))
    scene.worker = scene.runtime.sender.name


@stages("a webhook is switched off")
def webhook_off(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve()
    scene.sql(
        "INSERT INTO endpoint (id, kind, url, types, disabled_at, disabled_code) "
        "VALUES ('01a22a3c-3ae6-73c7-a4b6-13750baab6dd', 'webhook', 'https://shop.example', '{}', now(), 'failing')"
    )


@stages("a link is about to expire")
def link_expires(scene: Scene) -> None:
    rows.transferring(scene.runtime.engine, ImageState.READY)
    scene.serve()
    scene.sql("UPDATE job SET link_expires_at = now() + interval '1 minute', custom_id = 'a'")


@stages("a window is exhausted")
def window_full(scene: Scene) -> None:
    rows.add(scene.runtime.engine, [rows.new_job("a")])
    scene.serve(windows=(RateWindow(requests=4, seconds=60),))
    with transaction(scene.runtime.engine) as connection:
        rate_windows.take(connection, "bloom", "submit", 4)


def test_every_fault_of_the_page_is_brought_about_here() -> None:
    assert set(STAGES) == set(table())


@contextmanager
def staged(scene: Scene, staging: Staging) -> Iterator[None]:
    """Bring a fault about, with everything that is logged of it."""
    with capture_logs() as logs:
        staging(scene)
        scene.look()
    scene.logs = list(logs)
    yield


@pytest.fixture
def scene(
    settings: Settings, endpoints: Endpoints, simulated: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Scene]:
    monkeypatch.setattr(collector, "FRESH_SECONDS", -1.0)
    with contextlib.ExitStack() as undo:
        yield Scene(settings, endpoints, simulated, monkeypatch, undo)


@pytest.mark.parametrize("fault", list(table()))
def test_a_fault_shows_in_every_place_that_the_page_names(fault: str, scene: Scene) -> None:
    cells = table()[fault]
    with staged(scene, STAGES[fault]):
        seen = {
            "log": _logged(scene, cells["log"]),
            "metric": _measured(scene, cells["metric"]),
            "alert": _alerted(cells["alert"], cells["status"]),
            "status": _in_status(scene, cells["status"]),
            "doctor": _in_doctor(scene, cells["doctor"]),
            "explain": _explained(scene, cells["explain"]),
        }
    assert {place: cell for place, cell in seen.items() if cell is not True} == {}


def _name(cell: str) -> str:
    return cell.strip("`")


def _logged(scene: Scene, cell: str) -> object:
    events = {line["event"] for line in scene.logs if line["log_level"] in {"warning", "error"}}
    return cell == "-" or _name(cell) in events or sorted(events)


def _measured(scene: Scene, cell: str) -> object:
    found = re.fullmatch(r'(\w+)\{(\w+)="(\w+)"\}', _name(cell))
    assert found is not None
    name, label, wanted = found.groups()
    families = registry_of(scene.runtime.engine).collect()
    samples = [one for family in families for one in family.samples if one.name == name]
    return any(one.labels.get(label) == wanted and one.value > 0 for one in samples) or samples


def _alerted(cell: str, status: str) -> object:
    if cell == "-":
        return True
    rules = yaml.safe_load((PAGE.parents[1] / "ops" / "monitoring" / "rules.yml").read_text())["groups"][0]["rules"]
    return any(rule["alert"] == _name(cell) and f'"{_name(status)}"' in rule["expr"] for rule in rules)


def _in_status(scene: Scene, cell: str) -> object:
    state = scene.client.status()
    if cell.startswith("why: "):
        return cell.removeprefix("why: ") in {line.wait.reason.value for line in state.lines}
    found = [problem.code for problem in problems(state)]
    return _name(cell) in found or found


def _in_doctor(scene: Scene, cell: str) -> object:
    here = {**scene.endpoints.environment(), "GENQUEUE_DATABASE_URL": scene.settings.database_url.get_secret_value()}
    for name, value in {**here, **scene.servers}.items():
        scene.monkeypatch.setenv(name, value)
    tried = of_queue(scene.settings, scene.client)
    if scene.servers:
        broker = scene.servers.get("GENQUEUE_BROKER_URL")
        settings = scene.settings.model_copy(update={"broker_url": SecretStr(broker)} if broker else {})
        servers = of_servers(settings)
        tried |= {name: servers[name] for name in ("bucket" if broker is None else "broker",)}
    found = {one.check for one in side_by_side(tried, 10.0) if one.rank < 2}
    return cell == "-" or _name(cell) in found or sorted(found)


def _explained(scene: Scene, cell: str) -> object:
    job = scene.client.find_job(scene.job)
    told = "\n".join(_lines({**scene.client.story(job), "wait": scene.client.why(job)}))
    return cell == "-" or cell in told or told
