"""Simulators to test against, and clients for them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from typing import Any

import httpx
import pytest
from openrouter import OpenRouter
from openrouter.utils import BackoffStrategy, RetryConfig

from ops.simulator import (
    AccountConfig,
    BanatieSettings,
    BloomSettings,
    GetimgSettings,
    OpenRouterSettings,
    PostEverywhereSettings,
    Simulator,
    SimulatorConfig,
)

READY_BRAND = "11111111-1111-4111-8111-111111111111"

StartSimulator = Callable[..., Simulator]


@pytest.fixture(scope="session")
def base_config() -> SimulatorConfig:
    """Fast, small, and without the rate limits that most tests are not about."""
    return SimulatorConfig(
        time_scale=200,
        seed=1,
        pixels=96,
        bloom=BloomSettings(requests_per_minute=None),
        getimg=GetimgSettings(requests_per_minute=None),
        openrouter=OpenRouterSettings(latency=(4, 9)),
        posteverywhere=PostEverywhereSettings(
            requests_per_minute=None, requests_per_hour=None, generations_per_hour=None
        ),
        banatie=BanatieSettings(requests_per_hour=None, latency=(4, 9)),
        accounts=(
            AccountConfig(provider="bloom", key="banned", banned=True),
            AccountConfig(provider="bloom", key="no-plan", forbidden=True),
            AccountConfig(provider="bloom", key="free", plan="free"),
            AccountConfig(provider="bloom", key="unpaid", payment_required=True),
            AccountConfig(provider="bloom", key="poor", balance=Decimal(0)),
            AccountConfig(provider="bloom", key="hurried", requests_per_minute=0),
            AccountConfig(provider="getimg", key="banned", banned=True),
            AccountConfig(provider="getimg", key="poor", balance=Decimal(0)),
            AccountConfig(provider="getimg", key="hurried", requests_per_minute=0),
            AccountConfig(provider="openrouter", key="banned", banned=True),
            AccountConfig(provider="openrouter", key="no-permission", forbidden=True),
            AccountConfig(provider="openrouter", key="poor", balance=Decimal("0.0001")),
            AccountConfig(provider="openrouter", key="limited", spending_limit=Decimal("0.0001")),
            AccountConfig(provider="openrouter", key="hurried", requests_per_minute=0),
            AccountConfig(provider="posteverywhere", key="banned", banned=True),
            AccountConfig(provider="posteverywhere", key="no-scope", forbidden=True),
            AccountConfig(provider="posteverywhere", key="poor", balance=Decimal(3)),
            AccountConfig(provider="posteverywhere", key="unpaid", payment_required=True),
            AccountConfig(provider="posteverywhere", key="hurried", requests_per_minute=0),
            AccountConfig(provider="banatie", key="banned", banned=True),
            AccountConfig(provider="banatie", key="master", forbidden=True),
            AccountConfig(provider="banatie", key="unpaid", payment_required=True),
            AccountConfig(provider="banatie", key="hurried", requests_per_hour=0),
        ),
    )


@pytest.fixture(scope="session")
def shared_sim(base_config: SimulatorConfig) -> Iterator[Simulator]:
    """One simulator for all tests that leave faults and settings alone."""
    with Simulator(base_config).serve() as sim:
        yield sim


@pytest.fixture
def start(base_config: SimulatorConfig) -> Iterator[StartSimulator]:
    """Start a simulator of one's own; keyword arguments replace settings of ``SimulatorConfig``."""
    with contextlib.ExitStack() as stack:

        def starter(**settings: Any) -> Simulator:
            return stack.enter_context(Simulator(replace(base_config, **settings)).serve())

        yield starter


@pytest.fixture(scope="session")
def web() -> Iterator[httpx.Client]:
    """An HTTP client that follows nothing and knows no key; one for all, since its TLS set-up takes 30 ms."""
    with httpx.Client(timeout=10) as client:
        yield client


@pytest.fixture(scope="session")
def shape() -> Callable[[Any], Any]:
    """Reduce JSON to its keys and types; ``null`` says nothing about a type, so it matches anything."""

    def of(value: Any) -> Any:
        if isinstance(value, dict):
            return {name: of(item) for name, item in value.items()}
        if isinstance(value, list):
            return [of(item) for item in value[:1]]
        return _Anything() if value is None else type(value).__name__

    return of


class _Anything:
    def __eq__(self, other: object) -> bool:
        return True

    def __hash__(self) -> int:
        return 0


@pytest.fixture(scope="session")
def bloom(shared_sim: Simulator) -> Iterator[httpx.Client]:
    """A client of the shared simulator's Bloom, with a key."""
    with httpx.Client(base_url=shared_sim.bloom_url, headers={"x-api-key": "sim-a"}, timeout=10) as client:
        yield client


@pytest.fixture
def openrouter(web: httpx.Client) -> Callable[..., OpenRouter]:
    """Build the vendor's SDK for a simulator, strict as it is and without the retries that it would make."""

    def connected(sim: Simulator, key: str = "sim-a") -> OpenRouter:
        never = RetryConfig("none", BackoffStrategy(0, 0, 1, 0), retry_connection_errors=False)
        return OpenRouter(api_key=key, server_url=sim.openrouter_url, timeout_ms=10_000, retry_config=never, client=web)

    return connected


@pytest.fixture
def submission() -> Callable[..., dict[str, Any]]:
    """Build the body of a valid Bloom submit."""

    def build(prompt: str = "a lighthouse", **extra: Any) -> dict[str, Any]:
        return {"prompt": prompt, "brandSessionId": READY_BRAND, **extra}

    return build
