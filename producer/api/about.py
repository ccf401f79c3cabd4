"""What the API says of itself: whether it works, and what its problem codes mean."""

from typing import Any, Final

from fastapi import APIRouter, Request
from starlette.responses import JSONResponse, Response

from producer.api.doors import ApiDoors
from producer.api.problems import PROBLEMS, ProblemError

router = APIRouter(tags=["about"])
_OPEN: Final[dict[str, Any]] = {"security": []}
"""These need no token."""


@router.get("/healthz", openapi_extra=_OPEN)
async def healthz() -> dict[str, str]:
    """Say that the process answers; asks nothing of the database."""
    return {"status": "ok"}


@router.get("/readyz", openapi_extra=_OPEN)
def readyz(request: Request) -> dict[str, str]:
    """Say that the database answers with a schema that this version can use."""
    doors: ApiDoors = request.app.state.doors
    doors.client.ping()
    return {"status": "ready"}


@router.get("/v1/problems", openapi_extra=_OPEN)
async def problems() -> Response:
    """List every code of a problem document."""
    listed = [{"code": code, "status": status, "title": title} for code, (status, title) in PROBLEMS.items()]
    return JSONResponse({"items": listed})


@router.get("/v1/problems/{code}", openapi_extra=_OPEN)
async def problem(code: str) -> Response:
    """Return what a code means: where the `type` of a problem document leads."""
    if code not in PROBLEMS:
        raise ProblemError("no_such_path", "there is no such code")
    status, title = PROBLEMS[code]
    return JSONResponse({"code": code, "status": status, "title": title})
