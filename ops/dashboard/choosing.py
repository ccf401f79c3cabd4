"""A person compares the candidates of a lost call, and says which of them it bought."""

from decimal import Decimal
from typing import Final

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from ops.dashboard.page import needs, of
from ops.dashboard.proposals import Proposal, Wish, WrongFormError
from ops.dashboard.sessions import Right
from ops.dashboard.thumbnails import Bounded
from producer import Client
from shared.db.jobs.choose import OpenChoice
from shared.db.lost_calls.candidates import key_of, preview_name
from worker.transport.storage_errors import StorageError

_MOST_BYTES: Final = 2**20
_FOR_AN_HOUR: Final = {"Cache-Control": "private, max-age=3600"}


def propose(client: Client, wish: Wish) -> Proposal:
    """Propose to collect the pictures that a form names by their previews; raises `WrongFormError`."""
    job = wish.job
    if job is None:
        raise WrongFormError("job is missing")
    choice = client.open_choice(job)
    named = _named(choice, wish.need("picture").split())
    charged = wish.charged
    terms = [part for one in named for part in ("--bought", one)]
    terms += [] if charged is None else ["--charged", f"{charged:f}"]
    return Proposal(
        title=f"Take {len(named)} picture{'s' * (len(named) != 1)} as what the lost call bought",
        button="It was bought: collect it",
        command=("resolve", *terms, str(job)),
        do=lambda: f"the job is {client.choose(job, named, charged=charged)}",
        says=[
            f"Chosen: {', '.join(named)}.",
            *_lacking(choice, named),
            _cost(choice, charged, sees_money=wish.sees_money),
            "The picture is collected and stored, and no other lost call can take it.",
        ],
        asks=("charged",),
    )


def _named(choice: OpenChoice, names: list[str]) -> list[str]:
    by_name = {preview_name(choice.account, one): one for one in choice.candidates}
    if unknown := set(names) - set(by_name):
        raise WrongFormError(f"{len(unknown)} of these pictures cannot be chosen any more: look again")
    if len(names) > choice.wanted:
        raise WrongFormError(f"the call asked for {choice.wanted} of them at most: choose fewer")
    return [by_name[name] for name in names]


def _lacking(choice: OpenChoice, named: list[str]) -> list[str]:
    lack = choice.wanted - len(named)
    return [f"The call asked for {choice.wanted}: {lack} will count as not delivered."] if lack else []


def _cost(choice: OpenChoice, charged: Decimal | None, *, sees_money: bool) -> str:
    amount = choice.reserved if charged is None else charged
    if amount is None:
        return "The ledger will count the call as charged at an unknown price."
    if charged is None and not sees_money and choice.unit != "unbilled":
        return "The ledger will say the price of its account."
    return (
        "Nothing is billed for it." if choice.unit == "unbilled" else f"The ledger will say {amount:f} {choice.unit}."
    )


@needs(Right.PICTURES)
def preview(request: Request) -> Response:
    """Return the preview of a candidate; 404 without one."""
    storage, file = of(request).storage, Bounded(_MOST_BYTES)
    try:
        key = key_of(str(request.path_params["name"]))
        if storage is not None:
            storage.get_to(key, file)
    except (ValueError, StorageError):
        raise HTTPException(404, "there is no preview of this picture") from None
    if not file.getvalue():
        raise HTTPException(404, "there is no preview of this picture")
    return Response(file.getvalue(), media_type="image/webp", headers=_FOR_AN_HOUR)
