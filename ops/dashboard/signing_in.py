"""Signing in with a token, and signing out."""

from typing import Final
from urllib.parse import parse_qsl

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ops.dashboard.page import of, render
from ops.dashboard.sessions import SESSION_SECONDS, TooManyTriesError

_FORM_BYTES: Final = 64 * 1024


async def fields(request: Request, most_bytes: int = _FORM_BYTES) -> dict[str, str]:
    """Return the fields of a posted form of at most `most_bytes`, each once.

    Raises `HTTPException` for what is no form, or too large.
    """
    if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
        raise HTTPException(415, "this is not a form")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > most_bytes:
            raise HTTPException(413, "this form is too large")
    try:
        return dict(parse_qsl(body.decode(), keep_blank_values=True, strict_parsing=bool(body), max_num_fields=1000))
    except ValueError:
        raise HTTPException(400, "this form cannot be read") from None


def form(request: Request) -> Response:
    """Show the form that asks for a token."""
    return render(request, "sign_in.html", wrong="", after=own_path(request.query_params.get("next")))


async def sign_in(request: Request) -> Response:
    """Begin a session, and go on to the page that was asked for."""
    dashboard, given = of(request), await fields(request)
    after = own_path(given.get("next"))
    try:
        word = await run_in_threadpool(dashboard.sessions.sign_in, given.get("token", "").strip())
    except TooManyTriesError:
        return render(request, "sign_in.html", 429, wrong="Too many tries: wait a minute.", after=after)
    if word is None:
        return render(request, "sign_in.html", 403, wrong="This token is not known.", after=after)
    answer = RedirectResponse(f"{dashboard.prefix}{after}", 303)
    answer.set_cookie(
        dashboard.cookie,
        word,
        max_age=SESSION_SECONDS,
        path=f"{dashboard.prefix}/",
        secure=dashboard.secure,
        httponly=True,
        samesite="strict",
    )
    return answer


def sign_out(request: Request) -> Response:
    """End the session."""
    dashboard = of(request)
    dashboard.sessions.sign_out(request.cookies.get(dashboard.cookie))
    answer = RedirectResponse(dashboard.url("/sign-in"), 303)
    answer.delete_cookie(dashboard.cookie, path=f"{dashboard.prefix}/")
    return answer


def own_path(wanted: str | None) -> str:
    """Return a path of ours to go to; whatever could lead to another site becomes the first page."""
    is_own = wanted is not None and wanted.startswith("/") and wanted[1:2] not in ("/", "\\") and wanted.isprintable()
    return wanted if wanted is not None and is_own else "/"
