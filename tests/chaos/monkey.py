"""Carries out a plan of breakage on a running site, one action after another, and undoes what is over."""

import random
import signal
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from functools import partial
from math import inf
from typing import Final
from uuid import UUID

from pydantic import SecretStr

from shared.broker import create_app
from shared.db.engine import DatabaseUnavailableError
from shared.db.jobs.transitions import Claim
from shared.lifecycle import Stage
from tests.chaos.ground import ChaosSite
from tests.chaos.plan import WORKERS, Action
from tests.e2e.site import delete_redis_data
from worker.claiming import Parcel
from worker.tasks import publisher

_PATIENCE_SECONDS: Final = 3.0  # for a gap that no job of this provider passes; then for one that nobody passes
_SLOW_SECONDS: Final = 0.5
_CLAIMED: Final = """
SELECT id, epoch, account, state FROM job WHERE claimed_by IS NOT NULL AND due_at > now() ORDER BY id LIMIT 200
"""
_OPEN: Final = "SELECT id FROM job WHERE due_at IS NOT NULL ORDER BY id DESC LIMIT 50"
_CANCELLED_AT_ONCE: Final = 2
_TICKS: Final = "SELECT 1 FROM worker WHERE name = %s AND slots > 0"
_STAGE: Final = {
    "queued": Stage.SUBMIT,
    "submitting": Stage.SUBMIT,
    "pending": Stage.POLL,
    "processing": Stage.POLL,
    "transferring": Stage.TRANSFER,
}


@dataclass
class Monkey:
    """Does what is due of `actions` each time `step` is called with the share of jobs that have settled."""

    site: ChaosSite
    actions: Sequence[Action]
    say: Callable[[str], None]
    done: Counter[str] = field(default_factory=Counter)
    cancelled: set[UUID] = field(default_factory=set)
    """Jobs whose cancelling was asked for."""
    _next: int = 0
    _undo: list[tuple[float, float, Callable[[], None]]] = field(default_factory=list)
    """What ends an outage: at a monotonic time or at a share of the jobs, whichever comes first."""
    _hosts_away: Counter[str] = field(default_factory=Counter)
    _waiting: tuple[float, Action] | None = None

    def step(self, settled: float) -> None:
        """Undo what is over, then do the next action if its moment has come and its victim is there."""
        self._end_what_is_over(settled)
        if self._waiting:
            self._await_crash(*self._waiting)
            return
        if self._next < len(self.actions) and settled >= self.next_at:
            action = self._aimed(self.actions[self._next])
            if action is not None:
                self._next += 1
                self._do(action)

    @property
    def next_at(self) -> float:
        """The share of jobs at which the next action is due; 1 once all are done."""
        return self.actions[self._next].at if self._next < len(self.actions) else 1.0

    def make_whole(self) -> None:
        """End every outage now: the run is over."""
        for *_, undo in self._undo:
            undo()
        self._undo.clear()
        self.site.points.disarm()

    def _aimed(self, action: Action) -> Action | None:
        """Return the action with a victim that holds work, another than planned where need be; None where none does."""
        ready = [name for name in WORKERS if self._has_settled_in(name)]
        if not ready or action.target not in WORKERS:
            return action if ready else None
        return action if action.target in ready else replace(action, target=ready[0])

    def _has_settled_in(self, name: str) -> bool:
        """Tell whether the worker claims: one that has just started holds nothing that could be lost."""
        sender = self.site.sender(self.site.process(name).pid) if self.site.alive(name) else None
        return sender is not None and bool(self.site.asked(_TICKS, sender))

    def _do(self, action: Action) -> None:
        self.say(str(action))
        if action.kind == "crash":
            self.site.points.arm(*action.target.split("."))
            self._waiting = (time.monotonic() + _PATIENCE_SECONDS, action)
            return
        self.done[action.kind] += 1
        self._means()[action.kind](action)

    def _means(self) -> dict[str, Callable[[Action], None]]:
        site = self.site
        return {
            "kill": lambda action: site.stack.kill(action.target),
            "terminate": lambda action: site.stack.kill(action.target, signal.SIGTERM),
            "stop": self._stop,
            "redis wiped": self._wipe_redis,
            "redis flushed": self._flush_redis,
            "redis restarted": lambda _: self._restart("redis", hard=True),
            "postgres killed": lambda _: self._restart("postgres", hard=True),
            "postgres restarted": lambda _: self._restart("postgres", hard=False),
            "bucket refuses": lambda action: self._for(action, site.gate.refuse, site.gate.open),
            "bucket full": lambda action: self._for(action, site.gate.fill, site.gate.open),
            "bucket slow": lambda action: self._for(action, partial(site.gate.slow, _SLOW_SECONDS), site.gate.open),
            "network cut": lambda _: self._cut(),
            "network stalled": lambda action: self._for(action, site.network.stall, site.network.flow),
            "messages doubled": lambda _: self._double_messages(),
            "cancel": lambda _: self._cancel(),
            "image host away": lambda action: self._for(
                action, partial(self._host_goes, action.target, 1), partial(self._host_goes, action.target, -1)
            ),
            **dict.fromkeys((lie.kind for lie in self.actions if lie.settings), self._lie),
        }

    def _for(self, action: Action, begin: Callable[[], None], end: Callable[[], None]) -> None:
        begin()
        self._undo.append((time.monotonic() + action.seconds, inf, end))

    def _lie(self, action: Action) -> None:
        """Have a simulated provider say something wrong of itself until the action's share of the jobs."""
        simulator, provider = self.site.simulator, action.target
        honest = {name: getattr(getattr(simulator.config, provider), name) for name in action.settings}
        simulator.put_settings({provider: dict(action.settings)})
        self._undo.append((inf, action.until, lambda: simulator.put_settings({provider: honest})))

    def _host_goes(self, provider: str, more: int) -> None:
        self._hosts_away[provider] += more
        away = [name for name, times in self._hosts_away.items() if times]
        script = [
            {"match": {"provider": name, "route": "download"}, "fault": "refuse_503", "times": None} for name in away
        ]
        self.site.simulator.put_script(script)

    def _end_what_is_over(self, settled: float) -> None:
        now = time.monotonic()
        over = [row for row in self._undo if row[0] <= now or row[1] <= settled]
        self._undo = [row for row in self._undo if row not in over]
        for *_, undo in over:
            undo()

    def _await_crash(self, until: float, action: Action) -> None:
        """Wait for a worker to die in the gap; where no such job passes it, any may, and at last a worker is killed."""
        points, late = self.site.points, time.monotonic() > until
        if not points.armed():
            self.done["crash"] += 1
            self._waiting = None
        elif late and action.target.endswith(".any"):
            points.disarm()
            self._waiting = None
            if instead := self._aimed(Action(action.at, "kill", WORKERS[0])):
                self._do(instead)
        elif late:
            points.disarm()
            self._do(replace(action, target=f"{action.target.partition('.')[0]}.any"))

    def _stop(self, action: Action) -> None:
        process = self.site.process(action.target)
        process.send(signal.SIGSTOP)
        self._undo.append((time.monotonic() + action.seconds, inf, lambda: process.send(signal.SIGCONT)))

    def _restart(self, name: str, *, hard: bool) -> None:
        if hard:
            self.site.stack.kill(name)
        self.site.stack.restart(name)

    def _wipe_redis(self, _: Action) -> None:
        self.site.stack.kill("redis")
        delete_redis_data(self.site.stack.home.path)
        self.site.stack.restart("redis")

    def _flush_redis(self, _: Action) -> None:
        with self.site.redis() as client:
            client.flushall()

    def _cut(self) -> None:
        self.done["connections cut"] += self.site.network.cut()

    def _cancel(self) -> None:
        """Cancel a few jobs wherever they stand, as a person who has changed their mind."""
        rows = self.site.asked(_OPEN) or []
        some = random.Random(len(rows)).sample(rows, min(len(rows), _CANCELLED_AT_ONCE))
        with suppress(DatabaseUnavailableError):
            for (job,) in some:
                self.cancelled.add(job)
                self.site.client.cancel(job=job)
                self.done["jobs cancelled"] += 1

    def _double_messages(self) -> None:
        """Send again what workers have been sent and hold just now, as a broker that delivers twice would."""
        rows = self.site.asked(_CLAIMED) or []
        publish = publisher(create_app(SecretStr(self.site.stack.endpoints.broker_url)))
        random.Random(len(rows)).shuffle(rows)
        for job, epoch, account, state in rows:
            if state in _STAGE:
                publish(Parcel(_STAGE[state], account, (Claim(job, epoch),)))
                self.done["messages sent again"] += 1
