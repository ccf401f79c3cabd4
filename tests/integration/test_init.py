"""`genqueue init`: a key that the provider accepts is written where only its owner reads it; another one is not."""

import stat
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from ops.simulator import Simulator
from tests.support.command import Ran, genqueue

Run = Callable[..., Ran]
KEY = b"sim-test\n"


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return lambda *arguments, key=KEY: genqueue("init", *arguments, env={}, cwd=tmp_path, stdin=key)


def written(tmp_path: Path) -> dict[str, dict[str, str]]:
    accounts: dict[str, dict[str, str]] = tomllib.loads((tmp_path / "genqueue.toml").read_text())["accounts"]
    return accounts


def test_accounts_are_added_one_by_one_and_the_rest_of_the_file_stays(
    run: Run, simulated: Simulator, tmp_path: Path
) -> None:
    (tmp_path / "genqueue.toml").write_text("# ours\nworker_slots = 8\n")
    bloom = ("--provider", "bloom", "--base-url", f"{simulated.url}/bloom/api/v1")
    added = run(*bloom, "--daily-cap", "5")
    assert added.code == 0, added.err
    assert "Bloom accepts the key" in added.err
    assert "sim-test" not in added.out + added.err
    assert run(*bloom, "--account", "second key").code == 0
    text = (tmp_path / "genqueue.toml").read_text()
    assert text.startswith("# ours\nworker_slots = 8\n\n[accounts.bloom]\n")
    assert stat.S_IMODE((tmp_path / "genqueue.toml").stat().st_mode) == 0o600
    assert written(tmp_path) == {
        "bloom": {"api_key": "sim-test", "base_url": bloom[-1], "daily_cap": "5"},
        "second key": {"provider": "bloom", "api_key": "sim-test", "base_url": bloom[-1]},
    }
    again = run(*bloom)
    assert again.code == 2
    assert "there is an account bloom already" in again.err


def test_a_key_that_the_provider_refuses_is_not_written_unless_told(
    run: Run, simulated: Simulator, tmp_path: Path
) -> None:
    getimg = ("--provider", "getimg", "--base-url", f"{simulated.url}/getimg")
    refused = run(*getimg, key=b"not-a-key\n")
    assert refused.code == 1, refused.err
    assert "nothing was written" in refused.err
    assert not (tmp_path / "genqueue.toml").exists()
    assert run(*getimg, "--no-check", key=b"not-a-key\n").code == 0
    assert written(tmp_path)["getimg"]["api_key"] == "not-a-key"


@pytest.mark.parametrize(
    ("arguments", "key", "words"),
    [
        ((), KEY, "name the provider with --provider"),
        (("--provider", "blom"), KEY, "did you mean bloom?"),
        (("--provider", "bloom"), b"", "standard input has no key"),
        (("--provider", "bloom", "--daily-cap", "much"), KEY, "daily_cap"),
    ],
)
def test_what_cannot_be_an_account_is_said_in_one_line(
    run: Run, arguments: tuple[str, ...], key: bytes, words: str
) -> None:
    ran = run(*arguments, key=key)
    assert ran.code == 2
    assert words in ran.err
    assert "Traceback" not in ran.err
