"""What the broker's URL may say: each form as Celery and redis-py take it, and why another is refused."""

import pytest

from shared.broker_url import parse, place
from shared.settings import SettingsError, load

SECRET = "hidden-word"


@pytest.mark.parametrize(
    ("url", "celery", "plain"),
    [
        (f"redis://u:{SECRET}@h:6379/1", f"redis://u:{SECRET}@h:6379/1", f"redis://u:{SECRET}@h:6379/1"),
        ("rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none", "rediss://h/0?ssl_cert_reqs=none"),
        ("unix:///run/a b.sock", "redis+socket:///run/a%20b.sock?virtual_host=0", "unix:///run/a%20b.sock?db=0"),
        ("unix:///r.sock?db=3", "redis+socket:///r.sock?virtual_host=3", "unix:///r.sock?db=3"),
        ("redis+socket:///r.sock?virtual_host=3", "redis+socket:///r.sock?virtual_host=3", "unix:///r.sock?db=3"),
    ],
)
def test_each_client_gets_its_own_form_of_the_same_address(url: str, celery: str, plain: str) -> None:
    assert parse(url)[:2] == (celery, plain)


def test_sentinels_are_named_apart_from_the_password_of_their_primary() -> None:
    found = parse(f"sentinel://u:{SECRET}@one;sentinel://[::2]:2/3?master_name=ours")
    assert found.celery == f"sentinel://u:{SECRET}@one:26379/3"
    assert found.sentinels is not None
    assert tuple(found.sentinels) == ((("one", 26379), ("::2", 2)), "ours", "u", SECRET, 3)
    assert found.sentinels.urls == ("sentinel://one:26379", "sentinel://[::2]:2")


@pytest.mark.parametrize(
    ("url", "words"),
    [
        (f"amqp://u:{SECRET}@h", "begin it with one of redis://"),
        (SECRET, "begin it with one of redis://"),
        (f"unix://:{SECRET}@/r.sock", "a Unix socket takes no user, password or host"),
        (f"unix:///r.sock?db={SECRET}", "the database of a Redis is a number"),
        (f"redis://h;redis://:{SECRET}@i", "name one server"),
        (f"sentinel://:{SECRET}@h;sentinel://i/0", "say which primary the Sentinels watch"),
        (f"sentinel://:{SECRET}@h;redis://i/0?master_name=m", "write each Sentinel as sentinel://HOST:PORT"),
    ],
)
def test_another_is_refused_with_what_to_write_and_without_its_secret(url: str, words: str) -> None:
    with pytest.raises(SettingsError) as refused:
        load(broker_url=url)
    assert words in str(refused.value)
    assert "GENQUEUE_BROKER_URL" in str(refused.value)
    assert SECRET not in str(refused.value)


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (f"redis://u:{SECRET}@h:6379/1", "redis://h/1", True),
        ("redis://localhost", "redis://127.0.0.1:6379/0", True),
        ("redis://h", "rediss://h/0", True),
        ("redis://h/0", "redis://h/1", False),
        ("redis://h", "redis://h:6380", False),
        ("unix:///r.sock", "redis+socket:///r.sock?virtual_host=0", True),
        ("unix:///r.sock", "unix:///r.sock?db=1", False),
        (f"sentinel://:{SECRET}@a;sentinel://b?master_name=m", "sentinel://b;sentinel://a?master_name=m", True),
    ],
)
def test_two_urls_are_one_place_if_they_name_one_database_of_one_server(one: str, other: str, *, same: bool) -> None:
    assert (place(one) == place(other)) is same
