"""A route without the library's way to its parameters: solving five dependencies costs as much as adding the job."""

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import Request
from fastapi.routing import APIRoute
from starlette.responses import Response

from producer.api.access import Caller, Needs
from producer.api.bodies import json_object
from producer.api.problems import ProblemError
from producer.api.waiting import wanted_seconds
from shared.tokens import Scope

MOST_KEY: Final = 255
"""Characters of an `Idempotency-Key`."""
_WRITES: Final = Needs(Scope.JOBS_WRITE)
_Add = Callable[[Request, Caller, dict[str, Any], int, str | None], Awaitable[Response]]


class DirectRoute(APIRoute):
    """Reads what `add_job` declares, in the order in which FastAPI would; the declaration stays what OpenAPI shows."""

    def get_route_handler(self) -> Callable[[Request], Awaitable[Response]]:  # type: ignore[override] # no coroutine
        """Return what answers a request."""
        add: _Add = self.endpoint

        async def handle(request: Request) -> Response:
            caller = await _WRITES(request)
            body = await json_object(request)
            seconds = wanted_seconds(request.headers.get("prefer"))
            return await add(request, caller, body, seconds, _key(request))

        return handle


def _key(request: Request) -> str | None:
    """Return the key that becomes a custom_id; raises `ProblemError` for one that can be read in two ways."""
    given = set(request.headers.getlist("idempotency-key"))
    if len(given) > 1:
        raise _wrong_key("is there twice, with two values")
    found = given.pop() if given else None
    if found is not None and len(found) > MOST_KEY:
        raise _wrong_key(f"String should have at most {MOST_KEY} characters")
    if found is not None and not found.isascii():
        raise _wrong_key("must be ASCII, as headers have no encoding: give the custom_id in the body")
    return found


def _wrong_key(detail: str) -> ProblemError:
    fault = {"field": "header.idempotency-key", "detail": detail}
    return ProblemError("request_invalid", more={"errors": [fault]})
