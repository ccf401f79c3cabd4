"""What every page needs: who asks, where links lead, and a template."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from typing import Any, Final
from urllib.parse import quote, urlencode

from jinja2 import Environment
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from ops.dashboard.drafts import Drafts
from ops.dashboard.proxies import TrustedProxies
from ops.dashboard.reading import Reads
from ops.dashboard.sessions import Person, Right, Sessions
from ops.dashboard.thumbnails import Thumbnails
from shared.settings import Settings
from worker.transport.storage import Storage

Handler = Callable[[Request], Response]
_FORBIDDEN: Final = 403
_RIGHT_IN_WORDS: Final = {
    Right.SEE: "see these pages",
    Right.PICTURES: "see prompts and pictures",
    Right.MONEY: "see money",
    Right.HOOKS: "see webhooks",
    Right.OPERATE: "operate the queue",
    Right.SPEND: "do what may cost money",
    Right.ENQUEUE: "add jobs",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Dashboard:
    """The parts of a running dashboard."""

    reads: Reads
    sessions: Sessions
    storage: Storage | None
    thumbnails: Thumbnails
    templates: Environment
    settings: Settings | None
    """The settings for acts; None: this dashboard only reads."""
    drafts: Drafts
    proxies: TrustedProxies | None
    prefix: str
    label: str
    cookie: str
    secure: bool

    def url(self, path: str, **query: Any) -> str:
        """Return where a page is, with the prefix before it; parts of the query that are None are left out."""
        given = {name: value for name, value in query.items() if value is not None}
        return f"{self.prefix}{quote(path)}{'?' if given else ''}{urlencode(given, quote_via=quote)}"

    def require(self, request: Request, right: Right) -> Person | Response:
        """Return who is signed in, or the way to sign in. Raises `HTTPException` for somebody without the right."""
        person = self.person(request)
        if person is None:
            wanted = request.url.path.removeprefix(self.prefix) + f"?{request.url.query}".rstrip("?")
            back = wanted if request.method == "GET" and wanted != "/" else None
            return RedirectResponse(self.url("/sign-in", next=back), 303)
        refuse_unless(person, right)
        request.state.person = person
        return person

    def person(self, request: Request) -> Person | None:
        """Return who is signed in, by a session or by a trusted proxy."""
        found = self.sessions.person(request.cookies.get(self.cookie))
        return found or (self.proxies.person(request) if self.proxies else None)

    def owner(self, request: Request) -> str:
        """Return whose notices and drafts a request may see: a session's secret word, or a name that a proxy gave."""
        word = request.cookies.get(self.cookie, "")
        if self.sessions.person(word) is not None:
            return word
        named = self.proxies.person(request) if self.proxies else None
        return f"proxy {named.name}" if named else ""


def of(request: Request) -> Dashboard:
    """Return the dashboard that serves a request."""
    found: Dashboard = request.app.state.dashboard
    return found


def person_of(request: Request) -> Person:
    """Return who is signed in, on a page that only opens for somebody who is."""
    found: Person = request.state.person
    return found


def refuse_unless(person: Person, right: Right) -> None:
    """Raise `HTTPException` for somebody without a right."""
    if not person.may(right):
        raise HTTPException(_FORBIDDEN, f"{person.name} may not {_RIGHT_IN_WORDS[right]}")


def needs(right: Right) -> Callable[[Handler], Handler]:
    """Open a page only for people with a right. Others are asked to sign in, or told what they lack."""

    def wrap(handler: Handler) -> Handler:
        @wraps(handler)
        def guarded(request: Request) -> Response:
            person = of(request).require(request, right)
            return person if isinstance(person, Response) else handler(request)

        return guarded

    return wrap


def context(dashboard: Dashboard, person: Person | None, here: str, query: Mapping[str, str]) -> dict[str, Any]:
    """Return what every template is given; `here` is the page's path without the prefix."""
    return {
        "url": dashboard.url,
        "label": dashboard.label,
        "person": person,
        "here": here,
        "query": query,
        "notices": (),
    }


def render(request: Request, template: str, code: int = 200, **values: Any) -> HTMLResponse:
    """Return a page made from a template."""
    dashboard = of(request)
    here = request.url.path.removeprefix(dashboard.prefix)
    given = context(dashboard, dashboard.person(request), here, request.query_params)
    given["notices"] = dashboard.sessions.said(dashboard.owner(request))
    return HTMLResponse(dashboard.templates.get_template(template).render(given | values), code)


def problem(request: Request, status: int, message: str) -> Response:
    """Return a page that says what is wrong."""
    return render(request, "problem.html", status, status=status, message=message)
