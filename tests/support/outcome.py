"""What a batch came to, seen from outside: its jobs' ends, the simulator's bill, and what was asked of it."""

from collections.abc import Callable
from typing import Any

from ops.simulator import Simulator
from producer import Client
from producer.client import is_settled

BLOOM = {"provider": "bloom", "prompt": "a quiet harbour"}
GETIMG = {"provider": "getimg", "model": "seedream-5-lite", "prompt": "a quiet harbour"}


def ended(client: Client, batch: str = "b") -> Callable[[], bool]:
    return lambda: is_settled(client.totals(batch))


def paid(simulated: Simulator) -> int:
    """How many submissions the simulator has charged for."""
    return sum(int(count) for count in simulated.counters()["accepted"].values())


def paid_posts(simulated: Simulator) -> int:
    """How many paying requests arrived whole, whatever became of them."""
    return sum(int(count) for count in simulated.counters()["paid_posts"].values())


def ends(client: Client, batch: str = "b") -> dict[str, tuple[str, str | None]]:
    """Each job's state and code by its custom_id."""
    return {row["custom_id"]: (row["state"], row["error_code"]) for row in client.jobs(batch, limit=1000)}


def only(client: Client, batch: str = "b") -> dict[str, Any]:
    """The story of the batch's one job."""
    (row,) = client.jobs(batch)
    return client.story(row["id"])
