"""Lost calls of a key that was replaced: the list of another project may show them, and never proves their absence."""

import pytest

from ops.stack import Endpoints
from producer import Client
from shared.db.engine import Engine
from tests.support.lost import buy_later, fast_simulator, finish, look_up, lose, opened, row, until_lost
from tests.support.outcome import paid, paid_posts
from tests.support.usage import QUICK


@pytest.mark.parametrize("name", ["banatie", "bloom", "posteverywhere", "openrouter"])
def test_a_lost_call_of_the_key_before_is_held_whatever_the_new_keys_project_shows(
    name: str, client: Client, database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    """The new project's later purchases are no presence, and its 404s for everything older say nothing."""
    with fast_simulator().serve() as old, fast_simulator().serve() as new:
        with opened(database_url, endpoints, old, openrouter=QUICK) as runtime:
            client.enqueue([row(name, prompt=f"before {number}") for number in range(2)], batch="before")
            finish(client, runtime, batch="before")
            lose(old)
            client.enqueue([row(name, custom_id="lost")], batch="b", on_unknown="resend")
            until_lost(client, runtime, 1)
            assert paid(old) + (name == "openrouter") == paid_posts(old)
        changed = {"base_url": new.addresses()[name], "api_key": "sim-other"}
        changes = {"openrouter": QUICK, name: {**(QUICK if name == "openrouter" else {}), **changed}}
        with opened(database_url, endpoints, new, **changes) as runtime:
            buy_later(client, runtime, name)
            look_up(runtime, engine, name)
            assert finish(client, runtime) == {"in_doubt": 1}
            assert "key is not known to be the one that paid" in client.jobs("b")[0]["error"]
            assert paid_posts(new) == 1
