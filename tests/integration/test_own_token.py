"""The token that `genqueue up` leaves in a home: made once, readable by its owner alone, made anew once it is dead."""

from pathlib import Path

import pytest

from ops.own_token import own_token
from ops.stack import Home
from producer import Client
from shared.settings import load


def test_a_home_has_a_living_token_that_only_its_owner_reads(
    database_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GENQUEUE_DATABASE_URL", database_url)
    file = own_token(Home(tmp_path))
    first = file.read_text()
    assert file.stat().st_mode & 0o777 == 0o600
    assert own_token(Home(tmp_path)).read_text() == first
    with Client(settings=load()) as client:
        assert client.find_token(first.strip()) is not None
        client.revoke_token("up")
        second = own_token(Home(tmp_path)).read_text()
        assert second != first
        found = client.find_token(second.strip())
        assert found is not None
        assert found.alive
