"""The application: its routes, and one form for every failure."""

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match

from producer.api import about, accounts, actions, batches, choosing, events, images, jobs, webhooks
from producer.api.access import Needs, SeenTokens
from producer.api.doors import ApiDoors, LinkError
from producer.api.gate import Gate, request_id
from producer.api.orders import Orders
from producer.api.problems import HANDLED, MEDIA_TYPE, PROBLEMS, ProblemError, as_problem, problem_response
from shared.tokens import Scope

_ROUTERS: Final = (
    jobs.router,
    batches.router,
    events.router,
    images.router,
    actions.router,
    choosing.router,
    webhooks.router,
    accounts.router,
    about.router,
)
_NO_PATH: Final = 404
_NO_METHOD: Final = 405
_PROBLEM: Final[dict[str, Any]] = {
    "type": "object",
    "required": ["type", "title", "status", "code", "detail", "request_id"],
    "properties": {
        "type": {"type": "string", "description": "a path of this API that says what the code means"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "enum": list(PROBLEMS)},
        "detail": {"type": "string"},
        "request_id": {"type": "string", "description": "stands in the log of the API too"},
        "count": {"type": "integer", "description": "faults in all"},
        "errors": {"type": "array", "items": {"type": "object"}, "description": "the first hundred faults"},
    },
}


def create_app(doors: ApiDoors) -> FastAPI:
    """Return the API as an ASGI application."""
    app = _routed()
    app.state.doors = doors
    app.state.tokens = SeenTokens(doors)
    app.state.orders = Orders(doors.client)
    app.state.waiters = 0
    app.state.streams = Counter()
    app.state.uploads = None  # made by the first upload, inside the event loop
    for kind in HANDLED:
        app.add_exception_handler(kind, _ours)
    app.add_exception_handler(LinkError, _no_link)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _refused)
    app.add_middleware(Gate, is_own_host=doors.is_own_host)
    return app


def openapi_document() -> dict[str, Any]:
    """Return the contract, as `/v1/openapi.json` serves it."""
    return _openapi(_routed())


def endpoints() -> Iterator[tuple[APIRoute, Scope | None, bool]]:
    """Yield each route with the scope that its caller needs, and whether it needs a token at all."""
    for router in _ROUTERS:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            found = [one.call for one in route.dependant.dependencies if isinstance(one.call, Needs)]
            yield route, found[0].scope if found else None, bool(found)


def _routed() -> FastAPI:
    app = FastAPI(
        title="genqueue",
        version="1",
        description="Jobs, batches and results of an image generation queue.",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,  # a redirect has no problem document, and a POST may lose its body on the way
        openapi_url="/v1/openapi.json",
        responses={"4XX": _described("Refused"), "5XX": _described("Failed; nothing is lost by sending it again")},
    )
    for router in _ROUTERS:
        app.include_router(router)
    app.openapi = lambda: _openapi(app)  # type: ignore[method-assign] # how FastAPI is given an own document
    return app


def _described(what: str) -> dict[str, Any]:
    return {"description": what, "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}}


def _openapi(app: FastAPI) -> dict[str, Any]:
    if app.openapi_schema is None:
        document = FastAPI.openapi(app)
        document.setdefault("components", {}).setdefault("schemas", {})["Problem"] = _PROBLEM
        document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"token": []}]
        app.openapi_schema = document
    return app.openapi_schema


async def _ours(request: Request, error: Exception) -> Response:
    problem = as_problem(error)
    assert problem is not None
    return problem_response(problem, request_id(request))


async def _no_link(request: Request, error: Exception) -> Response:
    return problem_response(ProblemError("links_unavailable", str(error)), request_id(request))


async def _invalid(request: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    faults = [{"field": ".".join(map(str, one["loc"])), "detail": one["msg"]} for one in error.errors()]
    return problem_response(ProblemError("request_invalid", more={"errors": faults}), request_id(request))


async def _refused(request: Request, error: Exception) -> Response:
    """Word what the router or the server's library refuses."""
    assert isinstance(error, HTTPException)
    if error.status_code == _NO_METHOD:
        problem = ProblemError("method_not_allowed", headers={"Allow": ", ".join(sorted(_methods(request)))})
    else:
        problem = ProblemError("no_such_path" if error.status_code == _NO_PATH else "bad_request")
    return problem_response(problem, request_id(request))


def _methods(request: Request) -> set[str]:
    """Return all methods of the path: each route knows only its own."""
    every = (route for router in _ROUTERS for route in router.routes if isinstance(route, APIRoute))
    found = (route for route in every if route.matches(request.scope)[0] is Match.PARTIAL)
    return {method for route in found for method in route.methods or ()}
