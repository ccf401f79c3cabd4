"""Settings: from where, what goes first, and one clear error for whatever is wrong."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from shared.account_settings import RateWindow, parse_windows
from shared.settings import Settings, SettingsError, load

SECRET = "planted-secret"
BRAND = "11111111-1111-4111-8111-111111111111"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory without a settings file, and an environment without settings."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def env(monkeypatch: pytest.MonkeyPatch) -> Any:
    def put(**variables: str) -> None:
        for name, value in variables.items():
            monkeypatch.setenv(f"GENQUEUE_{name}", value)

    return put


def toml(text: str) -> None:
    Path("genqueue.toml").write_text(text, "utf-8")


def complaint() -> str:
    with pytest.raises(SettingsError) as caught:
        load()
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert SECRET not in str(caught.value)
    return str(caught.value)


def test_everything_has_a_default() -> None:
    assert load() == Settings()
    assert load().accounts == {}


def test_a_providers_own_variables_make_the_account_named_like_it(env: Any) -> None:
    env(BLOOM_API_KEY=SECRET, BLOOM_LIMITS="120/minute, 1000/hour", BLOOM_CONCURRENCY="3", BLOOM_BRAND_SESSION_ID=BRAND)
    (account,) = load().accounts.values()
    assert (account.provider, account.concurrency, account.brand_session_id) == ("bloom", 3, BRAND)
    assert account.api_key is not None
    assert account.api_key.get_secret_value() == SECRET
    assert account.limits == (RateWindow(requests=120, seconds=60), RateWindow(requests=1000, seconds=3600))


def test_further_accounts_have_nested_variables(env: Any) -> None:
    env(ACCOUNTS__SECOND__PROVIDER="getimg", ACCOUNTS__SECOND__API_KEY=SECRET, ACCOUNTS__SECOND__LIMITS="5/second")
    env(ACCOUNTS__SECOND__BASE_URL="http://127.0.0.1:9/getimg/", ACCOUNTS__SECOND__TIMEOUT_SECONDS="1.5")
    env(ACCOUNTS__SECOND__PRICES="a/model=0.035,other=0.1")
    account = load().accounts["second"]
    assert account.prices == {"a/model": Decimal("0.035"), "other": Decimal("0.1")}
    assert (account.provider, account.limits) == ("getimg", (RateWindow(requests=5, seconds=1),))
    assert (account.base_url, account.timeout_seconds) == ("http://127.0.0.1:9/getimg", 1.5)


def test_an_account_named_like_a_provider_needs_no_provider(env: Any) -> None:
    env(ACCOUNTS__GETIMG__API_KEY=SECRET)
    toml("[accounts.bloom]\nconcurrency = 2")
    assert {name: account.provider for name, account in load().accounts.items()} == {
        "bloom": "bloom",
        "getimg": "getimg",
    }


def test_the_file_gives_what_the_environment_does_not(env: Any) -> None:
    toml(
        'tick_seconds = 3\nworker_slots = 4\n[accounts.bloom]\napi_key = "from-file"\nlimits = "7/day"\nconcurrency = 5'
    )
    env(TICK_SECONDS="2", BLOOM_API_KEY="from-env", ACCOUNTS__BLOOM__CONCURRENCY="6")
    settings = load()
    account = settings.accounts["bloom"]
    assert (settings.tick_seconds, settings.worker_slots) == (2, 4)
    assert account.api_key is not None
    assert (account.api_key.get_secret_value(), account.concurrency) == ("from-env", 6)
    assert account.limits == (RateWindow(requests=7, seconds=86_400),)


def test_overrides_go_before_both(env: Any) -> None:
    toml("tick_seconds = 3")
    env(TICK_SECONDS="2")
    assert load(tick_seconds=1).tick_seconds == 1


def test_an_empty_variable_counts_as_not_set(env: Any) -> None:
    toml("tick_seconds = 3")
    env(TICK_SECONDS="", BLOOM_CONCURRENCY="", BLOOM_API_KEY="", ACCOUNTS__GETIMG__LIMITS="")
    settings = load()
    assert (settings.tick_seconds, settings.accounts) == (3, {})


def test_a_key_is_freed_of_the_line_end_that_a_file_gave_it(env: Any) -> None:
    env(BLOOM_API_KEY=f" {SECRET}\n")
    key = load().accounts["bloom"].api_key
    assert key is not None
    assert key.get_secret_value() == SECRET


@pytest.mark.parametrize(
    ("text", "windows"),
    [
        ("", ()),
        ("none", ()),
        ("1/second", ((1, 1),)),
        (" 120/minute ,1000/hour,", ((120, 60), (1000, 3600))),
        ("5/day", ((5, 86_400),)),
    ],
)
def test_limits_are_read(text: str, windows: tuple[tuple[int, int], ...]) -> None:
    assert parse_windows(text) == tuple(RateWindow(requests=r, seconds=s) for r, s in windows)


def test_no_limit_of_ours_differs_from_the_documented_ones(env: Any) -> None:
    env(BLOOM_LIMITS="none", GETIMG_CONCURRENCY="1")
    accounts = load().accounts
    assert (accounts["bloom"].limits, accounts["getimg"].limits) == ((), None)


@pytest.mark.parametrize(
    "limits", ["120", "120/min", "-1/minute", "0/minute", "1.5/hour", "x/hour", "1/hour;2/day", "²/day"]
)
def test_limits_that_cannot_be_read_are_named(env: Any, limits: str) -> None:
    env(BLOOM_LIMITS=limits)
    assert complaint().startswith("GENQUEUE_BLOOM_LIMITS: ") or "GENQUEUE_BLOOM_LIMITS" in complaint()


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("TICK_SECONDS", "soon", "valid number"),
        ("TICK_SECONDS", "0", "greater than 0"),
        ("TICK_SECONDS", "nan", "finite"),
        ("DEADLINE_SECONDS", "inf", "finite"),
        ("WORKER_SLOTS", "1", "at least 2|greater than or equal to 2"),
        ("LOG_LEVEL", "loud", "'debug', 'info'"),
        ("VERIFY_DECODE", "perhaps", "valid boolean"),
        ("BLOOM_API_KEY", f"{SECRET} with spaces", "printable ASCII"),
        ("BLOOM_API_KEY", f"{SECRET}€", "printable ASCII"),
        ("BLOOM_BASE_URL", f"https://me:{SECRET}@host/", "without user"),
        ("BLOOM_BASE_URL", "ftp://host/", "http"),
        ("BLOOM_BASE_URL", "https://host/?a=b", "query"),
        ("BLOOM_BASE_URL", "https://host:99999/", "http"),
        ("BLOOM_BRAND_SESSION_ID", "my brand", "UUID"),
        ("BLOOM_CONCURRENCY", "many", "integer"),
        ("BLOOM_TIMEOUT_SECONDS", "0", "greater than 0"),
        ("ACCOUNTS__MAIN__PROVIDER", "midjourney", "known: "),
        ("ACCOUNTS__BLOOM__LIMTS", "1/day", "no such setting"),
        ("ACCOUNTS__MAIN", SECRET, "dictionary"),
        ("ACCOUNTS", f"{{{SECRET}", "JSON"),
    ],
)
def test_a_wrong_value_is_one_error_that_names_the_setting(env: Any, variable: str, value: str, says: str) -> None:
    env(**{variable: value})
    message = complaint()
    assert f"GENQUEUE_{variable}" in message
    assert any(part in message for part in says.split("|"))


def test_a_further_account_without_a_provider_is_told_so(env: Any) -> None:
    env(ACCOUNTS__MAIN__API_KEY=SECRET)
    assert complaint() == "GENQUEUE_ACCOUNTS__MAIN__PROVIDER: Field required"


def test_every_wrong_setting_is_named_where_it_was_written(env: Any) -> None:
    toml('colour = "blue"\npoll_max_seconds = "long"\n[accounts.getimg]\nconcurrency = 0')
    env(BLOOM_CONCURRENCY="0", TICK_SECONDS="x", ACCOUNTS__MAIN__PROVIDER="x")
    message = complaint()
    for name in (
        "colour in genqueue.toml: there is no such setting",
        "poll_max_seconds in genqueue.toml: ",
        "accounts.getimg.concurrency in genqueue.toml: ",
        "GENQUEUE_BLOOM_CONCURRENCY: ",
        "GENQUEUE_TICK_SECONDS: ",
        "GENQUEUE_ACCOUNTS__MAIN__PROVIDER: ",
    ):
        assert name in message


def test_a_file_that_is_no_toml_is_an_error_with_its_line() -> None:
    toml(f'[accounts.bloom]\napi_key = "{SECRET}')
    assert complaint().startswith("genqueue.toml: is not TOML: ")


def test_a_file_that_is_no_text_is_an_error() -> None:
    Path("genqueue.toml").write_bytes(b"\xff\xfe")
    assert complaint() == "genqueue.toml: cannot be read (UnicodeDecodeError)"


def test_secrets_print_as_stars(env: Any) -> None:
    env(BLOOM_API_KEY=SECRET, DATABASE_URL=f"postgresql://u:{SECRET}@h/d", BROKER_URL=f"redis://:{SECRET}@h")
    assert SECRET not in f"{load()} {load()!r} {load().model_dump()} {load().model_dump_json()}"
