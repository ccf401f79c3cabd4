"""Several rotations of a webhook's secret within a day: each secret signs for a day after it was replaced."""

import pytest

from producer import Client
from shared.db.engine import Engine, transaction
from shared.db.webhooks import deliveries
from tests.integration.test_webhooks import add, cancelled, over, send, settings, shop
from tests.support import rows
from tests.support.receiver import Receiver
from worker.runtime import Runtime

__all__ = ["settings", "shop"]  # fixtures


def test_a_secret_that_was_replaced_twice_in_a_day_verifies_still(
    client: Client, engine: Engine, runtime: Runtime, shop: Receiver
) -> None:
    other = add(client, shop, "job.held")
    made = add(client, shop, "job.cancelled")
    client.rotate_webhook(str(other.id))
    secrets = [made.secret, *(client.rotate_webhook(str(made.id)) for _ in range(2))]
    cancelled(client)
    send(runtime, over(engine))
    for secret in secrets:
        assert shop.got[0].verified(secret.get_secret_value())["type"] == "job.cancelled"
    assert len(shop.got[0].headers["webhook-signature"].split()) == 3


@pytest.mark.parametrize(("hours", "signing"), [((0, 1), 3), ((0, 25), 2), ((25, 26), 1)])
def test_a_secret_signs_for_a_day_after_it_was_replaced(
    client: Client, engine: Engine, shop: Receiver, hours: tuple[int, int], signing: int
) -> None:
    made = add(client, shop, "job.cancelled")
    for _ in hours:
        client.rotate_webhook(str(made.id))
    aged = """UPDATE audit SET at = at - CAST(:hours AS integer) * interval '1 hour'
      WHERE id = (SELECT id FROM audit WHERE terms LIKE 'rotate %' ORDER BY id DESC OFFSET :place LIMIT 1)"""
    for place, before in enumerate(hours):
        rows.rows(engine, aged, hours=before, place=place)
    ago = "UPDATE endpoint SET rotated_at = rotated_at - CAST(:hours AS integer) * interval '1 hour'"
    rows.rows(engine, ago, hours=hours[0])
    cancelled(client)
    with transaction(engine) as connection:
        (one,) = deliveries.claim(connection, most=1, each=1)
    assert len(one.rotations) == signing - 1


def test_a_rotation_that_the_audit_lacks_counts_as_one(client: Client, engine: Engine, shop: Receiver) -> None:
    made = add(client, shop, "job.cancelled")
    client.rotate_webhook(str(made.id))
    rows.rows(engine, "DELETE FROM audit")
    cancelled(client)
    with transaction(engine) as connection:
        (one,) = deliveries.claim(connection, most=1, each=1)
    assert len(one.rotations) == 1
