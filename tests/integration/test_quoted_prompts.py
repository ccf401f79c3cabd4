"""A provider that quotes a prompt in what it says brings it into no log, alert or reason of a pause."""

import json
from typing import Any

import pytest
from structlog.testing import capture_logs

from ops.stack import Endpoints
from shared.db.engine import Engine
from tests.integration.test_costs import MODEL, working
from tests.support import rows
from tests.support.drain import BRAND, drain
from tests.support.http_stub import provider
from tests.support.outcome import ends

PROMPT = 'Anna\'s "secret" harbour at dawn,\nwith twelve boats & a lighthouse'
POSTS: dict[str, tuple[str, dict[str, Any]]] = {
    "bloom": ("POST /images/generations", {"brand_session_id": BRAND}),
    "getimg": ("POST /v2/images/generations", {"prices": {MODEL: "0.04"}}),
    "openrouter": ("POST /images", {"prices": {MODEL: "0.04"}}),
    "posteverywhere": ("POST /ai/generate-image", {}),
    "banatie": ("POST /api/v1/generations", {}),
}
SAID = f"cannot draw '{PROMPT}', nor {json.dumps(PROMPT[:40])}"
STATES = {500: "in_doubt", 401: "queued"}


def whole(value: Any) -> bool:
    words = "".join(one for one in str(value).replace("\\n", " ") if one.isalnum())
    return "Annassecret" in words or "harbouratdawn" in words


@pytest.mark.parametrize("status", STATES)
@pytest.mark.parametrize("name", POSTS)
def test_an_error_of_a_paid_call_that_quotes_the_prompt(
    name: str, status: int, database_url: str, endpoints: Endpoints, engine: Engine
) -> None:
    route, account = POSTS[name]
    error = {"code": "X", "message": SAID}
    body = {"success": False, "error": error, "status": status, **error}
    row = {"provider": name, "prompt": PROMPT, "custom_id": "a"}
    model = {"posteverywhere": "flux-schnell", "getimg": MODEL, "openrouter": MODEL}.get(name)
    with (
        capture_logs() as logs,
        provider({route: (status, body)}) as stub,
        working(stub, name, database_url, endpoints, **account) as (client, runtime),
    ):
        client.enqueue([{**row, "model": model} if model else row], batch="b")
        drain(runtime, lambda: route in stub.asked and ends(client)["a"][0] == STATES[status])
        drain(runtime, lambda: bool(_told(logs)))
    kept = rows.rows(engine, "SELECT error FROM submission"), rows.rows(engine, "SELECT paused_reason FROM account")
    assert "cannot draw" in str(kept)
    assert not whole(kept)
    assert not [line for line in logs if whole(line)]


def _told(logs: Any) -> list[Any]:
    return [line for line in logs if "cannot draw" in str(line.get("said"))]


def test_a_refusal_of_a_look_that_quotes_the_prompt(database_url: str, endpoints: Endpoints, engine: Engine) -> None:
    routes = {
        "POST /images/generations": (202, {"data": {"ids": ["I0"], "status": "pending"}}),
        "GET /images/I0": (401, {"code": "UNAUTHORIZED", "status": 401, "message": SAID}),
        "GET /credits": {"data": {"balance": 100}},
    }
    with (
        capture_logs() as logs,
        provider(routes) as stub,
        working(stub, "bloom", database_url, endpoints, brand_session_id=BRAND) as (client, runtime),
    ):
        client.enqueue([{"provider": "bloom", "prompt": PROMPT, "custom_id": "a"}], batch="b")
        drain(runtime, lambda: bool(_told(logs)))
    (account,) = rows.rows(engine, "SELECT paused_reason FROM account")
    assert "cannot draw" in account.paused_reason
    assert not whole(account)
    assert not [line for line in logs if whole(line)]
