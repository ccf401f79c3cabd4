"""A new batch: drop a prompt file, see its plan or its faults, send a sample of it, then all of it."""

import shlex
from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ops.dashboard.acting import client_of
from ops.dashboard.drafts import FORMATS, MOST_BYTES, SAMPLE, Draft, DraftError, DraftTerms
from ops.dashboard.page import needs, of, person_of, refuse_unless, render
from ops.dashboard.sessions import Person, Right
from ops.dashboard.signing_in import fields
from producer.cli.plan import money_range
from producer.client import InvalidRowsError
from producer.money import CapError
from producer.plan.document import without_sums
from producer.plan.times import duration
from producer.prompts import PromptFileError
from shared import catalog
from shared.db.jobs.enqueue import EnqueueConflictError
from shared.db.tokens import TokenCapError
from shared.prompt_rows.ways import FORM

_FAULTS: Final = 200
_PASTED: Final = "pasted"
_WRONG: Final = (DraftError, CapError, PromptFileError, EnqueueConflictError, TokenCapError)


@needs(Right.ENQUEUE)
def form(request: Request) -> Response:
    """Show the form."""
    return _form(request)


def _form(request: Request, wrong: str = "", given: dict[str, str] | None = None, code: int = 200) -> Response:
    names = catalog.names()
    return render(request, "new.html", code, wrong=wrong, given=given or {}, providers=names, formats=FORMATS[1:])


async def receive(request: Request) -> Response:
    """Keep a file, then lead to its plan. A page's script sends the file itself; without one, it is pasted."""
    dashboard = of(request)
    person = await run_in_threadpool(dashboard.require, request, Right.ENQUEUE)
    if isinstance(person, Response):
        return person
    given: dict[str, str] = {}
    try:
        named, file = dashboard.drafts.open_file()
        try:
            if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
                given = await fields(request, MOST_BYTES)
                file.write_text(given.get("text", ""), "utf-8")
                name = _PASTED if given.get("text", "").strip() else ""
                given["encoding"] = ""  # what is pasted is text already
            else:
                given = dict(request.query_params)
                name = given.get("file", "")
                await _store(request, file)
            terms = DraftTerms.of(given, "" if name == _PASTED else name, size=file.stat().st_size if name else 0)
            if terms.on_unknown == "resend":
                refuse_unless(person, Right.SPEND)
            draft = dashboard.drafts.keep(named, dashboard.owner(request), file, terms)
        except BaseException:
            file.unlink(missing_ok=True)
            raise
    except DraftError as error:
        return _form(request, str(error), given, 400)
    return RedirectResponse(dashboard.url(f"/new/{draft.id}"), 303)


async def _store(request: Request, file: Any) -> None:
    size = 0
    with file.open("wb") as opened:
        async for part in request.stream():
            size += len(part)
            if size > MOST_BYTES:
                raise DraftError(f"the file is larger than {MOST_BYTES // 2**20} MB: use `genqueue enqueue`")
            opened.write(part)


@needs(Right.ENQUEUE)
def plan(request: Request) -> Response:
    """Show what a file would add and cost, or each fault with its line."""
    draft, bounded = _draft(request), _is_bounded(person_of(request))
    sees_money = person_of(request).may(Right.MONEY)
    with client_of(of(request), person_of(request)) as client:
        try:
            planned = draft.plan(client, bounded=bounded)
        except InvalidRowsError as error:
            faults = error.faults[:_FAULTS]
            return render(request, "faults.html", draft=draft, wrong="", faults=faults, count=error.count)
        except _WRONG as error:
            return render(request, "faults.html", draft=draft, faults=[], count=0, wrong=_words(error))
    return render(
        request,
        "plan.html",
        draft=draft,
        plan=planned,
        remarks=[one if sees_money else without_sums(one) for one in planned.all_remarks()],
        lowers=bounded and bool(draft.terms.caps),
        sample=SAMPLE,
        costs=[money_range(total) for total in planned.totals if total.unit != "unbilled"],
        money_range=money_range,
        plan_time=duration,
        shell=shlex.join(draft.terms.command()),
    )


async def send(request: Request) -> Response:
    """Enqueue a file, or its first rows, and go to its batch."""
    dashboard = of(request)
    person = await run_in_threadpool(dashboard.require, request, Right.ENQUEUE)
    if isinstance(person, Response):
        return person
    given = await fields(request)
    return await run_in_threadpool(_send, request, person, sample=given.get("how") == "sample")


def _send(request: Request, person: Person, *, sample: bool) -> Response:
    dashboard, draft = of(request), _draft(request)
    with client_of(dashboard, person) as client:
        try:
            added = draft.send(client, person.token, sample=sample, bounded=_is_bounded(person))
        except InvalidRowsError as error:
            raise HTTPException(409, str(error)) from None
        except _WRONG as error:
            raise HTTPException(409, _words(error)) from None
    dashboard.reads.shared.forget()
    command = shlex.join(draft.terms.command(*(["--sample", str(SAMPLE)] if sample else [])))
    rest = f"/new/{draft.id}" if sample else ""
    if not sample:
        dashboard.drafts.drop(draft)
    dashboard.sessions.say(dashboard.owner(request), f"{added:,} new jobs in {draft.terms.batch}", command, rest)
    return RedirectResponse(dashboard.url("/batch", name=draft.terms.batch), 303)


def _is_bounded(person: Person) -> bool:
    """Tell whether the terms that this person gives to a batch that is there can only lower what it may spend."""
    return not person.may(Right.SPEND)


def _words(error: Exception) -> str:
    return error.told(FORM) if isinstance(error, EnqueueConflictError) else str(error)


def _draft(request: Request) -> Draft:
    dashboard = of(request)
    found = dashboard.drafts.find(str(request.path_params["draft"]), dashboard.owner(request))
    if found is None:
        raise HTTPException(404, "this file is not kept any more: drop it again")
    return found
