"""What the catalog says of a provider and what its wire can do are the same thing."""

import pytest
from pydantic import SecretStr

from shared import catalog
from worker.providers import WireSettings, wire_for
from worker.transport.api_get import ApiGet
from worker.transport.paid_post import PaidPost


@pytest.mark.parametrize("name", catalog.names())
def test_a_provider_can_be_asked_again_exactly_if_its_wire_polls(name: str) -> None:
    provider = catalog.get(name)
    post = PaidPost(timeout_seconds=1, connect_seconds=1)
    get = ApiGet(timeout_seconds=1, connect_seconds=1)
    wire = wire_for(name, WireSettings(provider.base_url, SecretStr("key"), post, get))
    assert provider.is_polled == (wire.poll_page > 0)
