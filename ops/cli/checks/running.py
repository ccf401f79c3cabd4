"""A check and its finding, and how checks are run: side by side, each for a bounded time."""

import queue
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar, cast

from ops.cli.join import adopted
from ops.stack import Home
from shared.db.engine import DatabaseUnavailableError
from shared.db.schema import SchemaError
from shared.settings import load

SECONDS: Final = 5.0
"""The time of each check; they run side by side."""
_OWN: Final = {"broker": "redis", "bucket": "s3", "database": "postgres"}
"""Check -> the server of a home's own stack that it asks."""


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check: whether it passed, what was seen, and what to do if it failed.

    `look`: nothing is broken, but a person has to decide something.
    """

    check: str
    ok: bool
    seen: str
    do: str = ""
    look: bool = False

    @property
    def rank(self) -> int:
        """0 for what is broken, 1 for what a person should look at, 2 for what is well."""
        return 2 if self.ok and not self.look else int(self.ok)


Check = Callable[[], Iterable[Finding]]
T = TypeVar("T")


def side_by_side(checks: Mapping[str, Check], seconds: float = SECONDS) -> Iterator[Finding]:
    """Run every check in a thread of its own, and yield findings as they come.

    A check that says nothing for `seconds` is a finding itself; its thread is left behind.
    """
    said: queue.Queue[tuple[str, list[Finding]]] = queue.Queue()
    for name, check in checks.items():
        threading.Thread(target=lambda n=name, c=check: said.put((n, _tried(n, c))), daemon=True).start()
    waited, end = set(checks), time.monotonic() + seconds
    while waited:
        try:
            name, findings = said.get(timeout=max(end - time.monotonic(), 0.01))
        except queue.Empty:
            break
        waited.discard(name)
        yield from findings
    for name in sorted(waited):
        yield Finding(
            name,
            ok=False,
            seen=f"no answer within {seconds:.0f} s",
            do=how_to_start(name, "it is frozen or overloaded"),
        )


def within(seconds: float | None, work: Callable[[], T]) -> T:
    """Return what `work` returns, or raise what it raises; raise `TimeoutError` and leave it behind after `seconds`."""
    done: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue()

    def run() -> None:
        try:
            done.put((work(), None))
        except BaseException as error:  # noqa: BLE001 - raised again where it is waited for
            done.put((None, error))

    threading.Thread(target=run, daemon=True).start()
    try:
        result, error = done.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError from None
    if error is not None:
        raise error
    return cast("T", result)


def _tried(name: str, check: Check) -> list[Finding]:
    """Run one check. A fault that it does not foresee is its finding: the other checks go on."""
    try:
        return list(check())
    except (DatabaseUnavailableError, SchemaError) as error:
        do = how_to_start("database", "start PostgreSQL, or correct GENQUEUE_DATABASE_URL")
        return [Finding(name, ok=False, seen=str(error), do=do)]
    except Exception as error:  # noqa: BLE001 - a message may hold values that are secret
        return [Finding(name, ok=False, seen=f"the check itself failed ({type(error).__name__})", do="report it")]


def how_to_start(check: str, otherwise: str) -> str:
    """Say what brings a server back: nobody needs to start what a living `genqueue up` starts again by itself."""
    if not adopted():
        return otherwise
    home = Home(load().home)
    if not home.supervised():
        return "start everything: genqueue up"
    log = f"; its log says why it ended: {home.log(_OWN[check])}" if check in _OWN else ""
    return f"wait: `genqueue up` runs and starts it again by itself{log}"
