import subprocess
import sys
from typing import Final

_LOOK_UP: Final = """
import asyncio, os
from worker import event_loop

def threads():
    return len(os.listdir("/proc/self/task"))

async def work():
    before = threads()
    await asyncio.get_running_loop().getaddrinfo("localhost", 80)
    print(type(asyncio.get_running_loop()).__module__, threads() - before)

event_loop.run(work)
"""


def test_many_names_are_looked_up_at_once_so_that_dead_ones_do_not_hold_up_paid_calls() -> None:
    done = subprocess.run([sys.executable, "-c", _LOOK_UP], capture_output=True, text=True, check=True)
    loop, threads = done.stdout.split()
    assert loop == "uvloop"
    assert int(threads) == 32
