"""Names under which a server without a password answers: its own and addresses, never one that a web page chose."""

import pytest

from ops.hosts import is_known


@pytest.mark.parametrize("host", ["127.0.0.1:5555", "LOCALHOST:1", "[::1]:80", "192.0.2.7", "Own.Name:443"])
def test_its_own_names_and_every_address_are_known(host: str) -> None:
    assert is_known(host, {"own.name"})


@pytest.mark.parametrize("host", ["", "rebound.example", "localhost.example:80", "127.0.0.1.example", "[own]"])
def test_any_other_is_not(host: str) -> None:
    assert not is_known(host, {"own.name"})
