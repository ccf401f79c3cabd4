"""The `genqueue` command, whose worker stops itself (SIGSTOP) between an intent's commit and its paid POST.

`stopping_worker.py FILE ARGUMENT...`: only while FILE is there, and it is taken away first: once.
"""

import signal
import sys
import threading
from pathlib import Path
from typing import Any

from ops.cli import main
from worker.transport.paid_post import PaidPost

_send = PaidPost.send


def stop_once(file: Path) -> None:
    if file.exists():
        file.unlink()
        # A signal to the process may be taken by another thread, while this one goes on and pays.
        signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)


def stopping_at(file: Path) -> Any:
    async def send(self: PaidPost, url: str, **given: Any) -> Any:
        stop_once(file)
        return await _send(self, url, **given)

    return send


if __name__ == "__main__":
    PaidPost.send = stopping_at(Path(sys.argv.pop(1)))  # type: ignore[method-assign]
    main()
