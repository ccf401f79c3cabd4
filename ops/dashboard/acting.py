"""The page that proposes an act, and the form that carries it out."""

from typing import Any, Final

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response

from ops.dashboard.acts import ACTS, Act
from ops.dashboard.judging import has_one_of
from ops.dashboard.page import Dashboard, of, refuse_unless, render
from ops.dashboard.proposals import Proposal, Wish, WrongFormError
from ops.dashboard.sessions import Person, Right
from ops.dashboard.signing_in import fields, own_path
from producer import Client
from producer.client import AfterRestoreError, NoSuchBatchError, NoSuchJobError
from producer.client.purchases import BUYERS
from producer.money import CapError
from shared.db.audit import Actor
from shared.db.jobs import bulk
from shared.db.jobs.choose import NotACandidateError
from shared.db.jobs.resolve import NotHeldError
from shared.db.tokens import TokenCapError

DOOR: Final = "dashboard"
"""The name of this interface in the audit."""
_PASSED_ON: Final = ("what", "job", "batch", "account", "code", "how", "charged", "provider", "amount", "policy",
                     "reason", "picture", "back")  # fmt: skip
_WRONG: Final = (WrongFormError, CapError, NoSuchBatchError, NoSuchJobError, NotHeldError, NotACandidateError,
                 AfterRestoreError)  # fmt: skip


def propose(request: Request) -> Response:
    """Show what an act would do, what it may cost, and the command that does the same."""
    person = of(request).require(request, Right.SEE)
    if isinstance(person, Response):
        return person
    given = {name: " ".join(request.query_params.getlist(name)) for name in request.query_params}
    return _page(request, person, given)


async def carry_out(request: Request) -> Response:
    """Carry out exactly what was proposed, and go back to where the person came from."""
    person = of(request).require(request, Right.SEE)
    given = await fields(request)
    return person if isinstance(person, Response) else await run_in_threadpool(_done, request, person, given)


def _done(request: Request, person: Person, given: dict[str, str]) -> Response:
    dashboard, wish = of(request), _wish(person, given)
    act = _allowed(person, wish)
    with client_of(dashboard, person) as client:
        try:
            proposal = _proposed(client, person, act, wish)
            if (wrong := _not_yet(proposal, wish)) is not None:
                return _shown(request, proposal, given, 409, wrong)
            if (wrong := _over_the_cap(client, person, proposal)) is not None:
                return _shown(request, proposal, given, 409, wrong)
            said = proposal.do()
        except _WRONG as error:
            raise HTTPException(400, str(error)) from None
    dashboard.reads.shared.forget()
    dashboard.sessions.say(dashboard.owner(request), f"{proposal.title}: {said}", proposal.shell)
    return RedirectResponse(f"{dashboard.prefix}{own_path(wish.text('back'))}", 303)


def _page(request: Request, person: Person, given: dict[str, str]) -> Response:
    wish = _wish(person, given)
    act = _allowed(person, wish)
    with client_of(of(request), person) as client:
        try:
            return _shown(request, _proposed(client, person, act, wish), given)
        except _WRONG as error:
            raise HTTPException(400, str(error)) from None


def _wish(person: Person, given: dict[str, str]) -> Wish:
    if wrong := [name for name, value in given.items() if "\0" in name + value]:
        raise HTTPException(400, f"{wrong[0][:40]!r} contains a character that no text has")
    return Wish(given, may_buy=has_one_of(person, BUYERS), sees_money=person.may(Right.MONEY))


def _proposed(client: Client, person: Person, act: Act, wish: Wish) -> Proposal:
    """Return a proposal that the person may carry out: a form does not say whether its jobs would be bought."""
    proposal = act.propose(client, wish)
    needed = proposal.purchases.scopes
    if needed and not has_one_of(person, needed):
        raise HTTPException(403, f"{person.name} may not do this: {proposal.purchases.lacking}")
    return proposal


def _allowed(person: Person, wish: Wish) -> Act:
    act = ACTS.get(wish.text("what") or "")
    if act is None:
        raise HTTPException(404, "there is no such act")
    try:
        refuse_unless(person, act.needs(wish))
    except WrongFormError as error:
        raise HTTPException(400, str(error)) from None
    return act


def _not_yet(proposal: Proposal, wish: Wish) -> str | None:
    """Return why a proposal is not carried out: it is another one by now, or nobody has said yes to its cost."""
    if proposal.nothing:
        return proposal.nothing
    given = wish.text("token") or ""
    if proposal.at is not None and not bulk.is_of(given, proposal.act, proposal.targets):
        how = bulk.difference(given, proposal.targets) or "look at it again"
        return f"Nothing was done, because the jobs have changed: {how}."
    if proposal.may_cost and wish.text("sure") != "yes":
        return "Nothing was done: say yes to what it may cost."
    return None


def _over_the_cap(client: Client, person: Person, proposal: Proposal) -> str | None:
    """Count what is bought against the cap of the person's token; return why it does not fit, None if it does."""
    if person.token is None or not proposal.purchases.are_any:
        return None
    try:
        client.count_spending(person.token, proposal.purchases)
    except TokenCapError as error:
        return f"Nothing was done: {error}."
    return None


def _shown(request: Request, proposal: Proposal, given: dict[str, str], status: int = 200, wrong: str = "") -> Response:
    passed: dict[str, Any] = {name: given[name] for name in _PASSED_ON if given.get(name)}
    passed["back"] = own_path(given.get("back"))
    return render(request, "act.html", status, proposal=proposal, passed=passed, wrong=wrong)


def client_of(dashboard: Dashboard, person: Person) -> Client:
    """Return a client that acts as this person; raises `HTTPException` where the dashboard only reads."""
    if dashboard.settings is None:
        raise HTTPException(403, "this dashboard only reads")
    return Client(settings=dashboard.settings, actor=Actor(person.name, DOOR))
