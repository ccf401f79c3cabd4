"""Accounts at all five providers of one simulator, with windows that never bind."""

from typing import Any

from tests.support.drain import BRAND


def five_accounts(url: str) -> dict[str, dict[str, Any]]:
    """Return account settings by name; one key for all."""
    base = {
        "banatie": f"{url}/banatie",
        "bloom": f"{url}/bloom/api/v1",
        "getimg": f"{url}/getimg",
        "openrouter": f"{url}/openrouter/api/v1",
        "posteverywhere": f"{url}/posteverywhere/api/v1",
    }
    common = {"api_key": "sim-test", "timeout_seconds": 5, "limits": "none", "quiet_seconds": 0.2}
    accounts: dict[str, dict[str, Any]] = {
        name: {"provider": name, "base_url": where, **common} for name, where in base.items()
    }
    accounts["bloom"]["brand_session_id"] = BRAND
    for name in ("getimg", "openrouter"):
        accounts[name]["allow_unknown_price"] = True
    return accounts
