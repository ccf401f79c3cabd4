"""Gives memory back to the machine once a worker rests after work."""

from typing import Final

import anyio

from worker import memory
from worker.runtime import Runtime

_LOOK_SECONDS: Final = 10.0


async def return_memory(runtime: Runtime) -> None:
    """Return free memory ten to twenty seconds after the last parcel, until cancelled."""
    returned_at = seen = 0
    while True:
        await anyio.sleep(_LOOK_SECONDS)
        if seen == runtime.parcels != returned_at:
            await runtime.in_thread(memory.give_back)
            returned_at = seen
        seen = runtime.parcels
