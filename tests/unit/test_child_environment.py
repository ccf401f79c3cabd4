"""Which variables a child of the supervisor gets: what it needs, and no secret of another."""

from dataclasses import fields

import pytest

from ops.stack import Endpoints
from ops.stack.child_environment import API, FLOWER, SIMULATOR, WORKER, reduced
from shared.settings import load

SECRETS = {
    "GENQUEUE_BLOOM_API_KEY": "key", "GENQUEUE_ACCOUNTS__TWO__API_KEY": "key", "GENQUEUE_DATABASE_URL": "password",
    "GENQUEUE_BROKER_URL": "password", "AWS_SECRET_ACCESS_KEY": "secret", "FLOWER_BASIC_AUTH": "u:p",
    "GENQUEUE_WEBHOOK_KEY": "key", "GITHUB_TOKEN": "token", "PGPASSWORD": "password",
}  # fmt: skip
ORDINARY = {"PATH": "/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "PYTHONPATH": "/src"}


def secrets_of(needs: tuple[str, ...]) -> set[str]:
    given = reduced({**SECRETS, **ORDINARY}, needs)
    assert given.items() >= ORDINARY.items()
    return given.keys() - ORDINARY.keys()


def test_a_simulator_gets_no_secret_and_flower_the_brokers_alone() -> None:
    assert secrets_of(SIMULATOR) == set()
    assert secrets_of(FLOWER) == {"GENQUEUE_BROKER_URL", "FLOWER_BASIC_AUTH"}


def test_a_worker_gets_its_accounts_and_servers_and_nobody_elses_secrets() -> None:
    assert SECRETS.keys() - secrets_of(WORKER) == {"FLOWER_BASIC_AUTH", "GITHUB_TOKEN"}
    assert "https_proxy" in reduced({"https_proxy": "http://p"}, WORKER)


def test_the_api_gets_the_database_and_the_bucket_and_no_providers_key() -> None:
    given = {"GENQUEUE_DATABASE_URL", "AWS_SECRET_ACCESS_KEY", "PGPASSWORD", "GENQUEUE_WEBHOOK_KEY"}
    assert secrets_of(API) == given
    assert "GENQUEUE_OPENROUTER_PRICES" in reduced({"GENQUEUE_OPENROUTER_PRICES": "a=1"}, API)


@pytest.mark.parametrize("needs", [WORKER, API], ids=["worker", "api"])
def test_what_a_stack_makes_reaches_its_children(needs: tuple[str, ...]) -> None:
    made = Endpoints(**{field.name: "x" * 44 for field in fields(Endpoints)}).environment()
    ways = {"NO_PROXY"} if needs is API else set[str]()
    broker = {"GENQUEUE_BROKER_URL"} if needs is API else set[str]()
    assert made.keys() - reduced(made, needs).keys() == ways | broker


def test_webhooks_can_be_added_with_the_settings_of_an_api_that_a_stack_starts(monkeypatch: pytest.MonkeyPatch) -> None:
    made = Endpoints(**{field.name: "x" * 44 for field in fields(Endpoints)}).environment()
    for name, value in reduced(made, API).items():
        monkeypatch.setenv(name, value)
    assert load().webhook_key.get_secret_value() == made["GENQUEUE_WEBHOOK_KEY"]
