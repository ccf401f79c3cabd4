"""The loop of a worker's stages, where uvloop is not as asyncio's own loop."""

import os
import subprocess
import sys
from typing import Final

# A process of its own: libuv reads the number of its threads once.
_LOOK_UP: Final = """
import asyncio, os
from worker import event_loop

async def look_up():
    before = len(os.listdir("/proc/self/task"))
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    return len(os.listdir("/proc/self/task")) - before

print(event_loop.run(look_up))
"""


def test_names_whose_servers_do_not_answer_leave_threads_for_the_look_ups_of_others() -> None:
    given = {name: value for name, value in os.environ.items() if name != "UV_THREADPOOL_SIZE"}
    seen = subprocess.run([sys.executable, "-c", _LOOK_UP], env=given, capture_output=True, text=True, check=True)
    assert int(seen.stdout) >= 60
