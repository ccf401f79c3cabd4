"""Simulators to test against, and clients for them."""

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx
import pytest

from ops.simulator import AccountConfig, BloomSettings, GetimgSettings, Simulator, SimulatorConfig

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
        accounts=(
            AccountConfig(provider="bloom", key="banned", banned=True),
            AccountConfig(provider="bloom", key="no-plan", forbidden=True),
            AccountConfig(provider="bloom", key="free", plan="free"),
            AccountConfig(provider="bloom", key="unpaid", payment_required=True),
            AccountConfig(provider="bloom", key="poor", balance=0),
            AccountConfig(provider="bloom", key="hurried", requests_per_minute=0),
            AccountConfig(provider="getimg", key="banned", banned=True),
            AccountConfig(provider="getimg", key="poor", balance=0),
            AccountConfig(provider="getimg", key="hurried", requests_per_minute=0),
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
def bloom(shared_sim: Simulator) -> Iterator[httpx.Client]:
    """A client of the shared simulator's Bloom, with a key."""
    with httpx.Client(base_url=shared_sim.bloom_url, headers={"x-api-key": "sim-a"}, timeout=10) as client:
        yield client


@pytest.fixture
def submission() -> Callable[..., dict[str, Any]]:
    """Build the body of a valid Bloom submit."""

    def build(prompt: str = "a lighthouse", **extra: Any) -> dict[str, Any]:
        return {"prompt": prompt, "brandSessionId": READY_BRAND, **extra}

    return build
