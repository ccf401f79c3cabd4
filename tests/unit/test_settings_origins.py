"""What `doctor` shows of the settings: each with its origin, and no secret."""

from pathlib import Path
from typing import Any

import pytest

from shared.account_settings import AccountSettings
from shared.setting_origins import SettingOrigin, UnknownVariable, origins, unknown_variables
from shared.settings import Settings, load

SECRET = "planted-secret"


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(name, value)

    return put


def shown() -> dict[str, SettingOrigin]:
    return {origin.name: origin for origin in origins(load())}


def test_every_setting_is_listed_with_its_description() -> None:
    listed = origins(load())
    assert [origin.name for origin in listed] == [
        f"GENQUEUE_{name}".upper() for name in Settings.model_fields if name != "accounts"
    ]
    assert all(origin.origin == "default" and origin.description for origin in listed)


def test_each_origin_is_named(env: Any) -> None:
    Path("genqueue.toml").write_text("tick_seconds = 3\npoll_max_seconds = 9\n[accounts.bloom]\nlimits = '7/day'")
    env(GENQUEUE_TICK_SECONDS="2", GENQUEUE_BLOOM_CONCURRENCY="4", GENQUEUE_ACCOUNTS__SPARE__PROVIDER="getimg")
    found = {name: (origin.shown, origin.origin) for name, origin in shown().items()}
    assert found["GENQUEUE_TICK_SECONDS"] == ("2.0", "environment")
    assert found["poll_max_seconds in genqueue.toml"] == ("9.0", "genqueue.toml")
    assert found["GENQUEUE_POLL_FIRST_SECONDS"] == ("2.0", "default")
    assert found["GENQUEUE_BLOOM_CONCURRENCY"] == ("4", "environment")
    assert found["accounts.bloom.limits in genqueue.toml"] == ("7/day", "genqueue.toml")
    assert found["GENQUEUE_ACCOUNTS__SPARE__PROVIDER"] == ("getimg", "environment")
    assert found["GENQUEUE_ACCOUNTS__SPARE__CONCURRENCY"] == ("", "default")


def test_every_field_of_every_account_is_listed(env: Any) -> None:
    env(GENQUEUE_BLOOM_API_KEY=SECRET, GENQUEUE_GETIMG_API_KEY=SECRET)
    plain = len(Settings.model_fields) - 1
    assert len(origins(load())) == plain + 2 * len(AccountSettings.model_fields)


def test_accounts_given_as_json_come_from_the_environment(env: Any) -> None:
    env(GENQUEUE_ACCOUNTS='{"spare": {"provider": "getimg", "concurrency": 3}}')
    found = shown()
    assert found["GENQUEUE_ACCOUNTS__SPARE__CONCURRENCY"][1:3] == ("3", "environment")
    assert found["GENQUEUE_ACCOUNTS__SPARE__LIMITS"].origin == "default"


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        (f"postgresql://me:{SECRET}@db.example:5432/genqueue", "postgresql://me:**********@db.example:5432/genqueue"),
        (f"postgresql://db.example/genqueue?password={SECRET}", "postgresql://db.example/genqueue?**********"),
        (f"redis://:{SECRET}@cache.example:6379/0", "redis://:**********@cache.example:6379/0"),
        (f"host=db.example password={SECRET}", "**********"),
        (f"postgresql://[{SECRET}", "**********"),
        ("postgresql://db.example/genqueue", "postgresql://db.example/genqueue"),
    ],
)
def test_a_url_is_shown_without_its_password(env: Any, url: str, expected: str) -> None:
    env(GENQUEUE_DATABASE_URL=url)
    assert shown()["GENQUEUE_DATABASE_URL"].shown == expected


def test_no_secret_is_shown(env: Any) -> None:
    env(GENQUEUE_BLOOM_API_KEY=SECRET, GENQUEUE_S3_ENDPOINT_URL=f"https://me:{SECRET}@s3.example")
    assert SECRET not in str(origins(load()))
    assert shown()["GENQUEUE_BLOOM_API_KEY"].shown == "**********"
    assert shown()["GENQUEUE_BROKER_URL"].shown == ""


def test_a_variable_that_sets_nothing_is_named_with_the_one_that_was_meant(env: Any) -> None:
    env(GENQUEUE_BLOM_API_KEY=SECRET, GENQUEUE_TICK_SECOND="1", GENQUEUE_QQQQ="1", GENQUEUE_BLOOM_PROVIDER="bloom")
    env(GENQUEUE_BLOOM_API_KEY=SECRET, GENQUEUE_TICK_SECONDS="1", genqueue_log_level="info", OTHER_VARIABLE="1")
    found = unknown_variables(load())
    assert set(found) >= {
        UnknownVariable("GENQUEUE_BLOM_API_KEY", "GENQUEUE_BLOOM_API_KEY"),
        UnknownVariable("GENQUEUE_TICK_SECOND", "GENQUEUE_TICK_SECONDS"),
        UnknownVariable("GENQUEUE_QQQQ", None),
    }
    assert len(found) == 4
    assert SECRET not in str(found)
