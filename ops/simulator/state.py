"""The simulator's memory across a restart: bill, balances, pictures, each wire's own state."""

import json
from collections.abc import Sequence
from pathlib import Path

from ops.simulator.exchange import SimulatedWire
from ops.simulator.world import World


def save_state(path: Path, world: World, wires: Sequence[SimulatedWire]) -> None:
    """Write the state to ``path``, whole or not at all."""
    document = {
        "bill": world.bill.as_json()["lines"],
        "balances": [[item.terms.provider, item.key, str(item.balance)] for item in world.accounts.all()],
        "seen": world.dump_seen(),
        "pictures": world.gallery.dump(),
        "wires": {wire.name: wire.dump() for wire in wires},
    }
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(path.suffix + ".tmp")
    draft.write_text(json.dumps(document, separators=(",", ":")))
    draft.replace(path)


def load_state(path: Path, world: World, wires: Sequence[SimulatedWire]) -> None:
    """Take over what ``save_state`` wrote; a file that does not exist yet is an empty state."""
    if not path.exists():
        return
    document = json.loads(path.read_text())
    world.bill.load(document["bill"])
    world.load_seen(document["seen"])
    world.gallery.load(document["pictures"])
    for provider, key, balance in document["balances"]:
        world.accounts.change(provider, key, {"balance": balance})
    for wire in wires:
        if wire.name in document["wires"]:
            wire.load(document["wires"][wire.name])
